"""Commands that look at a manifest or the results table. None of them needs Prefect."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reelbatch.cli import options as opt
from reelbatch.cli.shared import print_json, readable_table, repeated, settings_of

if TYPE_CHECKING:
    from reelbatch.domain import Batch
    from reelbatch.ledger import Ledger
    from reelbatch.pipeline.status import BatchStatus
    from reelbatch.settings import Settings


def plan(  # noqa: PLR0913, PLR0917 - options of a command
    manifest: opt.Manifest,
    config: opt.Config = None,
    results: opt.Results = None,
    batch: opt.BatchName = None,
    sandbox: opt.Sandbox = False,
    base_url: opt.BaseUrl = None,
    concurrency: opt.Concurrency = None,
    max_credits: opt.MaxCredits = None,
    limit: opt.Limit = None,
    rate: opt.Rate = None,
    regenerate: opt.Regenerate = "none",
    rows: opt.Rows = None,
    repeats: opt.Repeats = None,
    strict: opt.Strict = False,
    settle: opt.Settle = False,
    download: opt.Download = None,
    export: opt.Export = None,
    yes: opt.Yes = False,
    as_json: opt.Json = False,
    verbose: opt.Verbose = False,
) -> None:
    """Check the manifest, compare it, estimate the cost. Takes the options of `generate`, and spends nothing."""
    del settle, yes, verbose  # they change nothing of what is sent
    from reelbatch.cli import render
    from reelbatch.cli.spending import keys_of
    from reelbatch.pipeline.generate import GenerateOptions, send_options
    from reelbatch.pipeline.generate import plan as make_plan
    from reelbatch.storage.addresses import refuse_in_parameters

    refuse_in_parameters({"manifest": manifest, "export": export, "downloads": download})  # as `generate` would
    settings = settings_of(
        config,
        sandbox=sandbox,
        results=results,
        base_url="http://127.0.0.1" if sandbox else base_url,
        concurrency=concurrency,
        max_credits=max_credits,
        rate=rate,
        repeats=repeats,
        downloads=download,
        export=export,
    )
    which = send_options(regenerate=regenerate, rows=keys_of(rows, None), repeats=settings.repeats, limit=limit)
    made = make_plan(GenerateOptions(source=manifest, batch=batch, strict=strict, send=which), settings)
    if as_json:
        print_json(made.as_json())
    else:
        render.print_findings(made)
        render.print_plan(made)
    raise typer.Exit(1 if made.problem_count else 0)


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

    settings = settings_of(config, sandbox=sandbox, results=results)
    statuses = None if rows or credits_ else statuses_at_a_glance(settings.results, batch)
    first: Mapping[Batch, list[dict[str, Any]]] = {}
    if statuses is None:
        statuses, first = _looked_into(settings, batch, rows, by_model=credits_)
    if as_json:
        print_json({"batches": [found.as_json() for found in statuses]})
        return
    from reelbatch.cli import render

    if not statuses:
        render.out.print("No batches yet.")
    for found in statuses:
        render.print_status(found)
        if credits_:
            render.print_credits(found)
        if rows:
            render.print_rows(first[found.batch])


def _looked_into(
    settings: Settings, batch: str | None, rows: int, *, by_model: bool
) -> tuple[list[BatchStatus], Mapping[Batch, list[dict[str, Any]]]]:
    """Each batch, and its first rows if any are asked for, from the table that is opened for it."""
    from reelbatch.ledger import queries
    from reelbatch.pipeline.status import batch_status

    with readable_table(settings) as ledger:
        names = _batches(ledger, batch)
        statuses = [batch_status(ledger, name, by_model=by_model) for name in names]
        first = {name: ledger.read(partial(queries.first_rows, batch=name, limit=rows)) for name in names if rows}
    return statuses, first


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
    from reelbatch.storage.files import redact_url

    with readable_table(settings_of(config, sandbox=sandbox, results=results)) as ledger:
        names = _batches(ledger, batch)
        rows = write(ledger, path, names[0] if batch else None, all_videos=all_videos, excel=excel)
    if as_json:
        print_json({"path": redact_url(path), "rows": rows})
    else:
        render.out.print(f"{rows:,} rows written to {render.cell(redact_url(path))}")


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
    undo: Annotated[
        bool, typer.Option("--undo", help="Take the last decision back, of a --row or the batch; nothing sent since.")
    ] = False,
    file: Annotated[
        Path | None,
        typer.Option("--from", help="CSV of row_key and video_id: an id, not_created, or blank.", metavar="FILE"),
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--csv", help="Write the list as a CSV to fill in for --from.", metavar="FILE")
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Stay until webhook events have cleared everything up.")
    ] = False,
    base_url: opt.BaseUrl = None,
    sandbox: opt.Sandbox = False,
    as_json: opt.Json = False,
) -> None:
    """List rows in doubt with what to look for, and clear them up."""
    from reelbatch.cli.doubting import Request, run

    settings = settings_of(config, sandbox=sandbox, results=results, base_url=base_url)
    request = Request(
        batch=batch,
        rows=tuple(row or ()),
        video_id=video_id,
        not_created=not_created,
        now=now,
        undo=undo,
        file=file,
        to=to,
        wait=wait,
        sandbox=sandbox,
        repeated=repeated(config=config, results=results, batch=batch, base_url=base_url, sandbox=sandbox),
    )
    raise typer.Exit(run(request, settings, as_json=as_json))


def _batches(ledger: Ledger, stated: str | None) -> list[Batch]:
    """The batch that is named, or all of the table."""
    from reelbatch.domain import Batch
    from reelbatch.errors import SettingsError
    from reelbatch.ledger import queries

    known = ledger.read(queries.batch_names)
    if stated is None:
        return known
    if stated not in known:
        names = ", ".join(known) or "none"
        raise SettingsError(f'--batch "{stated}": the results table has no such batch. It has: {names}')
    return [Batch(stated)]
