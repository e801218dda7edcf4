"""`reelbatch status`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reelbatch.cli import options as opt
from reelbatch.cli.json_output import print_json
from reelbatch.domain import MOST_ROWS

if TYPE_CHECKING:
    from reelbatch.domain import Batch
    from reelbatch.ledger.budgets import BudgetLeft
    from reelbatch.pipeline.status import BatchFailures, BatchStatus
    from reelbatch.settings import Settings


def status(  # noqa: PLR0913, PLR0917 - options of a command
    config: opt.Config = None,
    results: opt.Results = None,
    batch: opt.AnyBatch = None,
    failed: Annotated[
        bool,
        typer.Option("--failed", help="Show why rows failed, were given back or are not finished, and their keys."),
    ] = False,
    rows: Annotated[
        int, typer.Option(help="Show N rows of each batch as well.", metavar="N", min=0, max=MOST_ROWS)
    ] = 0,
    credits_: Annotated[bool, typer.Option("--credits", help="Show where every credit went, by model.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again and again, until Ctrl-C.")] = False,
    interval: Annotated[
        float, typer.Option(help="With --watch: seconds between two looks.", metavar="S", min=0.1, max=86_400)
    ] = 2.0,
    sandbox: opt.SandboxTable = False,
    as_json: opt.Json = False,
) -> None:
    """Counts by state, credits, the last run and the next step."""
    asked = _Asked(batch=batch, failed=failed, rows=rows, by_model=credits_)
    settings = opt.settings_of(config, sandbox=sandbox, batch=batch, results=results)
    if watch:
        _check_watch(as_json=as_json)
        _watch(lambda: _print(_found(settings, asked), asked), interval)
    found = _found(settings, asked)
    if as_json:
        budgets = [left.as_json() for left in found.budgets]
        print_json({"batches": [found.as_json(each) for each in found.statuses], "budgets": budgets})
    else:
        _print(found, asked)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What is to be shown."""

    batch: str | None
    failed: bool
    rows: int
    by_model: bool

    @property
    def more(self) -> bool:
        """Whether it takes more than a glance."""
        return bool(self.failed or self.rows or self.by_model)


@dataclass(frozen=True, slots=True)
class _Found:
    """Each batch, and what else of it was asked for."""

    statuses: list[BatchStatus]
    first_rows: Mapping[Batch, list[dict[str, Any]]] = field(default_factory=dict)
    failures: Mapping[Batch, BatchFailures] = field(default_factory=dict)
    budgets: Sequence[BudgetLeft] = ()  # of the accounts that paid for them
    next_steps: Mapping[Batch, str | None] = field(default_factory=dict)

    def as_json(self, each: BatchStatus) -> dict[str, Any]:
        """One batch for `--json`."""
        failures = self.failures.get(each.batch)
        known = {**each.as_json(), "next_step": self.next_steps[each.batch]}
        return known if failures is None else {**known, **failures.as_json()}


def _found(settings: Settings, asked: _Asked) -> _Found:
    from reelbatch.pipeline.next_step import needs_a_look, next_step
    from reelbatch.pipeline.status import statuses_at_a_glance

    glance = (
        None if asked.more or settings.budget is not None else statuses_at_a_glance(settings.results, asked.batch)
    )
    if glance is None or any(map(needs_a_look, glance)):
        return _looked_into(settings, asked)
    return _Found(glance, next_steps={each.batch: next_step(each) for each in glance})


def _looked_into(settings: Settings, asked: _Asked) -> _Found:
    """From the table that is opened for it."""
    from reelbatch.cli import render
    from reelbatch.ledger import queries
    from reelbatch.pipeline.next_step import next_step_of
    from reelbatch.pipeline.resources import batches_named, looked_at
    from reelbatch.pipeline.status import batch_failures, batch_status, budgets_of

    with looked_at(settings, render.warn) as ledger:
        names = batches_named(ledger, asked.batch)
        statuses = [batch_status(ledger, name, by_model=asked.by_model) for name in names]
        first = {
            name: ledger.read(partial(queries.first_rows, batch=name, limit=asked.rows))
            for name in names
            if asked.rows
        }
        failures = {name: batch_failures(ledger, name) for name in names if asked.failed}
        left = budgets_of(ledger, settings, names)
        steps = {each.batch: next_step_of(ledger, each, settings.budget) for each in statuses}
    return _Found(statuses, first, failures, left, steps)


def _print(found: _Found, asked: _Asked) -> None:
    from reelbatch.cli import money, render

    if not found.statuses:
        render.out.print("No batches yet.")
    for each in found.statuses:
        render.print_status(each)
        if asked.more:
            _print_more(found, each, asked)
        render.print_course(each, found.next_steps[each.batch])
    for left in found.budgets:
        money.print_budget(left)


def _print_more(found: _Found, each: BatchStatus, asked: _Asked) -> None:
    from reelbatch.cli import failures, tables

    if asked.failed:
        failures.print_failures(found.failures[each.batch])
    if asked.by_model:
        tables.print_credits(each)
    if asked.rows:
        tables.print_rows(found.first_rows[each.batch])


def _check_watch(*, as_json: bool) -> None:
    """Whether the options go together.

    Raises:
        SettingsError: they do not.
    """
    from reelbatch.errors import SettingsError

    if as_json:
        raise SettingsError("--json is one object, and --watch shows it again and again; leave one of them out")


def _watch(show: Callable[[], None], interval: float) -> None:
    """Until Ctrl-C: in place at a terminal that can, elsewhere one block after the other."""
    from reelbatch.cli import render

    in_place = render.out.is_terminal and not render.out.is_dumb_terminal
    while True:
        with render.out.capture() as block:
            show()
        text = block.get()
        sys.stdout.write(f"\x1b[H\x1b[2J{text}" if in_place else f"{text}\n")
        sys.stdout.flush()
        time.sleep(interval)
