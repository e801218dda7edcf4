"""`reelbatch runs`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from reelbatch.cli import options as opt
from reelbatch.cli.json_output import print_json
from reelbatch.domain import MOST_ROWS

if TYPE_CHECKING:
    from reelbatch.pipeline.history import RunEntry


def runs(  # noqa: PLR0913, PLR0917 - options of a command
    last: Annotated[int, typer.Option(help="List N runs, the newest first.", metavar="N", min=1, max=MOST_ROWS)] = 20,
    config: opt.Config = None,
    results: opt.Results = None,
    batch: opt.AnyBatch = None,
    sandbox: opt.SandboxTable = False,
    as_json: opt.Json = False,
) -> None:
    """What ran, when, by whom, why it ended, what it cost, under which cap; and the next step."""
    from reelbatch.cli import render
    from reelbatch.pipeline.history import list_runs
    from reelbatch.pipeline.resources import looked_at

    settings = opt.settings_of(config, sandbox=sandbox, results=results)
    repeats = opt.for_batch(config=config, results=results, sandbox=sandbox)
    with looked_at(settings, render.warn) as ledger:
        found = list_runs(ledger, batch, last, repeats)
    if as_json:
        print_json({"runs": [entry.as_json() for entry in found]})
    else:
        _print(found)


def _print(found: Sequence[RunEntry]) -> None:
    from rich.table import Table

    from reelbatch.cli import render

    if not found:
        render.out.print("No runs yet.")
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("began (UTC)", no_wrap=True)
    for name in ("batch", "command", "by"):
        table.add_column(name, overflow="fold")
    for name in ("videos", "cost", "in doubt", "cap"):
        table.add_column(name, justify="right")
    table.add_column("ended")
    for entry in found:
        run, spent = entry.run, entry.cost.credits
        texts = (run.batch, run.command, run.user_name)
        cap = "" if run.max_credits is None else f"{run.max_credits:,}"
        figures = (f"{entry.cost.videos:,}", f"{spent.charged - spent.refunded:,}", f"{spent.in_doubt:,}", cap)
        table.add_row(f"{run.started_at:%Y-%m-%d %H:%M}", *map(render.cell, texts), *figures, render.cell(entry.why))
    render.out.print(table)
    for entry in found:
        if entry.next_step:
            render.out.print(f"→ {render.cell(entry.run.batch)}: {render.cell(entry.next_step)}")
