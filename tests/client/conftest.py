"""The servers of all tests here."""

from raw_server import serve

__all__ = ["serve"]
