"""Whether an event comes from the API: its signature and the age of it."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import SecretStr

from reelbatch.errors import SettingsError

SIGNATURE_HEADER = "magic-hour-event-signature"
TIMESTAMP_HEADER = "magic-hour-event-timestamp"
_SECONDS = re.compile(r"[0-9]{1,12}")


@dataclass(frozen=True, slots=True)
class Seal:
    """Checks signatures made with `secret`, no more than `tolerance_s` seconds old or ahead.

    Raises:
        SettingsError: the secret is empty, so that anyone could sign.
    """

    secret: SecretStr
    tolerance_s: float

    def __post_init__(self) -> None:
        if not self.secret.get_secret_value():
            raise SettingsError("The webhook secret is empty: set the environment variable REELBATCH_WEBHOOK_SECRET.")

    def genuine(self, headers: Mapping[str, str], body: bytes, now: float) -> bool:
        """Whether the API signed exactly this body, lately."""
        timestamp, given = headers.get(TIMESTAMP_HEADER, ""), headers.get(SIGNATURE_HEADER, "")
        expected = sign(self.secret, timestamp, body)
        # As bytes: a signature that is no ASCII is wrong, and must not be an error.
        signed = hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())
        return signed and _SECONDS.fullmatch(timestamp) is not None and abs(now - int(timestamp)) <= self.tolerance_s


def sign(secret: SecretStr, timestamp: str, body: bytes) -> str:
    """The hex HMAC-SHA256 of `timestamp`.`body`."""
    signed = timestamp.encode("utf-8", "replace") + b"." + body
    return hmac.new(secret.get_secret_value().encode(), signed, "sha256").hexdigest()
