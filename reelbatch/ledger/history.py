"""What ran on a results table, and which batches it holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from reelbatch.domain import Batch, Credits, RunId
from reelbatch.ledger.past_run import PastRun
from reelbatch.ledger.queries import sums_of_attempts
from reelbatch.ledger.schema import attempts, batches, runs


class Cost(NamedTuple):
    """What the requests of one run have cost by now, whenever that came to light."""

    requests: int = 0
    videos: int = 0
    credits: Credits = Credits()


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownBatch:
    """A batch's entry. `archived_at` None: a command that names no batch means this one too."""

    batch: Batch
    api: str
    account: str | None
    created_at: datetime
    archived_at: datetime | None


_RUN = tuple(runs.c[name] for name in PastRun.__dataclass_fields__)
_BATCH = tuple(batches.c[name] for name in KnownBatch.__dataclass_fields__)


def past_runs(connection: Connection, of: Sequence[Batch], limit: int) -> list[PastRun]:
    """The last runs of these batches, the newest first."""
    query = select(*_RUN).where(runs.c.batch.in_(of)).order_by(runs.c.started_at.desc(), runs.c.run_id).limit(limit)
    return [PastRun(**found) for found in connection.execute(query).mappings()]


def costs(connection: Connection, of: Sequence[RunId]) -> dict[RunId, Cost]:
    """What these runs have cost; those that sent nothing are left out."""
    a = attempts.c
    counted = (func.count(), func.count(a.video_id))
    query = select(a.run_id, *counted, *sums_of_attempts()).where(a.run_id.in_(of)).group_by(a.run_id)
    found = connection.execute(query)
    return {RunId(run): Cost(requests, videos, Credits.of(sums)) for run, requests, videos, *sums in found}


def known_batches(connection: Connection) -> list[KnownBatch]:
    """Every batch of the table, by name."""
    query = select(*_BATCH).order_by(batches.c.batch)
    return [KnownBatch(**found) for found in connection.execute(query).mappings()]
