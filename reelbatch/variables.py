"""Environment variables that look like settings and are none: a misspelt cap would be no cap."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

PREFIX = "REELBATCH_"
_OF_A_CLUSTER = re.compile(r"_SERVICE_HOST$|_SERVICE_PORT|_PORT$|_PORT_")
"""Kubernetes sets these for each service; one may be called `reelbatch`."""


def variable(setting: str) -> str:
    """The environment variable of a setting."""
    return f"{PREFIX}{setting.upper()}"


def stated_variables() -> dict[str, str]:
    """The variables of this environment that would be settings: in capitals, and as they are spelt."""
    return {name.upper(): name for name in os.environ if name.upper().startswith(PREFIX)}


def unknown_variables(settings: Iterable[str]) -> list[str]:
    """A line for each variable that is no setting: what is wrong and what was probably meant."""
    names = list(settings)
    known = {variable(name) for name in names}
    return [
        _line(spelt, name.removeprefix(PREFIX).lower(), names)
        for name, spelt in sorted(stated_variables().items())
        if name not in known and not _OF_A_CLUSTER.search(name)
    ]


def _line(spelt: str, name: str, known: list[str]) -> str:
    import difflib

    close = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    meant = f"did you mean {variable(close[0])}?" if close else "correct its name, or unset it"
    return f"{spelt}: there is no such setting; {meant}"
