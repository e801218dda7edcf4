"""The API's client."""

from reelbatch.client.answers import Created, UploadSlot, Video, create_body
from reelbatch.client.api import Client, Connection

__all__ = ["Client", "Connection", "Created", "UploadSlot", "Video", "create_body"]
