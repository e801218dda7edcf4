"""`reelbatch spend`."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from reelbatch.cli import options as opt
from reelbatch.cli.json_output import print_json
from reelbatch.pipeline.spend_options import By, SpendOptions

if TYPE_CHECKING:
    from reelbatch.pipeline.spend import Spend

_DAY = "%Y-%m-%d"
_FIGURES = ("estimated", "charged", "refunded", "final", "reserved", "in_doubt")


def spend(  # noqa: PLR0913, PLR0917 - options of a command
    by: Annotated[By, typer.Option(help="What a line stands for.")] = By.MONTH,
    since: Annotated[
        datetime | None, typer.Option(help="The first day that counts.", formats=[_DAY], metavar="DAY")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(help="The last day that counts.", formats=[_DAY], metavar="DAY")
    ] = None,
    timezone: Annotated[
        str | None,
        typer.Option(help="Whose days and months are meant. (default: the budget's, or UTC)", metavar="ZONE"),
    ] = None,
    to: Annotated[
        str | None, typer.Option("--csv", help="Write the lines as a CSV; - for standard output.", metavar="FILE")
    ] = None,
    config: opt.Config = None,
    results: opt.Results = None,
    batch: opt.AnyBatch = None,
    sandbox: opt.SandboxTable = False,
    as_json: opt.Json = False,
) -> None:
    """What was spent, in credits and, where a rate is stated, in dollars; archived batches count too."""
    from reelbatch.cli import render
    from reelbatch.errors import SettingsError
    from reelbatch.pipeline.resources import batches_named, looked_at
    from reelbatch.pipeline.spend import spend as add_up
    from reelbatch.pipeline.spend import write_csv
    from reelbatch.printable import counted

    if to == "-" and as_json:
        raise SettingsError("--json and --csv - would both write to standard output; leave one of them out")
    settings = opt.settings_of(config, sandbox=sandbox, batch=batch, results=results)
    with looked_at(settings, render.warn) as ledger:
        asked = SpendOptions(
            by=by,
            batch=batches_named(ledger, batch)[0] if batch is not None else None,
            since=since.date() if since else None,
            until=until.date() if until else None,
            timezone=timezone or ("UTC" if settings.budget is None else settings.budget.timezone),
        )
        found = add_up(ledger, asked, settings)
        if to is not None and to != "-":
            write_csv(ledger, found, to)
    if to == "-":
        sys.stdout.buffer.write(found.as_csv().encode())  # as the file is, whatever a terminal's letters are
    if as_json:
        print_json(found.as_json())
    elif to is None:
        _print(found)
    elif to != "-":
        render.out.print(f"{counted(len(found.lines), 'line')} written to {render.cell(to)}")


def _print(found: Spend) -> None:
    from reelbatch.cli import render
    from reelbatch.cli.tables import figures, names, print_lines
    from reelbatch.printable import counted, one_line

    if not found.lines:
        render.out.print("Nothing was spent.")
        return
    shown = [name for name in _FIGURES if name != "reserved" or found.total.credits.reserved]
    lines = [*found.lines, found.total]
    dated = found.options.by in {By.DAY, By.MONTH}
    columns = [
        names(
            f"{found.options.by} ({found.options.timezone})" if dated else found.options.by,
            [one_line(line.name) for line in lines],
        ),
        *(figures(each.replace("_", " "), [f"{getattr(line.credits, each):,}" for line in lines]) for each in shown),
        figures("cost", [f"{line.cost:,}" for line in lines]),
    ]
    if (rate := found.rate) is not None:
        columns.append(figures("dollars", [f"{rate.of(line.cost):,.2f}" for line in lines]))
    print_lines(columns)
    if found.rate is not None:
        render.out.print(
            f"[dim]Dollars: cost at {found.rate.stated}, without volume discounts; in doubt left out.[/]"
        )
    if unknown := found.total.credits.unknown:
        render.note(
            f"Not in these figures: {counted(unknown, 'request')} of unknown rate; no one knows yet what that costs."
        )
