"""Whether a run will find nothing to do, as far as the results table can tell before the manifest is read."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from reelbatch.domain import HELD, UNSETTLED, Batch, RowState
from reelbatch.errors import ReelbatchError
from reelbatch.home_folder import at_home
from reelbatch.ledger import Ledger, manifest_lock, queries
from reelbatch.pipeline.account import as_last_seen
from reelbatch.pipeline.load_manifest import digest_of
from reelbatch.pipeline.plan import GenerateOptions, plan
from reelbatch.pipeline.rerun import RerunOptions, preview, selection
from reelbatch.pipeline.resources import opened_ledger, table_is_new
from reelbatch.settings import Settings

_SMALL_BYTES = 1 << 20
_TO_SEND = HELD | {RowState.PENDING}


def seems_idle(options: GenerateOptions, settings: Settings, batch: Batch, *, settles: bool) -> bool:
    """Whether none of the batch's rows waits to be sent (or settled), and the manifest brings no other.

    It brings none where it is the one that was read last; a small one that has changed is looked through. The run
    reads it all the same, and may have rows to send after all: where an image was replaced under its name.
    """
    if options.send.makes_again or table_is_new(settings):
        return False
    with Ledger.to_read(settings.results, settings.lease_s) as ledger:
        if _waits(ledger, batch, settles=settles):
            return False
        last = ledger.read(partial(manifest_lock.last_read, batch=batch))
        seen = as_last_seen(ledger, settings)
    if last is None:
        return False
    return last == digest_of(options, seen) or (_is_soon_read(options) and not _brings_rows(options, seen))


def _is_soon_read(options: GenerateOptions) -> bool:
    """Whether it is a small file of this machine: a larger one takes as long to read twice as Prefect to start."""
    try:
        return isinstance(options.source, str) and Path(at_home(options.source)).stat().st_size <= _SMALL_BYTES
    except OSError:
        return False


def _brings_rows(options: GenerateOptions, settings: Settings) -> bool:
    """Whether rows of the manifest are to be sent; True where it can't be used, which the run says."""
    try:
        return plan(options, settings).send > 0
    except ReelbatchError:
        return True


def rerun_seems_idle(options: RerunOptions, settings: Settings, *, limit: int | None, settles: bool) -> bool:
    """The same of a rerun: whether it would choose no row, and none waits."""
    with opened_ledger(settings, must_exist=True) as ledger:
        chosen = selection(options, ledger)
        return not _waits(ledger, chosen.batch, settles=settles) and not preview(ledger, chosen, settings, limit).send


def _waits(ledger: Ledger, batch: Batch, *, settles: bool) -> bool:
    """Whether a row of the batch waits to be sent, or to be settled."""
    states = ledger.read(partial(queries.counts, batch=batch))
    return not states.keys().isdisjoint(_TO_SEND | UNSETTLED if settles else _TO_SEND)
