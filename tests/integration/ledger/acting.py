"""What manifests, workers and onlookers do with a results table: the tests tell their stories with it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

from sqlalchemy import select, update

from reelbatch.domain import Batch, ClaimedRow, Request, Row, RowKey, RowState, RunId, Token, VideoId
from reelbatch.ledger import Comparison, Ledger, Origin, attempts, claims, queries, runs, schema, utc_now
from reelbatch.ledger.admission import Admission, Asked, Intent
from reelbatch.ledger.attempts import Answer, Ending
from reelbatch.ledger.claims import Claim, Release
from reelbatch.ledger.intents import record_intents
from reelbatch.ledger.schema import batches, generations, results
from reelbatch.ledger.schema import runs as runs_table
from reelbatch.ledger.selection import Regenerate, Scope, SendOptions

SPRING = Batch("spring")
HERE = Origin(mark=str)
"""A manifest whose images are told apart by their names."""
ESTIMATE = 48
LEASE = timedelta(seconds=60)
EVERYWHERE = (1, 1_000_000)
_numbers = count(1)
_WORKER = """
import sys, time
from acting import begin
from reelbatch.ledger import Ledger
worker = begin(Ledger(sys.argv[1]), "killed")
first, second, third = worker.claim(3)
worker.intend(first, "rb_first")
worker.send(second)
print("at work", flush=True)
time.sleep(600)
"""


def row(key: str, number: int, prompt: str = "Slow pan", **stated: Any) -> Row:
    """A checked row of a manifest."""
    request = Request(f"{key}.png", prompt, 2.0, model=stated.pop("model", "ltx-2.3"))
    return Row(
        RowKey(key),
        number,
        request,
        request.fingerprint(),
        stated.get("credits_estimated", ESTIMATE),
        stated.get("problem"),
    )


def rows_of(*keys: str, **stated: Any) -> list[Row]:
    """One row for each key, numbered from 1."""
    return [row(key, number, **stated) for number, key in enumerate(keys, start=1)]


def load(
    ledger: Ledger,
    rows: Sequence[Row],
    regenerate: Regenerate = Regenerate.NONE,
    batch: Batch = SPRING,
    origin: Origin = HERE,
    **options: Any,
) -> Comparison:
    """Bring a manifest into the table; returns what was counted before."""
    send = SendOptions(regenerate=regenerate, **options)
    with ledger.staged([rows], batch, send, origin) as manifest:
        comparison = manifest.compare(batch)
        ledger.change(lambda connection: runs.open_batch(connection, batch, origin.payer, origin.base))
        manifest.merge(batch)
    return comparison


@dataclass(frozen=True)
class Worker:
    """One run on one results table."""

    ledger: Ledger
    run_id: RunId
    max_credits: int | None = None
    rerun: bool = False
    batch: Batch = SPRING
    order: int | None = None

    @property
    def scope(self) -> Scope:
        """Which rows it may take."""
        return Scope(self.batch, self.run_id, self.rerun, self.order)

    def claim(self, rows: int = 1000, span: tuple[int, int] = EVERYWHERE) -> list[ClaimedRow]:
        """Take rows."""
        return self.ledger.change(lambda connection: claims.claim(connection, [Claim(self.scope, span, rows)]))[0]

    def release(self, taken: ClaimedRow, **why: Any) -> bool:
        """Give a row back."""
        return self.ledger.change(
            lambda connection: claims.release(connection, [Release(taken, self.run_id, **why)])
        )[0]

    def intent(self, taken: ClaimedRow, token: str | None = None) -> Intent:
        """What goes to disk before the request; every token is new unless it is stated."""
        mark = Token(token or f"rb_{self.run_id}_{next(_numbers)}")
        images = [path for path in (taken.request.image_path, taken.request.end_image_path) if path]
        asked = Asked(taken.request.content_sha256(images))
        return Intent(taken, self.run_id, mark, utc_now(), self.max_credits, asked=asked)

    def intend(self, taken: ClaimedRow, token: str | None = None) -> Intent:
        """Record an intent that is admitted."""
        intent = self.intent(taken, token)
        assert self.admit(intent) is Admission.ADMITTED
        return intent

    def admit(self, intent: Intent) -> Admission:
        """Record an intent, if the cap allows."""
        return self.ledger.change(lambda connection: record_intents(connection, [intent]))[0].admission

    def send(self, taken: ClaimedRow, ending: Ending = Ending.SUBMITTED, **answered: Any) -> Intent:
        """From claimed to the answer."""
        intent = self.intend(taken)
        tell(self.ledger, intent, ending, **answered)
        return intent


def begin(ledger: Ledger, name: str = "run-1", **stated: Any) -> Worker:
    """A run of this process."""
    worker = Worker(ledger, RunId(name), **stated)
    run = runs.Run(worker.run_id, worker.batch, "generate", worker.max_credits, utc_now())
    ledger.change(lambda connection: runs.start(connection, [run]))
    return worker


def answer(intent: Intent, ending: Ending = Ending.SUBMITTED, **answered: Any) -> Answer:
    """What the API said to the create of `intent`; a video gets the id `vid-TOKEN` unless it is stated."""
    if ending is Ending.SUBMITTED:
        answered = {"video_id": VideoId(f"vid-{intent.token}"), "credits_charged": intent.reserve, **answered}
    known = {"batch": intent.row.batch, "row_key": intent.row.row_key, "generation": intent.row.generation}
    known |= {"run_id": intent.run_id, "token": intent.token}
    return Answer(**known, at=utc_now(), ending=ending, reserved=intent.reserve, **answered)


def tell(ledger: Ledger, intent: Intent, ending: Ending = Ending.SUBMITTED, **answered: Any) -> bool:
    """Record the answer to `intent`; whether its row took it up."""
    said = answer(intent, ending, **answered)
    return ledger.change(lambda connection: attempts.record_answers(connection, [said]))[0]


def end(worker: Worker, reason: str = "done") -> None:
    """The run ends in good order."""
    ended = runs.End(worker.run_id, utc_now(), reason)
    worker.ledger.change(lambda connection: runs.end(connection, [ended]))


def die(worker: Worker) -> None:
    """The run's process is gone, as the table shows it: another machine, and no sign of life for an hour."""
    silent = {"host": "elsewhere", "heartbeat_at": utc_now() - timedelta(hours=1)}
    set_run(worker, **silent)


