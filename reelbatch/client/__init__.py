"""The API's client."""

from reelbatch.client.client import Client, Connection
from reelbatch.client.file_chunks import PIECE_BYTES
from reelbatch.client.payloads import Account, Created, Price, Subscription, UploadSlot, Video, create_body

__all__ = [
    "PIECE_BYTES",
    "Account",
    "Client",
    "Connection",
    "Created",
    "Price",
    "Subscription",
    "UploadSlot",
    "Video",
    "create_body",
]
