"""Environment variables: which look like settings and are none (a misspelt cap is no cap), and which children get."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping

PREFIX = "REELBATCH_"
KEY_VARIABLE = "MAGIC_HOUR_API_KEY"
RENAMED = {"plan": "tier"}
"""Settings that had another name."""
_OF_A_CLUSTER = re.compile(r"_SERVICE_HOST$|_SERVICE_PORT|_PORT$|_PORT_")
"""Kubernetes sets these for each service; one may be called `reelbatch`."""


def variable(setting: str) -> str:
    """The environment variable of a setting."""
    return f"{PREFIX}{setting.upper()}"


def stated_variables() -> dict[str, str]:
    """The variables of this environment that would be settings: in capitals, and as they are spelt."""
    return {name.upper(): name for name in os.environ if name.upper().startswith(PREFIX)}


def child_environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a process that is started here: without the API key and our settings, whatever their case.

    Neither the temporary Prefect server nor the sandbox needs the key, the webhook's secret or the table's password.
    `more` replaces variables of the same name, in whatever case they are spelt.
    """
    added = dict(more or {})
    return {name: value for name, value in os.environ.items() if not _is_withheld(name.upper(), added)} | added


def _is_withheld(name: str, replaced: Mapping[str, str]) -> bool:
    return name == KEY_VARIABLE or name.startswith(PREFIX) or name in replaced


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

    if name in RENAMED:
        return f"{spelt}: the setting is called {RENAMED[name]}; set {variable(RENAMED[name])}"
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    meant = f"did you mean {variable(close[0])}?" if close else "correct its name, or unset it"
    return f"{spelt}: there is no such setting; {meant}"
