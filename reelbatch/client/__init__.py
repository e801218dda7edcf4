"""The API's client."""

from reelbatch.client.client import Client, ClientOptions
from reelbatch.client.file_chunks import PIECE_BYTES
from reelbatch.client.payloads import Account, Created, Price, Subscription, UploadSlot, Video, create_body
from reelbatch.client.transport import ssl_context

__all__ = [
    "PIECE_BYTES",
    "Account",
    "Client",
    "ClientOptions",
    "Created",
    "Price",
    "Subscription",
    "UploadSlot",
    "Video",
    "create_body",
    "ssl_context",
]
