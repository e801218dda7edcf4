"""What is said of rows in doubt from Python: about some rows of one batch, or by a file about many."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from reelbatch.domain import Batch, RowKey, VideoId
from reelbatch.errors import SettingsError
from reelbatch.ledger import Ledger
from reelbatch.pipeline.reconcile import (
    Placed,
    Resolution,
    Rules,
    is_known,
    open_doubts,
    reconcile,
    refuse_unknown,
    take_back,
)
from reelbatch.pipeline.reconcile_list import ListEntry, findings_of
from reelbatch.pipeline.reports import ReconcileReport
from reelbatch.pipeline.resources import open_client, the_batch
from reelbatch.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """What is said; nothing of it: rows in doubt are only listed."""

    batch: str | None = None
    rows: tuple[str, ...] = ()
    video_id: str | None = None
    not_created: bool = False
    now: bool = False
    undo: bool = False
    file: Path | None = None


def refuse_contradictions(said: Decisions) -> None:
    """Before the table is opened.

    Raises:
        SettingsError: it can't be meant together.
    """
    decides = [name for name in ("video_id", "not_created", "file", "undo") if getattr(said, name)]
    if len(decides) > 1:
        raise SettingsError(f"{' and '.join(decides)} can't be meant together: state one of them")
    if said.rows and not decides:
        raise SettingsError("say what became of the row: video_id=… or not_created=True")
    if decides and decides[0] in {"video_id", "not_created"} and not said.rows:
        raise SettingsError("row says which row is meant")
    if said.video_id and len(set(said.rows)) > 1:
        raise SettingsError("a video belongs to one row: give video_id with one row")
    if said.now and not (said.not_created or said.file):
        raise SettingsError("now goes with not_created or file")


async def decide(ledger: Ledger, settings: Settings, said: Decisions) -> ReconcileReport:
    """Carry out what is said, then list what is in doubt.

    Raises:
        SettingsError: there is no such batch or row, or an id is to be checked and there is no key.
    """
    resolved = await _resolved(ledger, settings, said)
    batch = the_batch(ledger, said.batch) if said.batch is not None or said.rows or said.undo else None
    return ReconcileReport(in_doubt=tuple(open_doubts(ledger, batch)), resolved=tuple(resolved))


async def _resolved(ledger: Ledger, settings: Settings, said: Decisions) -> Sequence[Resolution]:
    keys = [RowKey(key) for key in dict.fromkeys(said.rows)]
    if said.undo:
        return take_back(ledger, the_batch(ledger, said.batch), keys)
    if said.file is not None:
        entries = findings_of(said.file).findings
    else:
        video_id = VideoId(said.video_id) if said.video_id else None
        entries = [ListEntry(key, video_id) for key in keys]
    placed = [Placed(_batch_of(ledger, entry, said.batch), entry) for entry in entries]
    if said.file is None and placed:
        refuse_unknown(ledger, placed[0].batch, keys)
    return await resolve(ledger, settings, placed, Rules(settings.doubt_min_age_s, said.now)) if placed else []


async def resolve(ledger: Ledger, settings: Settings, placed: list[Placed], rules: Rules) -> list[Resolution]:
    """Carry decisions out; the API is asked about ids that the table does not know.

    Raises:
        SettingsError: an id is to be checked, and there is no key.
    """
    asks = any(each.entry.video_id and not is_known(ledger, each.batch, each.entry) for each in placed)
    async with open_client(settings) if asks else nullcontext() as client:
        return await reconcile(ledger, client, placed, rules)


def _batch_of(ledger: Ledger, entry: ListEntry, stated: str | None) -> Batch:
    """Where a row is.

    Raises:
        SettingsError: the file names another batch than was stated.
    """
    if entry.batch is not None and stated is not None and entry.batch != stated:
        raise SettingsError(f'{entry.where}is of batch "{entry.batch}", and batch says "{stated}". Leave batch out.')
    return the_batch(ledger, stated or entry.batch)
