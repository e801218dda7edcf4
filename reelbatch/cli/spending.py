"""Before anything is spent: show what will be, and ask."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import typer

from reelbatch.cli import screen
from reelbatch.errors import SettingsError
from reelbatch.generation import Order, plan
from reelbatch.opening import opened_ledger, table_notice
from reelbatch.rerunning import RerunOrder, preview, selection
from reelbatch.settings import Settings, api_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """What was typed about spending."""

    given: bool  # --yes
    as_json: bool  # --json, which leaves no place for a question
    sandbox: bool  # --sandbox, where nothing is spent


def allow_spending(order: Order, settings: Settings, consent: Consent) -> None:
    """Somebody at a terminal is asked before the live API is used; a script or a schedule is not.

    Raises:
        ManifestError: the manifest can't be used.
        SettingsError: there is nobody to ask at a terminal, since the answer is to be JSON.
        typer.Exit: the answer was no.
    """
    if not _asks(settings, consent):
        if notice := table_notice(settings):
            screen.note(notice)
        return
    made = plan(order, settings)
    screen.print_findings(made)
    screen.print_plan(made)
    if made.send and not typer.confirm("Send these rows?"):
        raise typer.Exit(0)


def allow_rerun(order: RerunOrder, settings: Settings, consent: Consent) -> None:
    """The same for failed rows.

    Raises:
        SettingsError: the order can't be carried out, or nobody can be asked.
        typer.Exit: the answer was no.
    """
    if not _asks(settings, consent):
        return
    with opened_ledger(settings, must_exist=True) as ledger:
        made = preview(ledger, selection(order, ledger))
    screen.print_rerun_plan(made)
    if made.send and not typer.confirm("Send these rows again?"):
        raise typer.Exit(0)


def keys_of(stated: str | None, file: Path | None) -> tuple[str, ...] | None:
    """The keys that `--rows` and `--rows-from` name; None where neither was given.

    Raises:
        SettingsError: the file can't be read.
    """
    if stated is None and file is None:
        return None
    keys = [key.strip() for key in (stated or "").split(",")]
    if file is not None:
        try:
            keys += [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"--rows-from {file}: can't be read: {error}") from error
    return tuple(dict.fromkeys(key for key in keys if key))


def _asks(settings: Settings, consent: Consent) -> bool:
    live = not consent.sandbox and api_of(settings.base_url) != "local"
    asks = live and not consent.given and sys.stdin.isatty()
    if asks and consent.as_json:
        raise SettingsError("--json can't ask before credits are spent. Add --yes to spend them without a question.")
    return asks
