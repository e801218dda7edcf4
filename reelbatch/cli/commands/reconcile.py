"""`reelbatch reconcile`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reelbatch.cli import options as opt

Undo = Annotated[
    bool, typer.Option("--undo", help="Take the last decision back, of a --row or the batch; nothing sent since.")
]
ListFile = Annotated[
    Path | None,
    typer.Option(
        "--from",
        help="CSV of row_key and video_id: an id, not_created, or blank.",
        metavar="FILE",
        callback=opt.in_home,
    ),
]

ListTarget = Annotated[
    Path | None,
    typer.Option(
        "--csv", help="Write the list as a CSV to fill in for --from.", metavar="FILE", callback=opt.in_home
    ),
]


def reconcile(  # noqa: PLR0913, PLR0917 - options of a command
    config: opt.Config = None,
    results: opt.Results = None,
    batch: opt.AnyBatch = None,
    row: Annotated[
        list[str] | None, typer.Option(help="The row that was looked into; may be repeated.", metavar="KEY")
    ] = None,
    video_id: Annotated[str | None, typer.Option(help="Its video's id; checked with the API.", metavar="ID")] = None,
    not_created: Annotated[
        bool, typer.Option("--not-created", help="There is no video: it may be sent again.")
    ] = False,
    now: Annotated[
        bool, typer.Option("--now", help="Not created, although the request left only just (doubt_min_age_s).")
    ] = False,
    undo: Undo = False,
    file: ListFile = None,
    to: ListTarget = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Stay until webhook events have cleared everything up.")
    ] = False,
    by_balance: Annotated[
        bool, typer.Option("--by-balance", help="Show what the account's balance says about them; decides nothing.")
    ] = False,
    base_url: opt.BaseUrl = None,
    sandbox: opt.Sandbox = False,
    as_json: opt.Json = False,
) -> None:
    """List rows in doubt with what to look for, and clear them up."""
    from reelbatch.cli.decisions import ReconcileOptions, run

    settings = opt.settings_of(config, sandbox=sandbox, batch=batch, results=results, base_url=base_url)
    options = ReconcileOptions(
        batch=batch,
        rows=tuple(row or ()),
        video_id=video_id,
        not_created=not_created,
        now=now,
        undo=undo,
        file=file,
        to=to,
        wait=wait,
        by_balance=by_balance,
        sandbox=sandbox,
    )
    raise typer.Exit(run(options, settings, as_json=as_json))
