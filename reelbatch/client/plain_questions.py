"""Questions that no key goes along with unless it is given: whether something answers, and what time it has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from reelbatch.client.transport import ssl_context
from reelbatch.errors import ApiError, SettingsError
from reelbatch.settings import is_loopback
from reelbatch.storage.addresses import without_secrets

_LONGEST = 4096
_FIRST_ERROR = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainAnswer:
    """An answer, and how far its clock is ahead of this machine's, in seconds; None: it names no time."""

    status: int
    text: str  # its beginning
    ahead_s: float | None

    @property
    def is_error(self) -> bool:
        """Whether the status says so."""
        return self.status >= _FIRST_ERROR


def ask_plainly(url: str, headers: Mapping[str, str] | None = None, *, timeout_s: float = 10.0) -> PlainAnswer:
    """GET `url`, past proxies where it is on this machine. Redirects are not followed.

    Raises:
        ApiError: it could not be reached.
        SettingsError: a proxy of the environment, or SSL_CERT_FILE, can't be used.
    """
    try:
        remote = not is_loopback(httpx.URL(url).host)
        verify = ssl_context() if remote else False
        with (
            httpx.Client(trust_env=remote, verify=verify, timeout=timeout_s) as client,
            client.stream("GET", url, headers=dict(headers or {})) as response,
        ):
            at = datetime.now(UTC)  # the headers are here
            text = next(response.iter_text(_LONGEST), "")
    except httpx.HTTPError as error:
        raise ApiError(f"{type(error).__name__}: {without_secrets(str(error))}") from error
    except (ValueError, ImportError, httpx.InvalidURL) as error:
        raise SettingsError(f"a proxy setting of the environment, or the address, can't be used: {error}") from error
    return PlainAnswer(status=response.status_code, text=text, ahead_s=_ahead(response.headers.get("Date"), at))


def _ahead(date: str | None, at: datetime) -> float | None:
    """By the whole seconds that the header has; half a second is what it leaves out on average."""
    try:
        stated = parsedate_to_datetime(date or "")
    except (TypeError, ValueError):
        return None
    return (stated.replace(tzinfo=stated.tzinfo or UTC) - at).total_seconds() + 0.5
