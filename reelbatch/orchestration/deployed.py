"""What the parameters of a deployment's run may name: the caller may be another person than the worker's owner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect.context import FlowRunContext

from reelbatch.errors import SettingsError
from reelbatch.settings import Settings
from reelbatch.storage.files import redact_url, scheme_of

_BOUNDS = "image_schemes"
_HISTORY = "history"
_ADDRESSES = ("manifest", "export", "downloads")


def is_deployed() -> bool:
    """Whether this is a deployment's run: its parameters came over Prefect's API, and no one typed them here."""
    run = FlowRunContext.get()
    return run is not None and run.flow_run is not None and run.flow_run.deployment_id is not None


def check_parameters(parameters: Mapping[str, Any], settings: Settings) -> None:
    """See that addresses in the parameters of a deployment's run are such as the worker's settings allow.

    Raises:
        SettingsError: one is not, or the parameters would change what is allowed.
    """
    if not is_deployed():
        return
    overrides = parameters.get("overrides") or {}
    stated = {**parameters, **overrides}
    if _BOUNDS in stated:
        raise SettingsError(
            f"{_BOUNDS}: bounds what the parameters of a deployment may name, so it is none of them; "
            "state it in the worker's config file or in REELBATCH_IMAGE_SCHEMES"
        )
    if stated.get(_HISTORY) is not None:
        raise SettingsError(
            f"{_HISTORY}: a file that lines are appended to, which no parameter of a deployment may name; "
            "state it in the worker's config file or in REELBATCH_HISTORY"
        )
    # Each by itself: `manifest` is a parameter, and among the overrides a section of settings.
    for name, address in ((name, str(of.get(name) or "")) for of in (parameters, overrides) for name in _ADDRESSES):
        scheme = scheme_of(address)
        if scheme is not None and ("::" in address or scheme not in settings.image_schemes):
            allowed = ", ".join(f"{each}://" for each in settings.image_schemes)
            raise SettingsError(
                f"{name} {redact_url(address)}: a deployment's run takes paths and {allowed or 'no addresses'}, and "
                f"no chains (::). If {scheme}:// is meant, add it to the worker's setting {_BOUNDS}"
            )
