"""Writes of a settle: all of them may be done twice, so one that failed is tried again before the run gives up."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from reelbatch.errors import LedgerError
from reelbatch.ledger import Ledger
from reelbatch.ledger.group_commit import Work

WAITS_S = (0.1, 0.4)
"""Between tries: enough for a deadlock that the database broke up, or a connection that it closed."""

Item = TypeVar("Item")
Result = TypeVar("Result")


async def write(ledger: Ledger, work: Work[Item, Result], item: Item) -> Result:
    """Run `work` for `item` in the table's next group of writes.

    Raises:
        LedgerError: it failed several times.
    """
    for wait_s in WAITS_S:
        try:
            return await ledger.write(work, item)
        except LedgerError:
            await asyncio.sleep(wait_s)
    return await ledger.write(work, item)
