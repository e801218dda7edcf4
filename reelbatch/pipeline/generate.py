"""The main job as plain functions: load the manifest, hand out chunks, see that nothing is left behind."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, TypeAlias

from reelbatch.domain import Batch, RowKey, RunId
from reelbatch.errors import SettingsError
from reelbatch.images.inspect import content_mark
from reelbatch.ledger import Ledger, Origin, in_memory, orders, runs, utc_now
from reelbatch.ledger.accounts import Payer
from reelbatch.ledger.selection import Regenerate, RepeatPolicy, SendOptions
from reelbatch.manifest import Manifest, open_manifest
from reelbatch.memory import old_objects_spared
from reelbatch.pipeline.account import payer
from reelbatch.pipeline.plan import (
    Assignment,
    Findings,
    Plan,
    checks_of,
    look,
    make_plan,
    options_of,
    refuse_duplicates,
    refuse_problems,
    refuse_unknown_keys,
)
from reelbatch.settings import Settings

MOST_CHUNKS = 200
_OTHERS_POLL_S = 1.0

if TYPE_CHECKING:  # `plan` needs neither, and both take a while to import
    import pandas as pd
    from sqlalchemy import Connection

    from reelbatch.pipeline.run_context import RunContext

Source: TypeAlias = "str | os.PathLike[str] | pd.DataFrame"
RunChunk = Callable[[str, int, int], Awaitable[int]]
"""Given a batch and the first and last row number of a range: sends its pending rows, answers with how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateOptions:
    """What is to be generated, and from what."""

    source: Source
    batch: str | None = None  # None: the manifest's stem
    strict: bool = False
    send: SendOptions = field(default_factory=SendOptions)  # which rows


def send_options(
    *, regenerate: str = "none", rows: Iterable[str] | None = None, repeats: str = "hold", limit: int | None = None
) -> SendOptions:
    """Which rows are sent, by the words of the command line.

    Raises:
        SettingsError: no such word, or rows are named although none are made again.
    """
    if regenerate not in set(Regenerate):
        raise SettingsError(f'--regenerate "{regenerate}": use none, changed or all; cancel drops an order')
    if repeats not in set(RepeatPolicy):
        raise SettingsError(f'--repeats "{repeats}": use hold, send or skip')
    options = SendOptions(
        regenerate=Regenerate(regenerate),
        row_keys=None if rows is None else tuple(RowKey(key) for key in rows),
        repeats=RepeatPolicy(repeats),
        limit=limit,
    )
    if options.row_keys is not None and not options.makes_again:
        raise SettingsError("--rows names videos that are made again: add --regenerate all (or changed)")
    return options


def named(batch: str | None, manifest: Manifest) -> Batch:
    """The batch's name: stated, or the manifest's stem.

    Raises:
        SettingsError: it could not be a file name, which the export needs.
    """
    name = (batch or manifest.stem).strip()
    if not name or name in {".", ".."} or any(char in name for char in '/\\\0:*?"<>|'):
        raise SettingsError(f'--batch "{name}": a batch\'s name is also a file\'s name; leave out / \\ : * ? " < > |')
    if any("\ud800" <= char <= "\udfff" for char in name):  # as Python holds bytes of a file's name that are no UTF-8
        raise SettingsError(f'--batch "{name}": is no UTF-8, and no table holds it; state another name')
    return Batch(name)


def assignment(options: GenerateOptions, settings: Settings) -> Assignment:
    """What a run for `options` works on; the manifest is opened, not read.

    Raises:
        ManifestError: there is no such manifest, or it can't be opened.
    """
    manifest = open_manifest(options.source, options_of(settings), checks_of(settings))
    return Assignment(batch=named(options.batch, manifest), command="generate", base=manifest.base)


def plan(options: GenerateOptions, settings: Settings) -> Plan:
    """Check the manifest and compare it with the results table; spends nothing and changes nothing.

    Raises:
        ManifestError: the manifest can't be used.
        LedgerUnusable: the results table can't be opened.
        OrderOpen: videos are to be made again, and another order is open.
    """
    manifest = open_manifest(options.source, options_of(settings), checks_of(settings))
    batch = named(options.batch, manifest)
    findings = Findings()
    table = Ledger(settings.results) if Ledger.exists(settings.results) else in_memory()
    with table as ledger:
        origin = origin_of(manifest, payer(ledger, settings))
        with ledger.staged(findings.gather(manifest), batch, options.send, origin) as staged:
            return look(manifest, batch, settings, (findings, staged))


