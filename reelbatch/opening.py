"""Opening the results table for a command. It imports no more than a look at the table needs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from reelbatch.errors import LedgerUnusable
from reelbatch.ledger import Ledger
from reelbatch.ledger.engine import shown
from reelbatch.ledger.transacting import PATIENCE_S
from reelbatch.settings import Settings

_RESCUED, _TAKEN = "*.rescue.jsonl*", ".taken"
"""Answers that a table would not take, of whichever table: only where there are any does it matter whose they are."""


@contextmanager
def opened_ledger(settings: Settings, *, must_exist: bool = False) -> Iterator[Ledger]:
    """The results table, with what dead workers left behind cleared up.

    Raises:
        LedgerUnusable: it can't be opened, or does not exist although it must.
    """
    if must_exist and not Ledger.exists(settings.results):
        where = shown(settings.results)
        raise LedgerUnusable(f"{where}: there is no results table yet. `reelbatch generate` makes one.")
    with Ledger(settings.results) as ledger:
        ledger.transactor.patience_s = min(PATIENCE_S, settings.lease_s / 2)  # before others take over
        _take_up_rescued(ledger)  # first: what is known of a row is worth more than that its worker is gone
        ledger.recover(timedelta(seconds=settings.lease_s))
        yield ledger


def _take_up_rescued(ledger: Ledger) -> None:
    folders = [Path(tempfile.gettempdir()), *([ledger.path.parent] if ledger.path else [])]
    if any(path.suffix != _TAKEN for folder in folders for path in folder.glob(_RESCUED)):
        from reelbatch.submitter.recorder import take_up_rescued

        take_up_rescued(ledger)
