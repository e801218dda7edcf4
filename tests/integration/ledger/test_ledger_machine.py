"""Whatever happens to a batch, in whatever order: no row is paid for twice, no id and no credit is lost."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections import Counter
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from acting import LEASE, SPRING, Worker, answer, begin, committed, die, entries, every_line, load, row
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import event, select

from reelbatch.domain import FAILED, HAS_ID, TRANSITIONS, RowState, Token, VideoId
from reelbatch.errors import OrderOpen, StateConflict
from reelbatch.ledger import (
    Ledger,
    attempts,
    in_doubt,
    orders,
    quick_status,
    reruns,
    schema,
    sent_again,
    settlements,
    undone_decisions,
    utc_now,
)
from reelbatch.ledger.admission import Admission, Intent
from reelbatch.ledger.attempts import Ending
from reelbatch.ledger.due import Rendered
from reelbatch.ledger.in_doubt import Decision, Doubt, Verdict
from reelbatch.ledger.reruns import Selection
from reelbatch.ledger.schema import runs
from reelbatch.ledger.selection import Regenerate
from reelbatch.ledger.settlements import Final
from reelbatch.ledger.undone_decisions import Undo
from reelbatch.pipeline.status import batch_status

KEYS = tuple("abcd")
NOT_CREATED = (Ending.RETRY, Ending.REJECTED, Ending.HALTED, Ending.WITHDRAWN, Ending.IN_DOUBT)
CREATED = (Ending.SUBMITTED, Ending.IN_DOUBT)
PICK = st.integers(0, 1000)
ENDED = HAS_ID | FAILED
_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder in memory, where there is one


class Books(RuleBasedStateMachine):
    """A batch of four rows, some workers, and an API that remembers in truth what it created."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=_MEMORY if _MEMORY.is_dir() else None))
        self.ledger = Ledger(f"sqlite:///{self.folder / 'results.db'}")
        event.listen(self.ledger._engine, "checkout", _without_waiting_for_the_disk)
        self.workers: list[Worker] = []
        self.held: list[tuple[Worker, Any]] = []  # rows that were handed out, also to workers that died
        self.dead: set[str] = set()
        self.sent: dict[Token, tuple[Intent, bool, int]] = {}  # the request, whether it was created, its charge
        self.agreed: set[Token] = set()  # attempts after which someone asked for another one
        self.ids: dict[Token, VideoId] = {}  # every id that was ever told
        self.seen: list[Rendered] = []  # what settlers know of, however old
        self.before: dict[tuple[str, int], RowState] = {}

    def teardown(self) -> None:
        """The table is thrown away."""
        self.ledger.close()
        shutil.rmtree(self.folder)

    @initialize(cap=st.sampled_from([None, None, 48, 100, 150]))
    def open(self, cap: int | None) -> None:
        """A batch, under one cap for all."""
        self.cap = cap
        load(self.ledger, [row(key, number) for number, key in enumerate(KEYS, start=1)])
        self.start()
        self.claim_and_send(2, created=True, charge=30)

    def start(self) -> None:
        """One more worker."""
        self.workers.append(begin(self.ledger, f"run-{len(self.workers)}", max_credits=self.cap))

    def agree(self, lines: set[tuple[str, int]]) -> None:
        """Anyone who asks for these rows knows that there were attempts before."""
        self.agreed |= {token for token, (intent, _, _) in self.sent.items() if _line(intent) in lines}

    @precondition(lambda self: self.held)
    @rule(
        prompts=st.dictionaries(
            st.sampled_from(KEYS), st.sampled_from(["Slow pan", "Fast zoom", "no image"]), min_size=2
        ),
        regenerate=st.sampled_from(Regenerate),
    )
    def read_the_manifest_again(self, prompts: dict[str, str], regenerate: Regenerate) -> None:
        """Rows have changed, are broken, or are gone."""
        rows = [
            row(key, number, prompt, credits_estimated=30, problem="no image" if prompt == "no image" else None)
            for number, (key, prompt) in enumerate(prompts.items(), start=1)
        ]
        was = self.states()
        with suppress(OrderOpen):
            load(self.ledger, rows, regenerate)
        self.agree(
            {line for line, state in self.states().items() if state != was.get(line, state) and was[line] in ENDED}
        )

    @precondition(lambda self: self.ids)
    @rule()
    def cancel_the_order(self) -> None:
        """Someone has enough."""
        self.ledger.change(lambda connection: orders.cancel(connection, SPRING, utc_now()))

    @precondition(lambda self: self.ids)
    @rule()
    def close_the_order(self) -> None:
        """A run is reported."""
        self.ledger.change(lambda connection: orders.close(connection, SPRING, utc_now()))

    @rule(rows=st.integers(1, 4), pick=PICK)
    def claim(self, rows: int, pick: int) -> None:
        """A worker that lives takes rows: what the manifest lists, else what a rerun asked for."""
        living = [worker for worker in self.workers if worker.run_id not in self.dead]
        worker = living[-1 - pick % len(living)]
        order = self.ledger.read(lambda connection: orders.open_order(connection, SPRING))
        ordered = replace(worker, order=None if order is None else order.order_id)
        taken = worker.claim(rows) or ordered.claim(rows) or replace(worker, rerun=True).claim(rows)
        self.held += [(worker, row) for row in taken]

    @rule(rows=st.integers(1, 3), created=st.booleans(), charge=st.integers(0, 60))
    def claim_and_send(self, rows: int, created: bool, charge: int) -> None:
        """What a worker does all day."""
        known = len(self.held)
        self.claim(rows, 0)
        self.every_move_is_a_transition()
        self.send(list(range(known, len(self.held))), created, charge)

    @precondition(lambda self: self.held)
    @rule(picks=st.lists(PICK, min_size=1, max_size=3), created=st.booleans(), charge=st.integers(0, 60))
    def send(self, picks: list[int], created: bool, charge: int) -> None:
        """Requests leave, one after the other, unless the table objects; dead workers try as well."""
        for pick in picks:
            worker, taken = self.held[pick % len(self.held)]
            intent = worker.intent(taken)
            before = committed(self.ledger)
            try:
                admission = worker.admit(intent)
            except StateConflict:
                assert committed(self.ledger) == before
                continue
            if admission is Admission.ADMITTED:
                assert worker.run_id not in self.dead
                assert self.cap is None or committed(self.ledger) <= self.cap
                self.sent[intent.token] = (intent, created, charge)

    @precondition(lambda self: self.sent)
    @rule(pick=PICK, ending=PICK)
    def answer(self, pick: int, ending: int) -> None:
        """An answer comes: in time, late, or once more."""
        intent, created, charge = list(self.sent.values())[-1 - pick % len(self.sent)]
        endings = CREATED if created else NOT_CREATED
        chosen = endings[ending % len(endings)]
        said = answer(intent, chosen, **({"credits_charged": charge} if chosen is Ending.SUBMITTED else {}))
        self.ledger.change(lambda connection: attempts.record_answers(connection, [said]))
        if said.video_id is not None:
            self.ids[intent.token] = said.video_id

    @precondition(lambda self: len(self.held) > 1)
    @rule(pick=PICK, invalid=st.booleans())
    def give_back(self, pick: int, invalid: bool) -> None:
        """A worker gives a row up."""
        worker, taken = self.held.pop(pick % len(self.held))
        worker.release(taken, invalid=invalid)

    @precondition(lambda self: self.sent)
    @rule(pick=PICK)
    def crash(self, pick: int) -> None:
        """A worker dies, the next one begins and takes back what it held."""
        worker = self.workers[-1 - pick % len(self.workers)]
        die(worker)
        self.dead.add(worker.run_id)
        self.ledger.recover(LEASE)
        self.start()

    @precondition(lambda self: self.sent)
    @rule(states=st.sets(st.sampled_from(sorted(FAILED | {RowState.IN_DOUBT})), min_size=1))
    def ask_for_a_rerun(self, states: set[RowState]) -> None:
        """Someone wants failed rows again, or rows in doubt at their own risk."""
        self.agree({line for line, state in self.states().items() if state in states})
        chosen = Selection(batch=SPRING, states=frozenset(states))
        self.ledger.change(lambda connection: reruns.request(connection, chosen))

    @precondition(lambda self: self.ids)
    @rule()
    def look(self) -> None:
        """A settler learns which videos there are."""
        self.seen += [
            Rendered(
                SPRING,
                found["row_key"],
                found["video_id"],
                found["token"],
                RowState(found["state"]),
                found["generation"],
            )
            for found in every_line(self.ledger).values()
            if found["state"] in {RowState.QUEUED, RowState.RENDERING}
        ]

    @precondition(lambda self: self.seen)
    @rule(pick=PICK, state=st.sampled_from(["rendering", "complete", "error", "canceled"]))
    def settle(self, pick: int, state: str) -> None:
        """A settler brings news of a video, maybe of one that its row has no more."""
        seen = self.seen[pick % len(self.seen)]
        if state == "rendering":
            self.ledger.change(lambda connection: settlements.record_rendering(connection, [seen]))
            return
        final = Final(row=seen, state=RowState(state), at=utc_now(), credits_final=None if state == "complete" else 0)
        self.ledger.change(lambda connection: settlements.record_finals(connection, [final]))

    @precondition(lambda self: self.sent)
    @rule(pick=PICK, lie=st.booleans())
    def decide(self, pick: int, lie: bool) -> None:
        """Someone looks a row in doubt up, and says what there is, or errs: then he agreed to pay again."""
        if not (open_ := self.ledger.read(in_doubt.doubts) + self.ledger.read(sent_again.doubts)):
            return
        doubt = open_[pick % len(open_)]
        _, created, charge = self.sent[doubt.token]
        found = created and not lie and not doubt.sent_again
        if not found:
            self.agreed.add(doubt.token)
        video_id = VideoId(f"vid-{doubt.token}") if found else None
        self.ledger.change(lambda connection: in_doubt.decide(connection, [_word(doubt, video_id, charge)]))

    @precondition(lambda self: self.sent)
    @rule()
    def think_again(self) -> None:
        """The last word is taken back; every credit is where it was, and nothing that was told is forgotten."""
        made = self.ledger.read(lambda connection: undone_decisions.last_made(connection, SPRING))
        items = [Undo(each, "someone", utc_now()) for each in made]
        self.ledger.change(lambda connection: undone_decisions.undo(connection, items))

    def states(self) -> dict[tuple[str, int], RowState]:
        """Where each generation of the rows stands."""
        return {line: RowState(found["state"]) for line, found in every_line(self.ledger).items()}

    @invariant()
    def every_move_is_a_transition(self) -> None:
        """From step to step a row moves as the domain allows, or not at all."""
        now = self.states()
        for key, state in now.items():
            was = self.before.get(key, state)
            assert was == state or state in TRANSITIONS[was], f"{key}: {was} became {state}"
        self.before = now

    @invariant()
    def no_row_is_paid_for_twice(self) -> None:
        """A row that may be sent, or is being sent, has no earlier video that no one agreed to pay for again."""
        rows = every_line(self.ledger)
        for token, (intent, created, _) in self.sent.items():
            if (found := rows.get(_line(intent))) is None:
                assert not created or token in self.agreed, "a line that may be paid for was dropped"
                continue
            may_leave = found["state"] in {RowState.PENDING, RowState.CLAIMED, RowState.SENDING}
            own = found["state"] == RowState.SENDING and found["token"] == token
            assert not created or not may_leave or own or token in self.agreed, (
                f"{found['row_key']} is paid for twice"
            )

    @invariant()
    def every_credit_is_explained(self) -> None:
        """The running worst case, and what runs held and spent, are what the attempts add up to."""
        committed(self.ledger)
        kept = self.ledger.read(lambda connection: connection.execute(select(schema.attempts)).mappings().all())
        told = self.ledger.read(lambda connection: connection.execute(select(runs)).mappings().all())
        held, spent = Counter[str](), Counter[str]()
        for one in kept:
            if one["video_id"] is None:
                held[one["run_id"]] += one["credits_reserved"] if one["outcome"] in {None, "in_doubt"} else 0
            else:
                spent[one["run_id"]] += max(one["credits_reserved"], one["credits_charged"])
        assert {run["run_id"]: (run["reserved"], run["spent"]) for run in told} == {
            run["run_id"]: (held[run["run_id"]], spent[run["run_id"]]) for run in told
        }

    @invariant()
    def a_glance_says_the_same(self) -> None:
        """Rows by state and credits, without SQLAlchemy, are those of the ledger."""
        known = batch_status(self.ledger, SPRING)
        if len(every_line(self.ledger)) > len(KEYS):
            return  # more than a glance
        with closing(sqlite3.connect(self.folder / "results.db")) as connection:
            found = quick_status._standings(connection, SPRING)
        assert {batch: (each.states, each.credits) for batch, each in found.items()} == {
            SPRING: (known.states, known.credits)
        }

    @invariant()
    def no_id_is_lost(self) -> None:
        """Every id that was ever told stands with its attempt, and every attempt is there."""
        query = select(schema.attempts.c.token, schema.attempts.c.video_id)
        kept = dict(self.ledger.read(lambda connection: [tuple(found) for found in connection.execute(query)]))
        assert {token: kept[token] for token in self.ids} == self.ids
        assert kept.keys() == self.sent.keys()

    @invariant()
    def what_is_paid_for_is_shown(self) -> None:
        """A row that ever had a video shows one, whatever is being made again; and rows are counted once."""
        shown = entries(self.ledger)
        assert sorted(shown) == sorted(KEYS)
        with_video = {
            key for (key, _), found in every_line(self.ledger).items() if found["state"] == RowState.COMPLETE
        }
        assert all(shown[key]["video_id"] is not None for key in with_video)
        status = batch_status(self.ledger, SPRING)
        assert status.rows == len(KEYS)
        assert sum(status.states.values()) + status.earlier_videos == len(every_line(self.ledger))

    @invariant()
    def a_row_has_one_request_under_way(self) -> None:
        """An attempt without an answer belongs to a row that is being sent, and each such row has one."""
        query = select(schema.attempts.c.row_key, schema.attempts.c.token).where(schema.attempts.c.outcome.is_(None))
        under_way = self.ledger.read(lambda connection: [tuple(found) for found in connection.execute(query)])
        rows = every_line(self.ledger).values()
        assert sorted(under_way) == sorted(
            (found["row_key"], found["token"]) for found in rows if found["state"] == RowState.SENDING
        )


def _word(doubt: Doubt, video_id: VideoId | None, charge: int) -> Decision:
    if video_id is None:
        return Decision(doubt, Verdict.NOT_CREATED, "someone", utc_now(), doubt.token)
    return Decision(doubt, Verdict.FOUND, "someone", utc_now(), doubt.token, video_id, charge)


def _line(intent: Intent) -> tuple[str, int]:
    return intent.row.row_key, intent.row.generation


def _without_waiting_for_the_disk(connection: Any, *_: Any) -> None:
    connection.execute("PRAGMA synchronous = OFF")


Books.TestCase.settings = settings(
    max_examples=8,  # other ones each time; a step is 40 ms of processor time
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestBooks = Books.TestCase
