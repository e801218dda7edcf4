"""Budgets: what an account may still cost in a period, over all of its batches in the table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, exists, select

from reelbatch.domain import Batch, Budget, Credits, Period
from reelbatch.ledger import budget_counters as counters
from reelbatch.ledger.budget_counters import Counted
from reelbatch.ledger.engine import now
from reelbatch.ledger.queries import sums_of_attempts
from reelbatch.ledger.schema import attempts, batches

_WARNS_AT = 0.8


@dataclass(frozen=True, slots=True)
class BudgetLeft:
    """A budget in one of its periods. Credits are integers."""

    budget: Budget
    account: str
    period: Period
    used: int  # at worst: charged + reserved + in doubt, refunds taken off
    unknown: int = 0  # requests that `used` leaves out: no one knows what they cost

    @property
    def left(self) -> int:
        """What may still be spent in the period."""
        return max(0, self.budget.credits - self.used)

    @property
    def is_short(self) -> bool:
        """Whether four fifths are used."""
        return self.used >= _WARNS_AT * self.budget.credits

    @property
    def until(self) -> str:
        """When the period ends: `1 December (America/Los_Angeles)`."""
        return f"{self.budget.until(self.period)} ({self.budget.timezone})"

    @property
    def words(self) -> str:
        """How it stands, in a line."""
        share = f" ({100 * self.used // self.budget.credits} %)" if self.budget.credits else ""
        return (
            f"{self.budget.name(self.period)}: {self.used:,} of {self.budget.credits:,} credits used{share}, "
            f"{self.left:,} left until {self.until}"
        )

    def as_json(self) -> dict[str, object]:
        """For `--json`."""
        stated = {"credits": self.budget.credits, "per": self.budget.per, "timezone": self.budget.timezone}
        edges = {name: at.isoformat() for name, at in self.period._asdict().items()}
        sums = {"used": self.used, "left": self.left, "unknown": self.unknown}
        return {**stated, "account": self.account, **edges, **sums}


def left(connection: Connection, api: str, account: str, budget: Budget) -> BudgetLeft:
    """How a budget stands now, by the database's clock; changes nothing."""
    period = budget.period(now(connection))
    counted = counters.find(connection, api, account, period)
    if counted is None:
        counted = _added_up(connection, api, account, period)
    return BudgetLeft(budget, account, period, counted.worst_case, counted.unknown)


def accounts_of(connection: Connection, names: Iterable[Batch]) -> list[tuple[str, str]]:
    """The accounts that pay for these batches, each with its API."""
    b = batches.c
    query = select(b.api, b.account).where(b.batch.in_(list(names)), b.account.is_not(None)).distinct()
    return [(api, account) for api, account in connection.execute(query.order_by(b.api, b.account))]


def account_of(connection: Connection, api: str, batch: Batch) -> str | None:
    """The account that would pay for a batch, as far as the table alone says; None where it knows of several.

    The batch's own, else the only one of the API; empty where nothing was paid for yet.
    """
    b = batches.c
    own: str | None = connection.scalar(select(b.account).where(b.batch == batch, b.api == api))
    if own is not None:
        return own
    known = list(
        connection.scalars(select(b.account).where(b.api == api, b.account.is_not(None)).distinct().limit(2))
    )
    return None if len(known) > 1 else known[0] if known else ""


def _standing(connection: Connection, api: str, account: str, period: Period) -> Counted:
    """What a period has cost; no one else adds to it until the commit."""
    if (counted := counters.lock(connection, api, account, period)) is not None:
        return counted
    counters.shut_out(connection)
    if (counted := counters.lock(connection, api, account, period)) is not None:  # another worker was quicker
        return counted
    counted = _added_up(connection, api, account, period)
    counters.begin(connection, api, account, period, counted)
    return counted


def _is_probing(connection: Connection, api: str, account: str) -> bool:
    """Whether a request of any batch of the account is finding out a price."""
    at_work = and_(batches.c.probe == attempts.c.token, attempts.c.outcome.is_(None))
    own = (batches.c.api == api, batches.c.account == account)
    return bool(connection.scalar(select(exists().where(at_work, *own))))


def _added_up(connection: Connection, api: str, account: str, period: Period) -> Counted:
    """The same from the attempts, which are the truth."""
    own = (batches.c.api == api, batches.c.account == account)
    within = (attempts.c.started_at >= period.starts_at, attempts.c.started_at < period.ends_at)
    query = select(*sums_of_attempts()).select_from(attempts.join(batches, batches.c.batch == attempts.c.batch))
    found = Credits.of(connection.execute(query.where(*own, *within)).one())
    return Counted(found.worst_case, found.reserved, found.unknown)


class Purse:
    """What is left of a budget's period while intents are written; no one else takes of it until the commit."""

    def __init__(self, budget: Budget, counted: Counted, *, is_probing: bool) -> None:
        self.whole = budget.credits
        self.room = budget.credits - counted.worst_case
        self.in_flight = counted.reserved
        self.unknown = counted.unknown
        self.is_probing = is_probing  # a request of some batch of the account finds out a price

    def take(self, credits_: int, *, is_probe: bool) -> None:
        """So much is reserved."""
        self.room -= credits_
        self.in_flight += credits_
        self.is_probing |= is_probe


class Purses:
    """The budgets' periods that one transaction takes of."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._found: dict[tuple[str, str, Budget, Period], Purse] = {}

    def of(self, api: str, account: str, budget: Budget, at: datetime) -> Purse:
        """What an account may still cost in the period that `at` is in."""
        period = budget.period(at)
        key = (api, account, budget, period)
        if key not in self._found:
            counted = _standing(self._connection, api, account, period)
            probing = _is_probing(self._connection, api, account)
            self._found[key] = Purse(budget, counted, is_probing=probing)
        return self._found[key]
