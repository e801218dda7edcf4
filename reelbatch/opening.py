"""Opening the results table for a command. It imports no more than a look at the table needs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from reelbatch.errors import LedgerUnusable

if TYPE_CHECKING:
    from reelbatch.ledger import Ledger
    from reelbatch.settings import Settings

_RESCUED, _TAKEN = "*.rescue.jsonl*", ".taken"


@contextmanager
def opened_ledger(settings: Settings, *, must_exist: bool = False) -> Iterator[Ledger]:
    """The results table, with what dead workers left behind cleared up.

    Raises:
        LedgerUnusable: it can't be opened, or does not exist although it must.
    """
    from reelbatch.ledger import Ledger
    from reelbatch.ledger.engine import shown
    from reelbatch.ledger.transacting import PATIENCE_S

    if must_exist and not Ledger.exists(settings.results):
        where = shown(settings.results)
        raise LedgerUnusable(f"{where}: there is no results table yet. `reelbatch generate` makes one.")
    with Ledger(settings.results) as ledger:
        ledger.transactor.patience_s = min(PATIENCE_S, settings.lease_s / 2)  # before others take over
        _take_up_rescued(ledger)  # first: what is known of a row is worth more than that its worker is gone
        ledger.recover(timedelta(seconds=settings.lease_s))
        yield ledger


def any_rescued(path: Path | None) -> bool:
    """Whether there are answers that a table would not take, in the folder for temporary files or beside `path`.

    Of whichever table: only where there are any does it matter whose they are.
    """
    folders = [Path(tempfile.gettempdir()), *([path.parent] if path else [])]
    return any(found.suffix != _TAKEN for folder in folders for found in folder.glob(_RESCUED))


def _take_up_rescued(ledger: Ledger) -> None:
    if any_rescued(ledger.path):
        from reelbatch.submitter.recorder import take_up_rescued

        take_up_rescued(ledger)
