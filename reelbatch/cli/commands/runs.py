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

    settings = opt.settings_of(config, sandbox=sandbox, batch=batch, results=results)
    with looked_at(settings, render.warn) as ledger:
        found = list_runs(ledger, batch, last, settings.budget)
    if as_json:
        print_json({"runs": [entry.as_json() for entry in found]})
    else:
        _print(found)


def _print(found: Sequence[RunEntry]) -> None:
    from reelbatch.cli import render
    from reelbatch.cli.tables import Folding, figures, names, print_lines, words
    from reelbatch.printable import one_line

    if not found:
        render.out.print("No runs yet.")
        return
    costs = [entry.cost.credits for entry in found]
    caps = [entry.run.max_credits for entry in found]
    columns = [
        Folding("began (UTC)", [f"{entry.run.started_at:%Y-%m-%d %H:%M}" for entry in found]),
        names("batch", [one_line(entry.run.batch) for entry in found]),
        words("command", [entry.run.command for entry in found]),
        names("by", [one_line(entry.run.user_name) for entry in found]),
        figures("videos", [f"{entry.cost.videos:,}" for entry in found]),
        figures("cost", [f"{spent.charged - spent.refunded:,}" for spent in costs]),
        figures("in doubt", [f"{spent.in_doubt:,}" for spent in costs]),
        figures("cap", ["" if cap is None else f"{cap:,}" for cap in caps]),
        words("ended", [entry.run.why for entry in found]),
    ]
    print_lines(columns)
    for entry in found:
        if entry.next_step:
            render.out.print(f"→ {render.cell(entry.run.batch)}: {render.cell(entry.next_step)}")
