"""`reelbatch batches`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from reelbatch.cli import options as opt
from reelbatch.cli.json_output import print_json
from reelbatch.typed_options import command

if TYPE_CHECKING:
    from reelbatch.pipeline.history import BatchEntry
    from reelbatch.settings import Settings


def batches(  # noqa: PLR0913, PLR0917 - options of a command
    archive: Annotated[
        str | None,
        typer.Option(
            help="Take this batch out of what commands mean without --batch; nothing is lost.", metavar="NAME"
        ),
    ] = None,
    unarchive: Annotated[str | None, typer.Option(help="Take it back in.", metavar="NAME")] = None,
    show_all: Annotated[bool, typer.Option("--all", help="List archived batches, too.")] = False,
    config: opt.Config = None,
    results: opt.Results = None,
    sandbox: opt.SandboxTable = False,
    as_json: opt.Json = False,
) -> None:
    """What the results table holds: rows by state, credits, the last run, the next step."""
    from reelbatch.cli import render
    from reelbatch.pipeline.history import list_batches
    from reelbatch.pipeline.resources import looked_at

    settings = opt.settings_of(config, sandbox=sandbox, results=results)
    _archive(settings, archive, unarchive)
    with looked_at(settings, render.warn) as ledger:
        found = list_batches(ledger, settings.budget, archived=True)
    shown = [entry for entry in found if show_all or entry.known.archived_at is None]
    if as_json:
        print_json({"batches": [entry.as_json() for entry in shown], "archived": len(found) - _current(found)})
    else:
        _print(shown, len(found) - len(shown))


def _current(found: Sequence[BatchEntry]) -> int:
    return sum(entry.known.archived_at is None for entry in found)


def _archive(settings: Settings, archive: str | None, unarchive: str | None) -> None:
    from reelbatch.cli import render
    from reelbatch.domain import UNSETTLED, Batch, RowState
    from reelbatch.errors import SettingsError
    from reelbatch.pipeline import history
    from reelbatch.pipeline.resources import opened_ledger
    from reelbatch.pipeline.status import batch_status

    archive, unarchive = (name and name.strip() for name in (archive, unarchive))
    if archive is None and unarchive is None:
        return
    if archive == unarchive:
        raise SettingsError("--archive and --unarchive name the same batch: leave one of them out")
    with opened_ledger(settings, must_exist=True) as ledger:
        if unarchive is not None and not history.archive(ledger, unarchive, back=True):
            render.note(f"{unarchive} is not archived.")
        if archive is None:
            return
        if not history.archive(ledger, archive):
            render.note(f"{archive} is archived already.")
        left = batch_status(ledger, Batch(archive)).count(*UNSETTLED, RowState.IN_DOUBT)
    if left:
        ways = " and ".join(f"`{command(name, batch=archive)}`" for name in ("settle", "reconcile"))
        render.warn(f"{left:,} of its rows are not finished or in doubt. {ways} still mean it.")


def _print(found: Sequence[BatchEntry], hidden: int) -> None:
    from reelbatch.cli import render

    if not found:
        render.out.print("No batches yet." if not hidden else "All batches are archived.")
    for entry in found:
        _print_one(entry)
    if hidden:
        render.out.print(f"[dim]and {hidden:,} archived; --all lists them[/]")


def _print_one(entry: BatchEntry) -> None:
    from reelbatch.cli import render
    from reelbatch.pipeline.status import NO_ROWS

    status, money = entry.status, entry.status.credits
    states = " · ".join(f"{rows:,} {state.replace('_', ' ')}" for state, rows in status.states.items())
    mark = " [dim](archived)[/]" if entry.known.archived_at is not None else ""
    render.out.print(f"[bold]{render.cell(entry.known.batch)}[/]{mark}  {states or NO_ROWS}")
    doubt = f" · in doubt {money.in_doubt:,}" if money.in_doubt else ""
    render.out.print(f"  cost {money.charged - money.refunded:,} credits{doubt} · worst case {money.worst_case:,}")
    if status.last_run is not None:
        render.out.print(f"  [dim]last run {render.cell(str(status.last_run))}[/]")
    if entry.next_step:
        render.out.print(f"  → {render.cell(entry.next_step)}")
