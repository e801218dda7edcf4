"""Prefect's version and its server, without importing Prefect: that takes longer than all the rest."""

from __future__ import annotations

import os
import tomllib
from base64 import b64encode
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

from reelbatch.client.plain_questions import ask_plainly
from reelbatch.errors import ApiError, SettingsError
from reelbatch.ledger.inspection import nearest
from reelbatch.pipeline.checkup.checks import Check, ok, problem, warning
from reelbatch.storage.files import redact_url

_TEMPORARY = "Start it, or unset PREFECT_API_URL for a temporary server of each run's own."
_NO_ENTRY = (401, 403)


def prefect() -> Iterator[Check]:
    """The server that is named, by the environment or the active profile; else a run starts one of its own."""
    stated = {**_profile(), **{name: value for name, value in os.environ.items() if name.startswith("PREFECT_")}}
    yield _home()
    if not (url := stated.get("PREFECT_API_URL")):
        yield ok("prefect", f"Prefect {version('prefect')}; a run starts a temporary server of its own")
        return
    try:
        yield _server(url.rstrip("/"), _headers(stated))
    except (ApiError, SettingsError) as error:
        yield problem("prefect", f"{redact_url(url)} does not answer ({error})", _TEMPORARY)


def _folder() -> Path:
    return Path(os.environ.get("PREFECT_HOME") or Path.home() / ".prefect")


def _home() -> Check:
    folder = _folder()
    if os.access(nearest(folder), os.W_OK):
        return ok("folder: prefect", str(folder))
    return problem("folder: prefect", f"{folder}: may not be written", "See to its rights, or set PREFECT_HOME.")


def _profile() -> dict[str, str]:
    """What the active profile states; nothing where there is none."""
    try:
        file = Path(os.environ.get("PREFECT_PROFILES_PATH") or _folder() / "profiles.toml")
        known = tomllib.loads(file.read_text(encoding="utf-8"))
        stated = known["profiles"][os.environ.get("PREFECT_PROFILE") or known["active"]]
        return {name: str(value) for name, value in stated.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _headers(stated: Mapping[str, str]) -> dict[str, str]:
    """As Prefect's own client would be known."""
    if password := stated.get("PREFECT_API_AUTH_STRING"):
        return {"Authorization": f"Basic {b64encode(password.encode()).decode()}"}
    if api_key := stated.get("PREFECT_API_KEY"):
        return {"Authorization": f"Bearer {api_key}"}
    return {}


def _server(url: str, headers: Mapping[str, str]) -> Check:
    health = ask_plainly(f"{url}/health", headers)
    if health.status in _NO_ENTRY:
        return _refused(url, health.status)
    if health.is_error or "true" not in health.text:
        found = f"{redact_url(url)} is no Prefect API (status {health.status})"
        return problem("prefect", found, "Its address usually ends in /api.")
    answer = ask_plainly(f"{url}/version", headers)
    if answer.status in _NO_ENTRY:
        return _refused(url, answer.status)
    own, theirs = version("prefect"), answer.text.strip().strip('"') if not answer.is_error else "of unknown version"
    found = f"Prefect {own}; the server {redact_url(url)} is {theirs}"
    if _series(own) != _series(theirs) and not answer.is_error:
        return warning("prefect", found, "Run the same version on both sides.")
    return ok("prefect", found)


def _refused(url: str, status: int) -> Check:
    remedy = 'Set PREFECT_API_AUTH_STRING to its "user:password", or PREFECT_API_KEY for Prefect Cloud.'
    return problem("prefect", f"{redact_url(url)} refuses this client (status {status})", remedy)


def _series(stated: str) -> list[str]:
    return stated.split(".")[:2]
