"""The API's client."""

from reelbatch.client.answers import Account, Created, Price, Subscription, UploadSlot, Video, create_body
from reelbatch.client.api import Client, Connection
from reelbatch.client.files import PIECE_BYTES

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
