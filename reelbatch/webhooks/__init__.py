"""Receives the API's webhook events: rows settle, and rows in doubt clear up, without asking."""

from reelbatch.webhooks.app import Counts, webhook_app
from reelbatch.webhooks.server import listening, serve

__all__ = ["Counts", "listening", "serve", "webhook_app"]
