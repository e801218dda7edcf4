"""The main job as plain functions: load the manifest, hand out chunks, see that nothing is left behind."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from math import ceil
from typing import TYPE_CHECKING, TypeAlias

from reelbatch.domain import Batch
from reelbatch.errors import SettingsError
from reelbatch.ledger import Ledger, in_memory, runs, utc_now
from reelbatch.ledger.staging import Regenerate
from reelbatch.manifest import Manifest, open_manifest
from reelbatch.planning import (
    Assignment,
    Findings,
    Plan,
    checks_of,
    look,
    make_plan,
    options_of,
    refuse_duplicates,
    refuse_problems,
)
from reelbatch.settings import Settings, api_of
from reelbatch.streams import old_objects_spared

MOST_CHUNKS = 200
_OTHERS_POLL_S = 1.0

if TYPE_CHECKING:  # `plan` needs neither, and both take a while to import
    import pandas as pd
    from sqlalchemy import Connection

    from reelbatch.session import Session

Source: TypeAlias = "str | os.PathLike[str] | pd.DataFrame"
RunChunk = Callable[[str, int, int], Awaitable[int]]
"""Given a batch and the first and last row number of a range: sends its pending rows, answers with how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be generated."""

    source: Source
    batch: str | None = None  # None: the manifest's stem
    strict: bool = False
    regenerate: Regenerate = Regenerate.NONE
    limit: int | None = None  # rows that this run will send at most


def named(batch: str | None, manifest: Manifest) -> Batch:
    """The batch's name: stated, or the manifest's stem.

    Raises:
        SettingsError: it could not be a file name, which the export needs.
    """
    name = (batch or manifest.stem).strip()
    if not name or name in {".", ".."} or any(char in name for char in '/\\\0:*?"<>|'):
        raise SettingsError(f'--batch "{name}": a batch\'s name is also a file\'s name; leave out / \\ : * ? " < > |')
    return Batch(name)


def assignment(order: Order, settings: Settings) -> Assignment:
    """What a session for `order` works on; the manifest is opened, not read.

    Raises:
        ManifestError: there is no such manifest, or it can't be opened.
    """
    manifest = open_manifest(order.source, options_of(settings), checks_of(settings))
    return Assignment(batch=named(order.batch, manifest), command="generate", base=manifest.base)


def plan(order: Order, settings: Settings) -> Plan:
    """Check the manifest and compare it with the results table; spends nothing and changes nothing.

    Raises:
        ManifestError: the manifest can't be used.
        LedgerUnusable: the results table can't be opened.
    """
    manifest = open_manifest(order.source, options_of(settings), checks_of(settings))
    batch = named(order.batch, manifest)
    findings = Findings()
    table = Ledger(settings.results) if Ledger.exists(settings.results) else in_memory()
    with table as ledger, ledger.staged(findings.gather(manifest), batch) as staged:
        return look(manifest, batch, settings, (findings, staged))


def load(order: Order, settings: Settings, ledger: Ledger, check: Callable[[Connection], None] | None = None) -> Plan:
    """Check the manifest and bring it into the results table; `check` begins each transaction that changes rows.

    Raises:
        ManifestError: the manifest can't be used; nothing was changed.
        LedgerUnusable: the batch belongs to another API.
    """
    manifest = open_manifest(order.source, options_of(settings), checks_of(settings))
    batch = named(order.batch, manifest)
    findings = Findings()
    unchanged = None if order.regenerate is Regenerate.ALL else batch
    with ledger.staged(findings.gather(manifest), unchanged) as staged:
        comparison = staged.compare(batch, order.regenerate)
        refuse_duplicates(manifest, findings, comparison)
        if order.strict:
            refuse_problems(manifest, findings)
        where = api_of(settings.base_url), manifest.base
        ledger.change(lambda connection: runs.open_batch(connection, batch, where, utc_now()))
        staged.merge(batch, order.regenerate, order.limit, check)
    return make_plan(manifest, batch, settings, (findings, comparison))


async def send_all(session: Session, run_chunk: RunChunk, *, limit: int | None) -> None:
    """Send every pending row once, chunk by chunk; then what other workers left behind."""
    with old_objects_spared():
        await _send_all(session, run_chunk, limit)


async def _send_all(session: Session, run_chunk: RunChunk, limit: int | None) -> None:
    lease = timedelta(seconds=session.settings.lease_s)
    session.submitter.allowance = limit
    claimable = await asyncio.to_thread(session.claimable)
    session.rows_to_send = claimable if limit is None else min(claimable, limit)
    taken = await _send_chunks(session, run_chunk, session.rows_to_send, limit)
    while not session.submitter.pace.stopped and (limit is None or taken < limit):
        await asyncio.to_thread(session.ledger.recover, lease)
        more = await asyncio.to_thread(session.claimable)
        if more:
            session.rows_to_send += more
            taken += await _send_chunks(session, run_chunk, more, None if limit is None else limit - taken)
        elif await asyncio.to_thread(session.held_by_others):
            await session.submitter.pace.sleep(_OTHERS_POLL_S)
        else:
            return


async def _send_chunks(session: Session, run_chunk: RunChunk, rows: int, limit: int | None) -> int:
    """One range of rows after the other, with just so many at once that no place stays empty."""
    rows_each = max(1, ceil(rows / MOST_CHUNKS))
    spans = await asyncio.to_thread(session.chunks, rows_each, limit)
    with_files = await asyncio.to_thread(session.names_files)
    at_once = asyncio.Semaphore(1 + ceil(session.submitter.rows_at_once(with_files=with_files) / rows_each))

    async def run(span: tuple[int, int]) -> int:
        async with at_once:
            return 0 if session.submitter.pace.stopped else await run_chunk(session.scope.batch, *span)

    # All of them end before this does, also when it is cancelled: creates in flight are recorded first.
    ends = await asyncio.gather(*(run(span) for span in spans), return_exceptions=True)
    if failures := [end for end in ends if isinstance(end, BaseException)]:
        raise failures[0]
    return sum(end for end in ends if isinstance(end, int))
