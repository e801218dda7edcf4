"""The API's books against the results table: what must hold whatever was killed where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import create_engine, text

Line = Mapping[str, Any]
HELD = frozenset({"claimed", "sending"})
UNFINISHED = frozenset({"pending", *HELD, "queued", "rendering"})


@dataclass(frozen=True, slots=True)
class Table:
    """What the results table holds, read past the program under test."""

    rows: Sequence[Line]  # every generation of every row
    attempts: Sequence[Line]
    runs: Sequence[Line] = ()
    orders: Sequence[Line] = ()
    batches: Sequence[Line] = ()

    @property
    def worst_case(self) -> int | None:
        """Credits that all batches may have cost, in the program's own words; None before there is a batch."""
        return sum(batch["worst_case"] for batch in self.batches) if self.batches else None

    @property
    def open_orders(self) -> int:
        """Orders that are not closed."""
        return sum(order["closed_at"] is None for order in self.orders)

    @property
    def doubtful(self) -> list[Line]:
        """Rows in doubt."""
        return [row for row in self.rows if row["state"] == "in_doubt"]


def read_table(url: str) -> Table:
    """The table behind `url`; an empty one where there is none yet."""
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            names = {
                "rows": "generations",
                "attempts": "attempts",
                "runs": "runs",
                "orders": "orders",
                "batches": "batches",
            }
            found = {
                name: [dict(row) for row in connection.execute(text(f"SELECT * FROM {table}")).mappings()]  # noqa: S608 - our own tables
                for name, table in names.items()
            }
    finally:
        engine.dispose()
    return Table(**found)


def settled_accounts(table: Table, charges: Sequence[Line]) -> list[str]:
    """What always holds once no process is at work: nothing paid twice, no id lost, nothing held, enough reserved."""
    return [*_paid_twice(table, charges), *_lost(table, charges), *_held(table), *_too_cheap(table, charges)]


def finished(table: Table, charges: Sequence[Line], ends: Mapping[str, str]) -> list[str]:
    """What holds in the end, when rows in doubt are cleared up too: every row where it should be, every id known."""
    last = {row["row_key"]: row for row in sorted(table.rows, key=lambda row: row["generation"])}
    doubtful = {row["token"] for row in table.doubtful}
    found = [
        f"row {key} is {last[key]['state'] if key in last else 'missing'}, and should be {state}"
        for key, state in ends.items()
        if key not in last or last[key]["state"] not in {state, "in_doubt"}
    ]
    known = {attempt["video_id"] for attempt in table.attempts}
    found += [
        f"id {one['video_id']} of {one['row']} is not in the table"
        for one in charges
        if one["video_id"] not in known and one["token"] not in doubtful
    ]
    charged = {charge["token"] for charge in charges}
    uncharged = doubtful - charged
    held_back = sum(one["credits_reserved"] for one in table.attempts if one["token"] in uncharged)
    net = sum(charge["credits"] - charge["refunded"] for charge in charges)
    if table.worst_case != net + held_back:
        found.append(f"the worst case is {table.worst_case}; the books say {net}, and {held_back} are in doubt")
    return found


def _paid_twice(table: Table, charges: Sequence[Line]) -> list[str]:
    attempts = {attempt["token"]: attempt for attempt in table.attempts}
    paid: Counter[tuple[str, int]] = Counter()
    for charge in charges:
        attempt = attempts.get(charge["token"])
        if charge["refunded"] < charge["credits"] and attempt is not None:
            paid[attempt["row_key"], attempt["generation"]] += 1
    tokens = Counter(charge["token"] for charge in charges)
    twice = [f"row {key}, generation {number}: paid for {n} times" for (key, number), n in paid.items() if n > 1]
    return twice + [f"token {token} was sent {n} times" for token, n in tokens.items() if n > 1]


def _lost(table: Table, charges: Sequence[Line]) -> list[str]:
    """A charge whose id is not in the table is the token of a row that is in doubt, and is told so."""
    attempts = {attempt["token"]: attempt for attempt in table.attempts}
    doubtful = {row["token"] for row in table.doubtful}
    ids = {attempt["video_id"] for attempt in table.attempts}
    found = []
    for charge in charges:
        attempt = attempts.get(charge["token"])
        if attempt is None:
            found.append(f"video {charge['video_id']} of {charge['row']}: the table knows no such attempt")
        elif charge["video_id"] not in ids and charge["token"] not in doubtful:
            found.append(f"video {charge['video_id']} of {charge['row']} is lost: no id, and not in doubt")
    return found


def _held(table: Table) -> list[str]:
    held = [f"row {row['row_key']} is left {row['state']}" for row in table.rows if row["state"] in HELD]
    return held + [f"run {run['run_id']} was never closed" for run in table.runs if run["ended_at"] is None]


def _too_cheap(table: Table, charges: Sequence[Line]) -> list[str]:
    net = sum(charge["credits"] - charge["refunded"] for charge in charges)
    if table.worst_case is None or table.worst_case >= net:
        return []
    return [f"the worst case is {table.worst_case}, and the books say {net}"]
