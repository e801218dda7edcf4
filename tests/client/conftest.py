"""The servers and clients of all tests here."""

from raw_server import connect, serve

__all__ = ["connect", "serve"]
