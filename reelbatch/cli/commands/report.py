"""`reelbatch report`."""

from __future__ import annotations

from typing import Annotated

import typer

from reelbatch.cli import options as opt
from reelbatch.cli.json_output import print_json


def report(  # noqa: PLR0913, PLR0917 - options of a command
    path: Annotated[str, typer.Argument(help="HTML file to write.", metavar="PATH.html")],
    config: opt.Config = None,
    results: opt.Results = None,
    batch: opt.OneBatch = None,
    sandbox: opt.SandboxTable = False,
    embed: Annotated[bool, typer.Option("--embed", help="Put the videos into the file.")] = False,
    as_json: opt.Json = False,
) -> None:
    """Write a batch as one page to send around: pictures, videos, costs, failures, verdicts."""
    from reelbatch.cli import render
    from reelbatch.extras import require
    from reelbatch.pipeline.dollars import dollars_per_credit
    from reelbatch.pipeline.resources import looked_at, the_batch
    from reelbatch.printable import counted

    require("review", "`reelbatch report`")
    settings = opt.settings_of(config, sandbox=sandbox, batch=batch, results=results)
    from reelbatch.review import ReportOptions, write_report

    options = ReportOptions(embed=embed, dollars_per_credit=dollars_per_credit(settings))
    with looked_at(settings, render.warn) as ledger:
        written = write_report(ledger, the_batch(ledger, batch), path, options)
    if as_json:
        print_json(written.as_json())
        return
    size = f"{written.bytes / 1e6:,.1f} MB"
    counts = f"{counted(written.rows, 'row')}, {counted(written.videos, 'video')}"
    render.out.print(f"{counts}: {render.cell(written.path)} ({size})")
