"""The Prefect server that PREFECT_API_URL names: whether it can be used, said before a run begins and in one line."""

from __future__ import annotations

import httpx
from prefect import get_client
from prefect.settings import PREFECT_API_REQUEST_TIMEOUT, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from reelbatch.errors import PipelineError
from reelbatch.storage.files import redact_url

_PATIENCE_S = 10.0
_REMEDY = "Unset PREFECT_API_URL for a temporary server of this run's own."
_NO_ENTRY = (401, 403)


def check_named_server(url: str) -> None:
    """Ask the server for a flow, as the run's client would; Prefect itself tries for minutes and ends in a traceback.

    Raises:
        PipelineError: it does not answer, refuses, or is no Prefect API.
    """
    try:
        with (
            temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0, PREFECT_API_REQUEST_TIMEOUT: _PATIENCE_S}),
            get_client(sync_client=True) as client,
        ):
            client.read_flows(limit=1)
    except httpx.HTTPStatusError as error:
        raise _unusable(url, _refusal(error.response.status_code)) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        said = f"does not answer ({type(error).__name__}: {error})."
        raise _unusable(url, f"{said} Start it, or correct the address.") from error
    except ValueError as error:  # JSON of another kind, or none
        raise _unusable(url, "is no Prefect API. Its address usually ends in /api.") from error


def _refusal(status: int) -> str:
    if status in _NO_ENTRY:
        return (
            f"refuses this client (status {status}). "
            'Set PREFECT_API_AUTH_STRING to its "user:password", or PREFECT_API_KEY for Prefect Cloud.'
        )
    return f"returned status {status}. Its address usually ends in /api."


def _unusable(url: str, what: str) -> PipelineError:
    return PipelineError(f"Prefect's server {redact_url(url)} (PREFECT_API_URL) {what} {_REMEDY}")
