"""What must hold: with every charge, and in the end. The table is read past the program under test."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simulation.books import Books, Charge
from simulation.machines import EPOCH, Process
from simulation.plan import Plan

Row = Mapping[str, Any]
_ENDS = {"complete", "error", "canceled"}
_DAY_S = 86_400
_SIX_DAYS_S = 6 * _DAY_S
_ON_THE_WAY_S = 240
_HELD_SQL = "video_id IS NULL AND (outcome IS NULL OR outcome = 'in_doubt')"


@dataclass(slots=True)
class Watch:
    """Looks at the table whenever the API charges."""

    table: Path
    books: Books
    plan: Plan
    wrong: list[str] = field(default_factory=list)
    _connection: sqlite3.Connection | None = None

    def charged(self, charge: Charge) -> None:
        """A create was taken: its intent is on disk, and the table counts with it."""
        asked = self._ask("SELECT token FROM attempts WHERE token = ?", charge.token)
        if not asked:
            self.wrong.append(f"{charge.name}: charged at {charge.at:.0f} s, and no intent of it is in the table")
        self._look_at_window()
        ((worst,),) = self._ask("SELECT coalesce(sum(worst_case), 0) FROM batches")
        covered = self._known_costs()
        if worst < covered:
            self.wrong.append(f"at {charge.at:.0f} s the worst case is {worst}, and the books say {covered}")
        if self.plan.price_change is not None:  # a price that was never seen may cost one row more
            return
        if self.books.net > covered:
            self.wrong.append(f"at {charge.at:.0f} s the books say {self.books.net}, and {covered} were expected")
        cap = self.plan.settings.get("max_credits")
        if cap is not None and self.books.net > cap:
            self.wrong.append(f"at {charge.at:.0f} s the books say {self.books.net}, above the cap of {cap}")

    def _known_costs(self) -> int:
        """What the books say of settled videos, and no more than was told or reserved of the others.

        A video may turn out dearer than its create said; before it is settled no one can know.
        """
        asked = self._ask("SELECT token, credits_charged, credits_reserved, credits_final FROM attempts")
        known = {token: figures for token, *figures in asked}
        total = 0
        for charge in self.books.charges.values():
            cost = charge.stands_at(self.books.now())
            charged, reserved, final = known.get(charge.token, (None, 0, None))
            total += cost if final is not None else min(cost, max(charged or 0, reserved))
        return total

    def _look_at_window(self) -> None:
        """Videos whose ids were answered, and creates under way; of those that were in doubt it could not know."""
        limit = self.plan.settings.get("render_window")
        if limit is None:
            return
        answered = self._ask(
            "SELECT token FROM attempts WHERE outcome IS NULL OR video_id IS NOT NULL AND http_status = 200"
        )
        known = {token for (token,) in answered}
        now = self.books.now()
        rendering = [each for each in self.books.charges.values() if each.ends_at > now and each.token in known]
        if len(rendering) > limit:
            self.wrong.append(f"at {now:.0f} s {len(rendering)} videos are unfinished, and the window is {limit}")

    def named(self, image: str) -> None:
        """A create names an image."""
        uploaded_at = self.books.uploads.get(image)
        if uploaded_at is not None and self.books.now() - uploaded_at > _SIX_DAYS_S + _ON_THE_WAY_S:
            self.wrong.append(f"at {self.books.now():.0f} s a create names {image}, which is older than six days")

    def ended(self, process: Process) -> None:
        """It was not killed: each success that came to it is in the table, or in a file beside it."""
        for token in process.acknowledged:
            found = self._ask("SELECT video_id FROM attempts WHERE token = ?", token)
            created = [each.video_id for each in self.books.charges.values() if each.token == token]
            if found != [(each,) for each in created] and not list(self.table.parent.glob("*rescue*")):
                self.wrong.append(f"{token}: {created} was answered, and the table says {found}")

    def _ask(self, question: str, *values: Any) -> list[Any]:
        if self._connection is None:
            self._connection = sqlite3.connect(f"file:{self.table}?mode=ro", uri=True, isolation_level=None)
        return self._connection.execute(question, values).fetchall()

    def close(self) -> None:
        """Let go of the table."""
        if self._connection is not None:
            self._connection.close()


@dataclass(frozen=True, slots=True)
class Table:
    """What the results table holds."""

    rows: Sequence[Row]
    attempts: Sequence[Row]
    runs: Sequence[Row]
    batches: Sequence[Row]
    budgets: Sequence[Row]
    orders: Sequence[Row]

    @property
    def has_open_order(self) -> bool:
        """Whether an order is not closed yet."""
        return any(order["closed_at"] is None for order in self.orders)

    @property
    def has_open_run(self) -> bool:
        """Of a worker that is at work, or died."""
        return any(run["ended_at"] is None for run in self.runs)

    @classmethod
    def of(cls, path: Path) -> Table:
        """All of it."""
        connection = sqlite3.connect(path)
        connection.row_factory = sqlite3.Row
        try:
            names = ("generations", "attempts", "runs", "batches", "budgets", "orders")
            return cls(*([dict(row) for row in connection.execute(f"SELECT * FROM {name}")] for name in names))  # noqa: S608 - our own tables
        finally:
            connection.close()


def count_rows(path: Path, *states: str) -> int:
    """Rows in these states; with none: all."""
    wanted = f"WHERE state IN ({', '.join('?' * len(states))})" if states else ""
    with closing(sqlite3.connect(path)) as connection:
        try:
            found = connection.execute(f"SELECT count(*) FROM generations {wanted}", states).fetchone()  # noqa: S608 - marks
        except sqlite3.OperationalError:  # made, and killed before it had its tables
            return 0
    return int(found[0])


def verdict(plan: Plan, books: Books, path: Path, consents: Mapping[str, int]) -> list[str]:
    """What does not hold, now that all processes have ended, doubts are cleared up, and videos are settled."""
    table = Table.of(path)
    return [
        *_paid_twice(table, books, consents),
        *_lost(table, books),
        *_left_open(table, path),
        *_sums(table),
        *_money(plan, table, books),
        *_bounds(plan, table, books),
        *_unfinished(plan, table, books),
    ]


def _paid_twice(table: Table, books: Books, consents: Mapping[str, int]) -> Iterable[str]:
    attempts = {attempt["token"]: attempt for attempt in table.attempts}
    paid: Counter[tuple[str, int]] = Counter()
    for charge in books.charges.values():
        if charge.token not in attempts:
            yield f"{charge.name}: charged, and the table knows no such attempt"
        elif not charge.is_refunded(books.now()):
            paid[attempts[charge.token]["row_key"], attempts[charge.token]["generation"]] += 1
    for (key, generation), times in paid.items():
        if times > 1 + consents.get(key, 0):
            yield f"row {key}, generation {generation}: paid for {times} times"
    tokens = Counter(charge.token for charge in books.charges.values())
    yield from (f"token {token} was charged {times} times" for token, times in tokens.items() if times > 1)


def _lost(table: Table, books: Books) -> Iterable[str]:
    known = {(attempt["token"], attempt["video_id"]) for attempt in table.attempts}
    doubtful = {row["token"] for row in table.rows if row["state"] == "in_doubt"}
    for charge in books.charges.values():
        if (charge.token, charge.video_id) not in known and charge.token not in doubtful:
            yield f"{charge.name}: {charge.video_id} is not in the table, nor is its row in doubt"


def _left_open(table: Table, path: Path) -> Iterable[str]:
    for row in table.rows:
        if row["state"] in {"claimed", "sending"}:
            yield f"row {row['row_key']} is left {row['state']}"
    for run in table.runs:
        if run["ended_at"] is None:
            yield f"run {run['run_id']} was never closed"
        if run["reserved"]:
            yield f"run {run['run_id']} still holds {run['reserved']} credits"
    yield from (f"{file.name} was left" for file in path.parent.glob("*rescue*") if file.suffix != ".taken")


def _sums(table: Table) -> Iterable[str]:
    for batch in table.batches:
        added = sum(map(_worst, table.attempts))
        if batch["worst_case"] != added:
            yield f"batches.worst_case is {batch['worst_case']}, and the attempts add up to {added}"
        held = sum(attempt["credits_reserved"] for attempt in table.attempts if _is_open(attempt))
        if batch["reserved"] + batch["in_doubt"] != held:
            yield f"reserved {batch['reserved']} + in doubt {batch['in_doubt']}, and {held} are held"
    for budget in table.budgets:
        mine = [each for each in table.attempts if budget["starts_at"] <= each["started_at"] < budget["ends_at"]]
        if budget["worst_case"] != sum(map(_worst, mine)):
            yield f"the budget from {budget['starts_at']} counts {budget['worst_case']}, not {sum(map(_worst, mine))}"


def _is_open(attempt: Row) -> bool:
    return attempt["video_id"] is None and attempt["outcome"] in {None, "in_doubt"}


def _worst(attempt: Row) -> int:
    if _is_open(attempt):
        return int(attempt["credits_reserved"])
    if attempt["video_id"] is None:
        return 0
    if attempt["credits_final"] is not None:
        return int(attempt["credits_final"])
    return max(attempt["credits_reserved"], attempt["credits_charged"] or 0)


def _money(plan: Plan, table: Table, books: Books) -> Iterable[str]:
    """The worst case covers the books; once all is settled it is what they say."""
    worst = sum(batch["worst_case"] for batch in table.batches)
    held = sum(attempt["credits_reserved"] for attempt in table.attempts if _is_open(attempt))
    if worst - held != books.net:
        yield f"the table says {worst - held} credits, and {held} in doubt; the books say {books.net}"


def _bounds(plan: Plan, table: Table, books: Books) -> Iterable[str]:
    """Cap and budget. A price that was never seen may take one row of its kind above them."""
    over = max((charge.credits for charge in books.charges.values()), default=0) * len(
        {(line.model, line.resolution) for line in plan.lines}
    )
    slack = over if plan.price_change is not None else 0
    cap = plan.settings.get("max_credits")
    if cap is not None and books.net > cap + slack:
        yield f"the books say {books.net}, and the cap is {cap}"
    budget = plan.settings.get("budget")
    if budget is None:
        return
    begun = {attempt["token"]: attempt["started_at"] for attempt in table.attempts}
    days: Counter[str] = Counter()
    for charge in books.charges.values():
        days[str(begun.get(charge.token))[:10]] += charge.stands_at(books.now())
    for day, cost in days.items():
        if cost > budget["credits"] + slack:
            yield f"{day} cost {cost}, and the budget of a day is {budget['credits']}"


def _unfinished(plan: Plan, table: Table, books: Books) -> Iterable[str]:
    last = {row["row_key"]: row for row in sorted(table.rows, key=lambda row: row["generation"])}
    for line in plan.lines:
        row = last.get(line.row_key)
        if row is None:
            yield f"row {line.row_key} is not in the table"
        elif row["state"] == "pending":
            if not may_wait(plan, table, row):
                yield f"row {line.row_key} is pending, and may be sent: {row['error_code']}, {row['error_message']}"
        elif row["state"] == "rejected":
            if not line.is_refused and not (plan.api.id_in_refusal and row["error_code"] == "http_409"):
                yield f"row {line.row_key} is rejected: {row['error_message']}"
        elif row["state"] not in _ENDS:
            yield f"row {line.row_key} is {row['state']}: {row['error_code']}, {row['error_message']}"
        elif (found := books.charges.get(row["video_id"])) is None:
            yield f"row {line.row_key} has video {row['video_id']}, which the API does not know"
        elif found.status(books.now()) != row["state"]:
            yield f"row {line.row_key} is {row['state']}, and its video {found.status(books.now())}"


def may_wait(plan: Plan, table: Table, row: Row) -> bool:
    """Whether a row stays unsent because cap, budget or price say so."""
    settings, estimate = plan.settings, int(row["credits_estimated"] or 0)
    dearer = max(plan.price_change or 1.0, 1.0)
    if settings.get("price_drift") == "halt" and dearer > 1 and {"max_credits", "budget"} & set(settings):
        return True
    cap = settings.get("max_credits")
    worst = sum(batch["worst_case"] for batch in table.batches)
    if cap is not None and worst + round(estimate * dearer) > cap:
        return True
    budget = settings.get("budget")
    return budget is not None and estimate * dearer > budget["credits"]


def day_of(seconds: float) -> int:
    """Seconds from then until the next day begins."""
    return int(_DAY_S - (EPOCH + seconds) % _DAY_S)
