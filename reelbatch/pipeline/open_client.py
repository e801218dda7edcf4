"""The API's client, by the settings."""

from __future__ import annotations

from reelbatch.client import Client, ClientOptions
from reelbatch.errors import SettingsError
from reelbatch.settings import Settings


def open_client(settings: Settings) -> Client:
    """The API's client, by the settings.

    Raises:
        SettingsError: there is no key.
    """
    if settings.api_key is None:
        raise SettingsError(
            "There is no API key. Set the environment variable MAGIC_HOUR_API_KEY, or try things out with --sandbox."
        )
    options = ClientOptions(
        base_url=settings.base_url,
        concurrency=settings.concurrency,
        timeout_s=settings.request_timeout_s,
        questions=settings.poll_concurrency,
    )
    return Client(settings.api_key, options)
