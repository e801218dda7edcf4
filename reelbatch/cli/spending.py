"""Before anything is spent: show what will be, and ask."""

from __future__ import annotations

import sys

import typer

from reelbatch.cli import screen
from reelbatch.generation import Order, plan
from reelbatch.session import api_of
from reelbatch.settings import Settings


def allow_spending(order: Order, settings: Settings, *, sandbox: bool) -> None:
    """Somebody at a terminal is asked before the live API is used; a script or a schedule is not.

    Raises:
        ManifestError: the manifest can't be used.
        typer.Exit: the answer was no.
    """
    if sandbox or api_of(settings.base_url) == "local" or not sys.stdin.isatty():
        return
    made = plan(order, settings)
    screen.print_findings(made)
    screen.print_plan(made)
    if made.send and not typer.confirm("Send these rows?"):
        raise typer.Exit(0)
