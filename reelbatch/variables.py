"""Environment variables that look like settings and are none: a misspelt cap would be no cap."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable

PREFIX = "REELBATCH_"
_OF_A_CLUSTER = re.compile(r"_SERVICE_HOST$|_SERVICE_PORT|_PORT$|_PORT_")
"""Kubernetes sets these for each service; one may be called `reelbatch`."""


def variable(setting: str) -> str:
    """The environment variable of a setting."""
    return f"{PREFIX}{setting.upper()}"


def stated_variables() -> set[str]:
    """The variables of this environment that would be settings, in capitals."""
    return {name.upper() for name in os.environ if name.upper().startswith(PREFIX)}


def unknown_variables(settings: Iterable[str]) -> list[str]:
    """A line for each variable that is no setting: what is wrong and what was probably meant."""
    known = {variable(name) for name in settings}
    unknown = sorted(name for name in stated_variables() - known if not _OF_A_CLUSTER.search(name))
    return [_line(name, sorted(known)) for name in unknown]


def _line(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
    meant = f"did you mean {close[0]}?" if close else "correct its name, or unset it"
    return f"{name}: there is no such setting; {meant}"
