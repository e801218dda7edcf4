"""The API's client."""

from reelbatch.client.answers import Created, UploadSlot, Video, create_body
from reelbatch.client.api import Client, Connection
from reelbatch.client.files import PIECE_BYTES

__all__ = ["PIECE_BYTES", "Client", "Connection", "Created", "UploadSlot", "Video", "create_body"]
