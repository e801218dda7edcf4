"""`reelbatch status`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reelbatch.cli import options as opt
from reelbatch.cli.json_output import print_json

if TYPE_CHECKING:
    from reelbatch.domain import Batch
    from reelbatch.ledger.budgets import BudgetLeft
    from reelbatch.pipeline.status import BatchStatus
    from reelbatch.settings import Settings


def status(  # noqa: PLR0913, PLR0917 - options of a command
    config: opt.Config = None,
    results: opt.Results = None,
    batch: opt.AnyBatch = None,
    rows: Annotated[int, typer.Option(help="Show so many rows of each batch as well.", metavar="N", min=0)] = 0,
    credits_: Annotated[bool, typer.Option("--credits", help="Show where every credit went, by model.")] = False,
    sandbox: opt.SandboxTable = False,
    as_json: opt.Json = False,
) -> None:
    """Counts by state, and credits."""
    from reelbatch.pipeline.status import statuses_at_a_glance

    settings = opt.settings_of(config, sandbox=sandbox, results=results)
    whole = rows or credits_ or settings.budget is not None
    glance = None if whole else statuses_at_a_glance(settings.results, batch)
    found = _looked_into(settings, batch, rows, by_model=credits_) if glance is None else _Found(glance, {})
    if as_json:
        budgets = [left.as_json() for left in found.budgets]
        print_json({"batches": [each.as_json() for each in found.statuses], "budgets": budgets})
        return
    from reelbatch.cli import money, render

    if not found.statuses:
        render.out.print("No batches yet.")
    for each in found.statuses:
        render.print_status(each)
        if credits_:
            money.print_credits(each)
        if rows:
            render.print_rows(found.first_rows[each.batch])
    for left in found.budgets:
        money.print_budget(left)


@dataclass(frozen=True, slots=True)
class _Found:
    """Each batch, and its first rows if any are asked for."""

    statuses: list[BatchStatus]
    first_rows: Mapping[Batch, list[dict[str, Any]]]
    budgets: Sequence[BudgetLeft] = ()  # of the accounts that paid for them


def _looked_into(settings: Settings, batch: str | None, rows: int, *, by_model: bool) -> _Found:
    """From the table that is opened for it."""
    from reelbatch.cli import render
    from reelbatch.ledger import queries
    from reelbatch.pipeline.resources import batches_named, looked_at
    from reelbatch.pipeline.status import batch_status, budgets_of

    with looked_at(settings, render.warn) as ledger:
        names = batches_named(ledger, batch)
        statuses = [batch_status(ledger, name, by_model=by_model) for name in names]
        first = {name: ledger.read(partial(queries.first_rows, batch=name, limit=rows)) for name in names if rows}
        left = budgets_of(ledger, settings, names)
    return _Found(statuses, first, left)
