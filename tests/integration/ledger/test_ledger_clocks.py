"""A clock that was hours ahead once holds nothing up afterwards."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import update

from reelbatch.ledger import Ledger, accounts
from reelbatch.ledger.schema import apis


def take(ledger: Ledger, creates: int = 4) -> float:
    """Seconds until a lot begins, at one create a second."""
    return ledger.change(lambda connection: accounts.take_lots(connection, [accounts.Lot("local", creates, 1.0)]))[0]


def test_start_times_of_a_clock_that_was_ahead_are_brought_back(ledger: Ledger) -> None:
    """What was handed out just then still counts, so that no rate is exceeded; the eight hours do not."""
    assert take(ledger) == 0
    with ledger.connection() as connection:
        (entry,) = connection.execute(apis.select()).mappings().all()
    moved = update(apis).values({name: entry[name] + timedelta(hours=8) for name in ("next_start", "taken_at")})
    ledger.change(lambda connection: connection.execute(moved))
    assert take(ledger) == pytest.approx(4, abs=0.5)
    assert take(ledger) == pytest.approx(8, abs=0.5)
