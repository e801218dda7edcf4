"""Before anything is spent: show what will be, and ask."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import typer

from reelbatch.cli import render
from reelbatch.cli.json_output import print_json
from reelbatch.cli.key import refuse_key
from reelbatch.cli.plan_text import print_findings, print_whole_plan, reading_line
from reelbatch.domain import Batch
from reelbatch.errors import SettingsError
from reelbatch.pipeline.account import KeyRefused
from reelbatch.pipeline.generate import cancel_order
from reelbatch.pipeline.plan import GenerateOptions, Plan, plan
from reelbatch.pipeline.rerun import RerunOptions, RerunPlan, preview, preview_with_account, selection
from reelbatch.pipeline.resources import opened_ledger, table_notice
from reelbatch.pipeline.run_listener import Agreement, NotAgreed
from reelbatch.settings import Settings, api_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """What was typed about spending."""

    given: bool  # --yes
    as_json: bool  # --json, which leaves no place for a question
    sandbox: bool  # --sandbox, where nothing is spent


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked at a terminal, or is where there are rows by then, and what the yes to it covers."""

    text: str
    shown: Plan | RerunPlan

    @property
    def is_open(self) -> bool:
        """Whether no one had to be asked yet, since nothing was to be sent."""
        return not self.shown.announced.rows

    def bind(self, made: Plan | RerunPlan) -> Agreement:
        """What binds the run: the yes that was given, or another one if there is more to send by now.

        Raises:
            NotAgreed: there is more, and no one said yes to it.
        """
        agreed = Agreement.to(self.shown)
        if agreed.covers(made):
            return agreed
        wanted = Agreement.to(made)
        more = f"{wanted.rows:,} rows for {wanted.credits_estimated:,} credits are to be sent by now"
        if self.is_open:
            more = f"{more}; there were none before"
        else:
            before = f"{agreed.rows:,} rows for {agreed.credits_estimated:,} credits"
            more = f"{more}, more than the {before} that were said yes to"
        if not sys.stdin.isatty():
            raise NotAgreed(more, asked=False)
        render.warn(f"{more}.")
        render.print_any_plan(made)
        if not typer.confirm(self.text):
            raise NotAgreed("more was to be sent than was said yes to", asked=True)
        return wanted


def confirm_generate(options: GenerateOptions, settings: Settings, spending: Spending) -> Question | None:
    """Someone at a terminal is asked before the live API is used; a script or a schedule is not.

    Returns:
        The question that the user answered yes to, or need not answer yet, which binds the run; None where no
        one is asked.

    Raises:
        ManifestError: the manifest can't be used.
        SettingsError: there is no one to ask at a terminal, since the answer is to be JSON.
        typer.Exit: the answer was no.
    """
    if not _asks(settings, spending):
        if notice := table_notice(settings):
            render.note(notice)
        return None
    try:
        with reading_line() as told:
            made = plan(options, settings, told, asks_account=True)
    except KeyRefused as refusal:
        refuse_key(refusal)
    print_findings(made)
    print_whole_plan(made)
    return _ask("Send these rows?", made)


def confirm_rerun(
    options: RerunOptions, settings: Settings, spending: Spending, limit: int | None
) -> Question | None:
    """The same for failed rows.

    Raises:
        SettingsError: the options can't be carried out, or no one can be asked.
        typer.Exit: the answer was no.
    """
    if not _asks(settings, spending):
        return None
    with opened_ledger(settings, must_exist=True) as ledger:
        try:
            made = preview_with_account(ledger, selection(options, ledger), settings, limit)
        except KeyRefused as refusal:
            refuse_key(refusal)
    render.print_rerun_plan(made)
    return _ask("Send these rows again?", made)


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


def _ask(text: str, made: Plan | RerunPlan) -> Question:
    question = Question(text, made)
    if not question.is_open and not typer.confirm(text):
        raise typer.Exit(0)
    return question


def says_the_same(made: Plan | RerunPlan, shown: Plan | RerunPlan | None) -> bool:
    """Whether a plan says what was shown before: as many rows at the same price, and the same findings."""
    return shown is not None and _gist(made) == _gist(shown)


def _gist(made: Plan | RerunPlan) -> tuple[Any, ...]:
    found = (made.problem_count, made.problems, made.warnings) if isinstance(made, Plan) else ()
    return (made.send, made.credits_estimated, made.unknown_rate, *found)


def _asks(settings: Settings, spending: Spending) -> bool:
    live = not spending.sandbox and api_of(settings.base_url) != "local"
    asks = live and not spending.given and sys.stdin.isatty()
    if asks and spending.as_json:
        raise SettingsError("--json can't ask before credits are spent. Add --yes to spend them without a question.")
    return asks
