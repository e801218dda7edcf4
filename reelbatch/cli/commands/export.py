"""`reelbatch export`."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from reelbatch.cli import options as opt
from reelbatch.cli.json_output import print_json

STANDARD_OUTPUT = "-"


class Format(StrEnum):
    """What standard output can be."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


Target = Annotated[
    str,
    typer.Argument(
        help="Target; the ending says the format: .parquet, .csv, .jsonl or .xlsx. - is standard output.",
        metavar="PATH",
    ),
]


def export(  # noqa: PLR0913, PLR0917 - options of a command
    path: Target,
    config: opt.Config = None,
    results: opt.Results = None,
    batch: opt.AnyBatch = None,
    sandbox: opt.SandboxTable = False,
    state: Annotated[
        str | None,
        typer.Option("--state", help="Only rows in these states, for example: complete,error", metavar="STATES"),
    ] = None,
    all_videos: Annotated[
        bool, typer.Option("--all-videos", help="A line for every video of a row, also for those made again since.")
    ] = False,
    winners: Annotated[
        bool, typer.Option("--winners", help="Of a product's variants only the approved one, once there is one.")
    ] = False,
    excel: Annotated[
        bool, typer.Option("--excel", help="With .csv: for spreadsheets, marked as UTF-8 and without live formulas.")
    ] = False,
    format_: Annotated[
        Format | None, typer.Option("--format", help="Of standard output. (default: csv)", metavar="FORMAT")
    ] = None,
    as_json: opt.Json = False,
) -> None:
    """Write the results table to a file, or to standard output."""
    from reelbatch.cli import render
    from reelbatch.ledger.csv_stream import Wanted
    from reelbatch.pipeline.export import export as write
    from reelbatch.pipeline.export import export_to
    from reelbatch.pipeline.resources import batches_named, looked_at, states_named
    from reelbatch.printable import counted
    from reelbatch.storage.files import redact_url

    _check(path, format_, excel=excel, as_json=as_json)
    states = states_named(opt.words(state))
    with looked_at(opt.settings_of(config, sandbox=sandbox, batch=batch, results=results), render.warn) as ledger:
        names = batches_named(ledger, batch)
        wanted = Wanted(names[0] if batch else None, all_videos, states, winners)
        if path == STANDARD_OUTPUT:
            suffix = f".{format_ or Format.CSV}"
            export_to(ledger, sys.stdout.buffer, suffix, wanted)
            return
        rows = write(ledger, path, wanted, excel=excel)
    if as_json:
        print_json({"path": redact_url(path), "rows": rows})
    else:
        render.out.print(f"{counted(rows, 'row')} written to {render.cell(redact_url(path))}")


def _check(path: str, format_: Format | None, *, excel: bool, as_json: bool) -> None:
    """Whether the options go together.

    Raises:
        SettingsError: they do not.
    """
    from reelbatch.errors import SettingsError

    if path != STANDARD_OUTPUT:
        if format_ is not None:
            raise SettingsError("--format goes with - (standard output); a file's ending says its format")
    elif as_json:
        raise SettingsError("--json and - would both write to standard output; leave one of them out")
    elif excel:
        raise SettingsError("--excel writes a file for spreadsheets; give it a name that ends in .csv")
