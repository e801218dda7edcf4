"""`reelbatch export`."""

from __future__ import annotations

from typing import Annotated

import typer

from reelbatch.cli import options as opt
from reelbatch.cli.json_output import print_json


def export(  # noqa: PLR0913, PLR0917 - options of a command
    path: Annotated[
        str, typer.Argument(help="Target; the ending says the format: .parquet, .csv or .jsonl.", metavar="PATH")
    ],
    config: opt.Config = None,
    results: opt.Results = None,
    batch: opt.AnyBatch = None,
    sandbox: opt.SandboxTable = False,
    all_videos: Annotated[
        bool, typer.Option("--all-videos", help="A line for every video of a row, also for those made again since.")
    ] = False,
    excel: Annotated[
        bool, typer.Option("--excel", help="With .csv: for spreadsheets, marked as UTF-8 and without live formulas.")
    ] = False,
    as_json: opt.Json = False,
) -> None:
    """Write the results table to a file."""
    from reelbatch.cli import render
    from reelbatch.pipeline.export import export as write
    from reelbatch.pipeline.resources import batches_named, looked_at
    from reelbatch.storage.files import redact_url

    with looked_at(opt.settings_of(config, sandbox=sandbox, results=results), render.warn) as ledger:
        names = batches_named(ledger, batch)
        rows = write(ledger, path, names[0] if batch else None, all_videos=all_videos, excel=excel)
    if as_json:
        print_json({"path": redact_url(path), "rows": rows})
    else:
        render.out.print(f"{rows:,} rows written to {render.cell(redact_url(path))}")
