"""Receives the API's webhook events: rows settle, and rows in doubt clear up, without asking."""

from reelbatch.webhooks.app import Counts, webhook_app
from reelbatch.webhooks.server import serve

__all__ = ["Counts", "serve", "webhook_app"]