def origin_of(manifest: Manifest, who: Payer) -> Origin:
    """Where the manifest's images are, and who would pay for its videos."""
    return Origin(manifest.base, partial(content_mark, base=manifest.base), who)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadFor:
    """Who loads a manifest.

    Args:
        check: begins each transaction that changes rows, and may raise.
        agree: is shown the plan before anything is changed, and may raise.
    """

    run_id: RunId = RunId("")  # noqa: RUF009 - a name for a text
    payer: Payer | None = None  # None: as far as the table knows
    check: Callable[[Connection], None] | None = None
    agree: Callable[[Plan], None] | None = None


def load(options: GenerateOptions, settings: Settings, ledger: Ledger, who: LoadFor = LoadFor()) -> Plan:
    """Check the manifest and bring it into the results table.

    Raises:
        ManifestError: the manifest can't be used; nothing was changed.
        LedgerUnusable: the batch belongs to another API.
        OrderOpen: videos are to be made again, and another order is open.
        NotAgreed: more would be sent than somebody said yes to.
    """
    manifest = open_manifest(options.source, options_of(settings), checks_of(settings))
    batch = named(options.batch, manifest)
    findings = Findings()
    payer_ = who.payer or payer(ledger, settings)
    with ledger.staged(findings.gather(manifest), batch, options.send, origin_of(manifest, payer_)) as staged:
        comparison = staged.compare(batch)
        refuse_duplicates(manifest, findings, comparison)
        refuse_unknown_keys(manifest, comparison)
        if options.strict:
            refuse_problems(manifest, findings)
        made = make_plan(manifest, batch, settings, (findings, comparison))
        if who.agree is not None:
            who.agree(made)
        ledger.change(lambda connection: runs.open_batch(connection, batch, payer_, manifest.base))
        staged.merge(batch, who.run_id, who.check)
    return made


def cancel_order(ledger: Ledger, batch: Batch) -> str:
    """Drop what the batch's open order has not sent; answers with what was dropped, in words."""
    found = ledger.change(lambda connection: orders.cancel(connection, batch, utc_now()))
    if found is None:
        return f'batch "{batch}": no order is open, nothing was dropped'
    order, dropped = found
    kept = sum(order.states.values()) - dropped
    return f'batch "{batch}": {dropped:,} rows of {order.words} were dropped unsent; {kept:,} stay'


async def send_all(context: RunContext, run_chunk: RunChunk, *, limit: int | None) -> None:
    """Send every pending row once, chunk by chunk; then what other workers left behind."""
    with old_objects_spared():
        await _send_all(context, run_chunk, limit)


async def _send_all(context: RunContext, run_chunk: RunChunk, limit: int | None) -> None:
    lease = timedelta(seconds=context.settings.lease_s)
    limit = context.bounded(limit)
    context.submitter.allowance = limit
    claimable = await asyncio.to_thread(context.claimable)
    context.rows_to_send = claimable if limit is None else min(claimable, limit)
    taken = await _send_chunks(context, run_chunk, context.rows_to_send, limit)
    while not context.submitter.limiter.closed and (limit is None or taken < limit):
        await asyncio.to_thread(context.ledger.recover, lease)
        more = await asyncio.to_thread(context.claimable)
        if more:
            context.rows_to_send += more
            taken += await _send_chunks(context, run_chunk, more, None if limit is None else limit - taken)
        elif await asyncio.to_thread(context.held_by_others):
            await context.submitter.limiter.sleep(_OTHERS_POLL_S)
        else:
            return


async def _send_chunks(context: RunContext, run_chunk: RunChunk, rows: int, limit: int | None) -> int:
    """One range of rows after the other, with just so many at once that no place stays empty."""
    rows_each = max(1, ceil(rows / MOST_CHUNKS))
    spans = await asyncio.to_thread(context.chunks, rows_each, limit)
    with_files = await asyncio.to_thread(context.names_files)
    at_once = asyncio.Semaphore(1 + ceil(context.submitter.rows_at_once(with_files=with_files) / rows_each))

    async def run(span: tuple[int, int]) -> int:
        async with at_once:
            return 0 if context.submitter.limiter.closed else await run_chunk(context.scope.batch, *span)

    # All of them end before this does, also when it is cancelled: creates in flight are recorded first.
    ends = await asyncio.gather(*(run(span) for span in spans), return_exceptions=True)
    if failures := [end for end in ends if isinstance(end, BaseException)]:
        raise failures[0]
    return sum(end for end in ends if isinstance(end, int))
