"""Before anything is spent: show what will be, and ask."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import typer

from reelbatch.cli import render
from reelbatch.cli.shared import print_json
from reelbatch.domain import Batch
from reelbatch.errors import SettingsError
from reelbatch.pipeline.generate import GenerateOptions, cancel_order, plan
from reelbatch.pipeline.plan import Agreement, NotAgreed, Plan, RerunPlan
from reelbatch.pipeline.rerun import RerunOptions, preview, selection
from reelbatch.pipeline.resources import opened_ledger, table_notice
from reelbatch.pipeline.run_context import ask_consent
from reelbatch.settings import Settings, api_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """What was typed about spending."""

    given: bool  # --yes
    as_json: bool  # --json, which leaves no place for a question
    sandbox: bool  # --sandbox, where nothing is spent


def allow_spending(options: GenerateOptions, settings: Settings, consent: Consent) -> None:
    """Somebody at a terminal is asked before the live API is used; a script or a schedule is not.

    What was said yes to binds the run: were there more to send by then, it asks again.

    Raises:
        ManifestError: the manifest can't be used.
        SettingsError: there is nobody to ask at a terminal, since the answer is to be JSON.
        typer.Exit: the answer was no.
    """
    if not _asks(settings, consent):
        if notice := table_notice(settings):
            render.note(notice)
        return
    made = plan(options, settings)
    render.print_findings(made)
    render.print_plan(made)
    if made.send:
        _ask("Send these rows?", Agreement.to(made))


def allow_rerun(options: RerunOptions, settings: Settings, consent: Consent, limit: int | None) -> None:
    """The same for failed rows.

    Raises:
        SettingsError: the options can't be carried out, or nobody can be asked.
        typer.Exit: the answer was no.
    """
    if not _asks(settings, consent):
        return
    with opened_ledger(settings, must_exist=True) as ledger:
        made = preview(ledger, selection(options, ledger), settings, limit)
    render.print_rerun_plan(made)
    if made.send:
        _ask("Send these rows again?", Agreement.to(made))


def show_rerun(options: RerunOptions, settings: Settings, limit: int | None, *, as_json: bool) -> None:
    """What a rerun would send; nothing is changed."""
    with opened_ledger(settings, must_exist=True) as ledger:
        made = preview(ledger, selection(options, ledger), settings, limit)
    if as_json:
        print_json(made.as_json())
    else:
        render.print_rerun_plan(made)


def drop_order(settings: Settings, batch: Batch, *, as_json: bool) -> None:
    """What an open order has not sent is dropped."""
    with opened_ledger(settings, must_exist=True) as ledger:
        said = cancel_order(ledger, batch)
    if as_json:
        print_json({"batch": batch, "message": said})
    else:
        render.out.print(said, markup=False)


def _ask(question: str, agreement: Agreement) -> None:
    if not typer.confirm(question):
        raise typer.Exit(0)
    ask_consent.set(partial(_bound, agreement, question))


def _bound(agreement: Agreement, question: str, made: Plan | RerunPlan) -> Agreement:
    """What binds the run: the yes that was given, or another one if there is more to send by now.

    Raises:
        NotAgreed: there is more, and nobody who says yes to it.
    """
    if agreement.covers(made):
        return agreement
    more = (
        f"{made.send:,} rows for {made.credits_estimated:,} credits are to be sent by now, more than the "
        f"{agreement.rows:,} rows for {agreement.credits_estimated:,} credits that were said yes to"
    )
    if not sys.stdin.isatty():
        raise NotAgreed(more, asked=False)
    render.warn(f"{more}.")
    render.print_any_plan(made)
    if not typer.confirm(question):
        raise NotAgreed("more was to be sent than was said yes to", asked=True)
    return Agreement.to(made)


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
