"""Options that more than one command has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

_SETTINGS = "Settings"
_RUN = "Run"

Manifest = Annotated[
    str, typer.Argument(help="CSV, TSV, JSON Lines or Parquet file: a path or a URL.", metavar="MANIFEST")
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="YAML file with settings. (default: reelbatch.yaml here or in a folder above)",
        rich_help_panel=_SETTINGS,
        metavar="FILE",
    ),
]
Results = Annotated[
    str | None,
    typer.Option(
        "--results",
        help="Results table, as a SQLAlchemy URL. "
        "(default: sqlite:///results/reelbatch.db; with --sandbox sqlite:///results/sandbox/reelbatch.db)",
        rich_help_panel=_SETTINGS,
        metavar="URL",
    ),
]


def _batch(which: str) -> Any:
    return typer.Option("--batch", help=which, rich_help_panel=_SETTINGS, metavar="NAME")


BatchName = Annotated[str | None, _batch("Name under which rows are generated once. (default: the manifest's stem)")]
OneBatch = Annotated[str | None, _batch("Which batch. (default: the only one of the table)")]
AnyBatch = Annotated[str | None, _batch("Which batch. (default: all of the table)")]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on standard output, and nothing else there.")
]
Sandbox = Annotated[
    bool,
    typer.Option(
        "--sandbox",
        help="Run against a local sandbox, with a results table of its own; nothing is paid.",
        rich_help_panel=_RUN,
    ),
]
SandboxTable = Annotated[
    bool,
    typer.Option(
        "--sandbox",
        help="The results table of runs with --sandbox, in place of the real one.",
        rich_help_panel=_SETTINGS,
    ),
]
BaseUrl = Annotated[
    str | None, typer.Option("--base-url", help="The API's address.", rich_help_panel=_RUN, metavar="URL")
]
Concurrency = Annotated[
    int | None,
    typer.Option("--concurrency", help="Creates in flight. (default: 16)", rich_help_panel=_RUN, metavar="N"),
]
MaxCredits = Annotated[
    int | None,
    typer.Option(
        "--max-credits",
        help="Cap in credits on what the batch may cost at worst; no create leaves that could break it.",
        rich_help_panel=_RUN,
        metavar="N",
    ),
]
Limit = Annotated[
    int | None,
    typer.Option("--limit", help="Send so many rows at most in this run.", rich_help_panel=_RUN, metavar="N", min=0),
]
Rate = Annotated[
    int | None,
    typer.Option(
        "--rate",
        help="Credits per second to assume for models whose rate is not known.",
        rich_help_panel=_RUN,
        metavar="N",
        min=0,
    ),
]
Regenerate = Annotated[
    str,
    typer.Option(
        help="Make videos again: changed or all; the same again goes on with it. cancel drops what was not sent.",
        metavar="WHICH",
    ),
]
Rows = Annotated[str | None, typer.Option(help="With --regenerate: only rows with these keys.", metavar="KEY,…")]
Repeats = Annotated[
    str | None,
    typer.Option(
        help="Rows whose request is paid for under another name: hold, send or skip. (default: hold)", metavar="WHAT"
    ),
]
Strict = Annotated[bool, typer.Option("--strict", help="Send nothing if any row fails its checks.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before spending.", rich_help_panel=_RUN)]
Export = Annotated[
    str | None,
    typer.Option(
        "--export",
        help="Where the table goes after the run: .parquet, .csv, .jsonl. (default: <batch>.parquet beside it)",
        rich_help_panel=_RUN,
        metavar="PATH",
    ),
]
Download = Annotated[
    str | None,
    typer.Option(
        "--download", help="Folder or URL to download finished videos to.", rich_help_panel=_RUN, metavar="DIR"
    ),
]
Settle = Annotated[bool, typer.Option("--settle", help="Wait for the videos as well.", rich_help_panel=_RUN)]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show Prefect's own messages.")]
