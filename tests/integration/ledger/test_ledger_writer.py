"""Grouped commits: many writes, few transactions, and no one pays for a neighbour's fault."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
from acting import begin, committed, load, rows_of, states
from sqlalchemy import Connection, event, insert, select

from reelbatch.errors import LedgerError, StateConflict
from reelbatch.ledger import Ledger, uploads, utc_now
from reelbatch.ledger import schema as tables
from reelbatch.ledger.admission import Admission
from reelbatch.ledger.intents import record_intents

KEYS = [f"key-{number:03}" for number in range(200)]


@contextmanager
def counted_commits(ledger: Ledger) -> Iterator[list[str]]:
    """One entry for each commit of this process."""
    seen: list[str] = []

    def committed(_: object) -> None:
        seen.append("commit")

    event.listen(ledger._engine, "commit", committed)
    yield seen
    event.remove(ledger._engine, "commit", committed)


class Held:
    """A write that keeps the writer busy until it is let go, so that the next ones gather behind it."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, _: Connection, items: Sequence[str]) -> list[str]:
        """Wait, then answer."""
        self.begun.set()
        assert self.go_on.wait(30)
        return list(items)

    async def hold(self, ledger: Ledger) -> asyncio.Task[str]:
        """Begin, and return when the writer is busy."""
        task = asyncio.create_task(ledger.write(self, "held"))
        await asyncio.to_thread(self.begun.wait)
        return task


def note(connection: Connection, items: Sequence[str]) -> list[str]:
    """A simple write: one row each; a key that exists, or is empty, fails."""
    for item in items:
        if item == "conflict":
            raise StateConflict("not in the state expected")
        if item == "crash":
            raise ZeroDivisionError
        values = {
            "api": "local",
            "sha256": item,
            "file_path": item,
            "bytes": 1,
            "run_id": "r",
            "uploaded_at": utc_now(),
        }
        connection.execute(insert(tables.uploads).values(values | ({"bytes": None} if item == "null" else {})))
    return [f"noted {item}" for item in items]


def noted(ledger: Ledger) -> list[str]:
    """By key."""
    query = select(tables.uploads.c.sha256).order_by(tables.uploads.c.sha256)
    return list(ledger.read(lambda connection: connection.scalars(query).all()))


async def gathered(ledger: Ledger, items: Sequence[str], work: Callable[..., Sequence[str]] = note) -> list[object]:
    """All written in one group."""
    held = Held()
    first = await held.hold(ledger)
    tasks = [asyncio.create_task(ledger.write(work, item)) for item in items]
    await asyncio.sleep(0)
    held.go_on.set()
    await first
    return list(await asyncio.gather(*tasks, return_exceptions=True))


async def test_many_writes_are_committed_together(ledger: Ledger) -> None:
    """Two hundred rows that wait at the same time cost one transaction, and each gets its own answer."""
    await ledger.write(note, "first")  # a connection, and on Postgres this writer's counter
    with counted_commits(ledger) as commits:
        answers = await gathered(ledger, KEYS)
    assert answers == [f"noted {key}" for key in KEYS]
    assert len(commits) == 2  # the one that held the writer, and the group


async def test_intents_and_answers_go_in_groups(ledger: Ledger) -> None:
    """A run of two hundred rows, all at once, needs a small part of four hundred commits."""
    load(ledger, rows_of(*KEYS))
    worker = begin(ledger)
    intents = [worker.intent(taken) for taken in worker.claim()]
    with counted_commits(ledger) as commits:
        admissions = await asyncio.gather(*(ledger.write(record_intents, intent) for intent in intents))
    assert {ruling.admission for ruling in admissions} == {Admission.ADMITTED}
    assert len(commits) < 20


async def test_writes_of_a_kind_keep_their_order(ledger: Ledger) -> None:
    """What was handed over first is written first."""
    seen: list[str] = []

    def remember(_: Connection, items: Sequence[str]) -> list[None]:
        seen.extend(items)
        return [None] * len(items)

    await gathered(ledger, KEYS, remember)
    assert seen == KEYS


@pytest.mark.parametrize("bad", ["conflict", "crash", "null", "key-000", "half \ud83c"])
async def test_one_bad_write_takes_no_neighbour_along(ledger: Ledger, bad: str) -> None:
    """A conflict, a bug, a value that no database takes: the others of its group are written."""
    await ledger.write(note, "key-000")
    items = [*KEYS[1:50], bad, *KEYS[50:100]]
    answers = await gathered(ledger, items)
    failed = [item for item, answer in zip(items, answers, strict=True) if isinstance(answer, Exception)]
    assert failed == [bad]
    assert isinstance(answers[49], LedgerError)
    assert noted(ledger) == KEYS[:100]


async def test_a_row_that_was_taken_over_stops_no_other(ledger: Ledger) -> None:
    """Of a group of intents only the one whose row is not held any more is refused, and holds no credits."""
    load(ledger, rows_of("a", "b", "c"))
    worker = begin(ledger)
    taken = worker.claim()
    worker.release(taken[1])
    intents = [worker.intent(row) for row in taken]
    held = Held()
    first = await held.hold(ledger)
    tasks = [asyncio.create_task(ledger.write(record_intents, intent)) for intent in intents]
    await asyncio.sleep(0)
    held.go_on.set()
    await first
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(answers[1], StateConflict)
    assert states(ledger) == {"a": "sending", "b": "pending", "c": "sending"}
    assert committed(ledger) == 2 * 48


async def test_closing_commits_what_waits(ledger_url: str) -> None:
    """Nothing that was handed over is lost when the table is closed."""
    ledger, held = Ledger(ledger_url), Held()
    tasks = [await held.hold(ledger), *(asyncio.create_task(ledger.write(note, key)) for key in KEYS)]
    await asyncio.sleep(0)
    held.go_on.set()
    await asyncio.to_thread(ledger.close)
    await asyncio.gather(*tasks)
    with Ledger(ledger_url) as again:
        assert noted(again) == KEYS


async def test_a_cancelled_waiters_write_still_happens(ledger: Ledger) -> None:
    """Anyone who waits may go away; an answer on its way to disk gets there."""
    held = Held()
    first = await held.hold(ledger)
    waiting = asyncio.create_task(ledger.write(note, "key-000"))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    held.go_on.set()
    await first
    await ledger.write(note, "key-001")
    assert noted(ledger) == ["key-000", "key-001"]


async def test_a_table_can_be_written_after_a_failure(ledger: Ledger) -> None:
    """A group that the database refused is refused whole; the next one is written."""

    def broken(connection: Connection, items: Sequence[str]) -> list[str]:
        note(connection, items)
        connection.exec_driver_sql("SELECT * FROM nowhere")
        return list(items)

    answers = await gathered(ledger, KEYS[:3], broken)
    assert all(isinstance(answer, LedgerError) for answer in answers)
    assert noted(ledger) == []
    assert await ledger.write(note, "key-000") == "noted key-000"


async def test_the_first_upload_wins(ledger: Ledger) -> None:
    """Of two that uploaded the same bytes at once, later rows use one path; a forgotten one is looked for in vain."""
    lookup = uploads.Lookup("local", "sum")
    for path in ("one", "other"):
        await ledger.write(uploads.save, uploads.Upload("local", "sum", path, 10, utc_now(), "run-1"))
    assert ledger.read(
        lambda connection: [found.file_path for found in uploads.find(connection, [lookup]) if found]
    ) == ["one"]
    await ledger.write(uploads.forget, lookup)
    assert ledger.read(lambda connection: uploads.find(connection, [lookup])) == [None]