def set_run(worker: Worker, **values: Any) -> None:
    """Change the run's entry."""
    entry = update(runs_table).where(runs_table.c.run_id == worker.run_id).values(values)
    worker.ledger.change(lambda connection: connection.execute(entry))


def set_row(ledger: Ledger, key: str, batch: Batch = SPRING, **values: Any) -> None:
    """Put a row into a state that would take a long story."""
    entry = update(generations).where(generations.c.batch == batch, generations.c.row_key == key).values(values)
    ledger.change(lambda connection: connection.execute(entry))


def entry(ledger: Ledger, key: str, batch: Batch = SPRING) -> dict[str, Any]:
    """All that the table has of a row."""
    query = select(results).where(results.c.batch == batch, results.c.row_key == key)
    return dict(ledger.read(lambda connection: connection.execute(query).mappings().one()))


def entries(ledger: Ledger, batch: Batch = SPRING) -> dict[str, dict[str, Any]]:
    """All rows as `results` shows them, by key."""
    query = select(results).where(results.c.batch == batch)
    found = ledger.read(lambda connection: connection.execute(query).mappings().all())
    return {entry_["row_key"]: dict(entry_) for entry_ in found}


def every_line(ledger: Ledger, batch: Batch = SPRING) -> dict[tuple[str, int], dict[str, Any]]:
    """Every generation of every row, by key and number."""
    query = select(generations).where(generations.c.batch == batch)
    found = ledger.read(lambda connection: connection.execute(query).mappings().all())
    return {(line["row_key"], line["generation"]): dict(line) for line in found}


def lines(ledger: Ledger, key: str, batch: Batch = SPRING) -> list[dict[str, Any]]:
    """Everything that was, or is to be, made of a row: one line for each generation."""
    g = generations.c
    query = select(generations).where(g.batch == batch, g.row_key == key).order_by(g.generation)
    return [dict(line) for line in ledger.read(lambda connection: connection.execute(query).mappings().all())]


def states(ledger: Ledger, batch: Batch = SPRING) -> dict[str, RowState]:
    """Where the rows stand, by key."""
    return {key: RowState(found["state"]) for key, found in entries(ledger, batch).items()}


def attempt(ledger: Ledger, token: str) -> dict[str, Any]:
    """All that the table has of an attempt."""
    query = select(schema.attempts).where(schema.attempts.c.token == token)
    return dict(ledger.read(lambda connection: connection.execute(query).mappings().one()))


def run_entry(worker: Worker) -> dict[str, Any]:
    """All that the table has of a run."""
    query = select(runs_table).where(runs_table.c.run_id == worker.run_id)
    return dict(worker.ledger.read(lambda connection: connection.execute(query).mappings().one()))


def committed(ledger: Ledger, batch: Batch = SPRING) -> int:
    """The worst case that caps are counted against, checked against the sum over all attempts."""
    running = ledger.read(lambda connection: queries.worst_case(connection, batch))
    credits_ = ledger.read(lambda connection: queries.credits_of(connection, batch))
    assert credits_ == ledger.read(lambda connection: queries.added_up(connection, batch))
    assert running == credits_.worst_case
    return running


def batch_names(ledger: Ledger) -> list[str]:
    """The batches that the table has an entry for."""
    return list(ledger.read(lambda connection: connection.scalars(select(batches.c.batch)).all()))


def keys(taken: Iterable[ClaimedRow]) -> list[str]:
    """Of the rows that were handed out."""
    return [claimed.row_key for claimed in taken]


@contextmanager
def process_at_work(url: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that has one row under way, one answered and one claimed; killed at the end."""
    import forked  # which this module has no need of where that process imports it

    command = [sys.executable, "-c", _WORKER, url]
    with forked.Popen(command, cwd=Path(__file__).parent, stdout=forked.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "at work\n"
            yield process
        finally:
            process.kill()
