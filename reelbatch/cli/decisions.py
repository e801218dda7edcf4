"""`reelbatch reconcile`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from reelbatch.cli import render
from reelbatch.cli.balance_sheet import print_sheet
from reelbatch.cli.json_output import print_json
from reelbatch.domain import Batch, RowKey, VideoId
from reelbatch.errors import SettingsError
from reelbatch.ledger import Ledger
from reelbatch.ledger.in_doubt import Doubt
from reelbatch.pipeline.by_balance import BalanceSheet, by_balance
from reelbatch.pipeline.decide import resolve
from reelbatch.pipeline.reconcile import (
    Placed,
    Resolution,
    Rules,
    open_doubts,
    refuse_unknown,
    take_back,
    wait_until_clear,
)
from reelbatch.pipeline.reconcile_list import FoundFile, ListEntry, findings_of, write_list
from reelbatch.pipeline.resources import open_client, opened_ledger, sandboxed, the_batch
from reelbatch.printable import counted
from reelbatch.settings import Settings
from reelbatch.typed_options import command

_ASK_EVERY_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileOptions:
    """What was typed."""

    batch: str | None
    rows: tuple[str, ...]
    video_id: str | None
    not_created: bool
    now: bool
    undo: bool
    file: Path | None
    to: Path | None
    wait: bool
    sandbox: bool
    by_balance: bool


def findings_asked(options: ReconcileOptions) -> FoundFile:
    """What the options say about rows; nothing where they only ask for the list.

    Raises:
        SettingsError: they contradict each other.
    """
    decides = bool(options.video_id) or options.not_created
    if options.to is not None and (decides or options.rows or options.undo or options.file):
        raise SettingsError("--csv writes the list; leave out what decides: --row, --video-id, --from, --undo, …")
    if options.now and not (options.not_created or options.file):
        raise SettingsError("--now goes with --not-created or --from")
    if options.undo:
        if decides or options.file:
            raise SettingsError("--undo takes a decision back; leave out --video-id, --not-created and --from")
        return FoundFile([], 0)
    if options.file is not None:
        if options.rows or decides:
            raise SettingsError("--from takes its rows from the file; leave out --row, --video-id and --not-created")
        return findings_of(options.file)
    return FoundFile(_typed(options), 0)


def _typed(options: ReconcileOptions) -> list[ListEntry]:
    if not options.rows:
        if options.video_id or options.not_created:
            raise SettingsError("--row says which row is meant")
        return []
    if bool(options.video_id) == options.not_created:
        raise SettingsError("say what became of the row: either --video-id ID or --not-created")
    if options.video_id and len(set(options.rows)) > 1:
        raise SettingsError("a video belongs to one row: give --video-id with one --row")
    video_id = VideoId(options.video_id) if options.video_id else None
    return [ListEntry(RowKey(key), video_id) for key in dict.fromkeys(options.rows)]


def run(options: ReconcileOptions, stated: Settings, *, as_json: bool) -> int:
    """List rows in doubt or resolve them; returns the exit code."""
    if options.by_balance:
        return _by_balance(options, stated, as_json=as_json)
    found = findings_asked(options)
    with sandboxed(stated, enabled=options.sandbox) as settings, opened_ledger(settings, must_exist=True) as ledger:
        one = options.batch is not None or options.undo or any(finding.batch is None for finding in found.findings)
        chosen = the_batch(ledger, options.batch) if one else None
        resolutions = _carried_out(ledger, settings, options, found, chosen)
        if options.wait:
            asyncio.run(wait_until_clear(ledger, chosen, _ASK_EVERY_S, _say_left))
        left = open_doubts(ledger, chosen)
    if options.to is not None:
        write_list(options.to, left)
    if as_json:
        known = {"in_doubt": [asdict(doubt) for doubt in left], "resolved": [asdict(r) for r in resolutions]}
        print_json(known if options.file is None else {**known, "blank": found.blank})
    else:
        _print(left, resolutions, found.blank, options)
    failed = any(resolution.problem for resolution in resolutions)
    return 1 if failed or any(not doubt.sent_again for doubt in left) else 0


def _by_balance(options: ReconcileOptions, stated: Settings, *, as_json: bool) -> int:
    """Show what the account's balance says; nothing is decided.

    Raises:
        SettingsError: something else is asked for as well.
    """
    decides = (options.rows, options.video_id, options.not_created, options.now, options.undo, options.file)
    if any(decides) or options.to is not None or options.wait:
        raise SettingsError("--by-balance decides nothing: leave out what does, and --csv and --wait")
    with sandboxed(stated, enabled=options.sandbox) as settings, opened_ledger(settings, must_exist=True) as ledger:
        chosen = the_batch(ledger, options.batch) if options.batch is not None else None
        sheet = asyncio.run(_asked(ledger, settings, chosen))
    if as_json:
        print_json(sheet.as_json())
    else:
        print_sheet(sheet)
    return 1 if sheet.doubts or sheet.older else 0


async def _asked(ledger: Ledger, settings: Settings, batch: Batch | None) -> BalanceSheet:
    async with open_client(settings) as client:
        return await by_balance(ledger, client, settings, batch)


def _carried_out(
    ledger: Ledger, settings: Settings, options: ReconcileOptions, found: FoundFile, chosen: Batch | None
) -> list[Resolution]:
    keys = [RowKey(key) for key in dict.fromkeys(options.rows)]
    if chosen is not None:
        refuse_unknown(ledger, chosen, keys)
    if options.undo and chosen is not None:
        return take_back(ledger, chosen, keys)
    placed = [Placed(_batch_of(ledger, finding, chosen, options.batch), finding) for finding in found.findings]
    rules = Rules(settings.doubt_min_age_s, options.now)
    return asyncio.run(resolve(ledger, settings, placed, rules)) if placed else []


def _batch_of(ledger: Ledger, finding: ListEntry, chosen: Batch | None, stated: str | None) -> Batch:
    """Where a finding belongs.

    Raises:
        SettingsError: the file says another batch than --batch, or one that the table does not have.
    """
    if finding.batch is None:
        return the_batch(ledger, chosen)
    if stated is not None and finding.batch != stated:
        raise SettingsError(
            f'--from {finding.where}is of batch "{finding.batch}", and --batch says "{stated}". '
            "Leave --batch out, or take such lines out of the file."
        )
    try:
        return the_batch(ledger, finding.batch)
    except SettingsError as error:
        raise SettingsError(f"--from {finding.where}{error}") from error


def _say_left(left: int) -> None:
    render.err.print(f"{left} in doubt, waiting for events")


def _print(left: list[Doubt], resolutions: Iterable[Resolution], blank: int, options: ReconcileOptions) -> None:
    unchanged = 0
    for resolution in resolutions:
        unchanged += resolution.unchanged
        done = f"{resolution.verdict.replace('_', ' ')} {resolution.video_id or ''}".strip()
        if resolution.problem:
            render.err.print(f"[red]{render.cell(resolution.row_key)}:[/] {render.cell(resolution.problem)}")
        elif not resolution.unchanged:
            render.out.print(render.cell(f"{resolution.row_key}: {done}"))
    if unchanged:
        render.out.print(f"Nothing to decide: {unchanged:,} that have this id already.")
    if blank:
        render.out.print(f"Nothing was said of {blank:,} with an empty video_id; rows in doubt stay in doubt.")
    if not left:
        render.out.print("No rows are in doubt.")
        return
    if options.to is not None:
        render.out.print(
            f"{len(left):,} in doubt, written to {render.cell(str(options.to))}. Fill in video_id, "
            f"then `{render.cell(command('reconcile', '--from', str(options.to)))}`."
        )
        return
    if rows := [doubt for doubt in left if not doubt.sent_again]:
        bold = f"[bold]{counted(len(rows), 'row')}[/]"
        _print_doubts(rows, f"{bold} in doubt: may have been charged, and no id is known.", is_of_row=True)
    else:
        render.out.print("No rows are in doubt.")
    if again := [doubt for doubt in left if doubt.sent_again]:
        bold = f"[bold]{counted(len(again), 'request')}[/]"
        said = f"{bold} of rows that were to be paid for once more (--accept-double-charge) may have been charged:"
        _print_doubts(again, said, is_of_row=False)


def _print_doubts(doubts: list[Doubt], headline: str, *, is_of_row: bool) -> None:
    """Requests in doubt, what to look for in the vendor's library, and commands for what was found."""
    several = len({doubt.batch for doubt in doubts}) > 1
    names = ("row", "key", "since (UTC)", "credits", "look for a name ending in")
    table = render.plain_table(None, ["batch", *names] if several else names)
    for doubt in doubts:
        first = [render.cell(doubt.batch)] if several else []
        since, credits_ = f"{doubt.since:%Y-%m-%d %H:%M:%S}", f"{doubt.credits_reserved:,}"
        table.add_row(*first, str(doubt.row_number), render.cell(doubt.row_key), since, credits_, doubt.token)
    render.out.print(headline)
    render.out.print(table)
    render.out.print("Look for these names in the Magic Hour library, then for each row:")
    row = render.cell(command("reconcile", "--row", "KEY", batch="BATCH" if several else doubts[0].batch))
    render.out.print(f"  found:      {row} --video-id ID")
    if is_of_row:
        render.out.print(f"  not there:  {row} --not-created   (the row may then be sent again)")
        return
    lists = render.cell(command("reconcile", "--csv", "FILE", batch=None if several else doubts[0].batch))
    render.out.print(f"  not there:  {lists}, `not_created` in its line, and --from FILE")
