"""A cap holds to the credit, over all workers, whatever order answers come in."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from acting import ESTIMATE, LEASE, SPRING, Worker, answer, begin, committed, die, load, row, rows_of, states, tell
from sqlalchemy import delete, select

from reelbatch.domain import ClaimedRow, Credits, RowState
from reelbatch.errors import LedgerError
from reelbatch.ledger import Ledger, accounting, claims, queries, schema, settlements, utc_now
from reelbatch.ledger.admission import Admission, Intent
from reelbatch.ledger.attempts import Ending
from reelbatch.ledger.due import Rendered
from reelbatch.ledger.intents import record_intents
from reelbatch.ledger.schema import batches, prices
from reelbatch.ledger.settlements import Final

ROWS = 100


@pytest.fixture
def tables(ledger_url: str) -> Iterator[tuple[Ledger, Ledger]]:
    """Two processes' views of one table."""
    with Ledger(ledger_url) as one, Ledger(ledger_url) as other:
        yield one, other


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_hundred_at_once_never_pass_the_cap(tables: tuple[Ledger, Ledger], workers: int) -> None:
    """Of a hundred concurrent intents exactly as many are admitted as the cap pays for."""
    load(tables[0], rows_of(*(f"key-{number}" for number in range(ROWS))))
    cap = 40 * ESTIMATE + ESTIMATE - 1
    runs = [begin(tables[number], f"run-{number}", max_credits=cap) for number in range(workers)]
    claimed = [(run, taken) for run in runs for taken in run.claim(ROWS // workers)]
    assert len(claimed) == ROWS
    see_price(tables[0])
    told: list[Admission] = []
    while claimed:
        intents = [(run, run.intent(taken)) for run, taken in claimed]
        rulings = await asyncio.gather(*(run.ledger.write(record_intents, intent) for run, intent in intents))
        told += [ruling.admission for ruling in rulings if ruling.admission is not Admission.WAIT]
        left = zip(claimed, rulings, strict=True)
        claimed = [row for row, ruling in left if ruling.admission is Admission.WAIT]
        for (run, intent), ruling in zip(intents, rulings, strict=True):
            if ruling.admission is Admission.ADMITTED:
                tell(run.ledger, intent)
    assert told.count(Admission.ADMITTED) == 40
    assert told.count(Admission.OVER_CAP) == 60
    assert committed(tables[0]) == 40 * ESTIMATE
    assert list(states(tables[0]).values()).count("queued") == 40


def see_price(ledger: Ledger, credits_: int = ESTIMATE, **values: object) -> None:
    """The class of all rows here was charged before."""
    asked = {"model": "ltx-2.3", "resolution": "default", "audio": False, "seconds": 2.0}
    seen = {"api": "local", "account": "", "charged": credits_, "seen_at": utc_now(), **asked, **values}
    ledger.change(lambda connection: connection.execute(prices.insert().values(seen)))


def test_a_price_that_was_not_seen_is_found_out_by_one_row(ledger: Ledger) -> None:
    """The others wait for its answer, and are reserved at what it says, also by another worker."""
    worker = capped(ledger, 10)
    probe, *others = worker.claim(3)
    intent = worker.intend(probe)
    other = begin(ledger, "run-2", max_credits=worker.max_credits)
    assert other.admit(other.intent(other.claim(1)[0])) is Admission.WAIT
    assert worker.admit(worker.intent(others[0])) is Admission.WAIT
    tell(ledger, intent, credits_charged=2 * ESTIMATE)
    assert worker.admit(worker.intent(others[0])) is Admission.ADMITTED
    assert committed(ledger) == 4 * ESTIMATE


@pytest.mark.parametrize("ending", [Ending.RETRY, Ending.REJECTED, Ending.IN_DOUBT, Ending.SUBMITTED])
def test_a_probe_without_a_figure_passes_the_role_on(ledger: Ledger, ending: Ending) -> None:
    """One more row finds the price out, and only one."""
    worker = capped(ledger, 10)
    worker.send(worker.claim(1)[0], ending, **({"credits_charged": None} if ending is Ending.SUBMITTED else {}))
    taken = worker.claim(2)
    assert [worker.admit(worker.intent(each)) for each in taken] == ["admitted", "wait"]


def test_a_dead_workers_probe_passes_the_role_on(ledger: Ledger) -> None:
    """No one waits for an answer that can't come any more."""
    worker = capped(ledger, 10)
    worker.intend(worker.claim(1)[0])
    die(worker)
    ledger.recover(LEASE)
    other = begin(ledger, "run-2", max_credits=worker.max_credits)
    assert other.admit(other.intent(other.claim(1)[0])) is Admission.ADMITTED


@pytest.mark.parametrize(("days", "second"), [(29, "admitted"), (31, "wait")])
def test_a_price_counts_as_seen_for_thirty_days(ledger: Ledger, days: int, second: str) -> None:
    """After that, one row looks again."""
    worker = capped(ledger, 10)
    see_price(ledger, seen_at=utc_now() - timedelta(days=days))
    assert [worker.admit(worker.intent(each)) for each in worker.claim(2)] == ["admitted", second]


def test_near_the_cap_rows_go_one_at_a_time(ledger: Ledger) -> None:
    """With less room than twice what is in flight, a price that rises is noticed before it matters."""
    worker = capped(ledger, 5)
    see_price(ledger)
    told = [worker.admit(worker.intent(each)) for each in worker.claim(4)]
    assert told == ["admitted", "admitted", "wait", "wait"]


def test_drift_is_measured_on_settled_figures(ledger: Ledger) -> None:
    """What is charged at first may come down; what a finished video cost does not."""
    worker = capped(ledger, 10)
    intent = worker.send(worker.claim(1)[0], credits_charged=2 * ESTIMATE)
    strict = replace(worker.intent(worker.claim(1)[0]), halts_on_drift=True)
    settle(ledger, intent, ESTIMATE)
    assert worker.admit(strict) is Admission.ADMITTED
    tell(ledger, strict)
    settle(ledger, strict, ESTIMATE + 1)
    dearer = replace(worker.intent(worker.claim(1)[0]), halts_on_drift=True)
    assert worker.admit(dearer) is Admission.DRIFTED


def capped(ledger: Ledger, rows: int, **cap: int) -> Worker:
    """A run with a cap for that many rows, on a batch of ten."""
    load(ledger, rows_of(*"abcdefghij"))
    return begin(ledger, max_credits=rows * ESTIMATE + cap.get("less", 0))


def admissions(worker: Worker, rows: int) -> list[Admission]:
    """What the next rows are told, each after the one before it was answered."""
    told = []
    for taken in worker.claim(rows):
        intent = worker.intent(taken)
        told.append(worker.admit(intent))
        if told[-1] is Admission.ADMITTED:
            tell(worker.ledger, intent)
    return told


def test_an_exact_fit_is_allowed(ledger: Ledger) -> None:
    """The last credit of the cap may be used, and not one more."""
    assert admissions(capped(ledger, 2), 3) == ["admitted", "admitted", "over_cap"]


def test_one_credit_too_few_is_too_few(ledger: Ledger) -> None:
    """A row that costs one credit more than is left is not sent."""
    assert admissions(capped(ledger, 2, less=-1), 2) == ["admitted", "over_cap"]


def test_a_smaller_row_may_still_fit(ledger: Ledger) -> None:
    """Each row is measured by itself, in order."""
    sizes = [40, 70, 60, 1]
    load(ledger, [row(str(number), number, credits_estimated=size) for number, size in enumerate(sizes, 1)])
    worker = begin(ledger, max_credits=100)
    assert admissions(worker, 4) == ["admitted", "over_cap", "admitted", "over_cap"]
    assert committed(ledger) == 100


@pytest.mark.parametrize("ending", [Ending.RETRY, Ending.REJECTED, Ending.HALTED, Ending.WITHDRAWN])
def test_what_was_surely_not_created_frees_its_credits(ledger: Ledger, ending: Ending) -> None:
    """A refused row makes room for another one."""
    worker = capped(ledger, 1)
    worker.send(worker.claim(1)[0], ending)
    assert admissions(worker, 2) == ["admitted", "over_cap"]


def test_a_row_in_doubt_keeps_its_credits(ledger: Ledger) -> None:
    """As long as a row may have been charged, its credits are not given to another."""
    worker = capped(ledger, 1)
    worker.send(worker.claim(1)[0], Ending.IN_DOUBT)
    assert admissions(worker, 1) == ["over_cap"]


def test_a_dead_workers_requests_keep_their_credits(ledger: Ledger) -> None:
    """The rows that a killed worker had under way count until someone knows better."""
    worker = capped(ledger, 2)
    intent = worker.intend(worker.claim(1)[0])
    die(worker)
    ledger.recover(LEASE)
    other = begin(ledger, "run-2", max_credits=2 * ESTIMATE)
    assert admissions(other, 2) == ["admitted", "over_cap"]
    tell(ledger, intent, Ending.REJECTED)
    assert admissions(other, 1) == ["admitted"]


@pytest.mark.parametrize("said", [0, 1, None])
def test_an_answer_below_the_estimate_makes_no_room_until_it_is_settled(ledger: Ledger, said: int | None) -> None:
    """What a create says at first may be less than the video costs in the end."""
    worker = capped(ledger, 2)
    settled = worker.send(worker.claim(1)[0], credits_charged=said)
    worker.send(worker.claim(1)[0], credits_charged=ESTIMATE)
    assert admissions(worker, 1) == ["over_cap"]
    settle(ledger, settled, 0)
    assert committed(ledger) == ESTIMATE
    assert admissions(worker, 1) == ["admitted"]


def test_a_higher_charge_takes_room(ledger: Ledger) -> None:
    """The cap follows what was charged in truth."""
    worker = capped(ledger, 3)
    worker.send(worker.claim(1)[0], credits_charged=2 * ESTIMATE + 1)
    assert admissions(worker, 1) == ["over_cap"]


@pytest.mark.parametrize("said", [-1, 10_000_001, 2**40])
def test_a_figure_that_is_not_believed_counts_as_the_estimate(ledger: Ledger, said: int) -> None:
    """Neither a gift nor a mistake of nine digits moves the cap; the attempt keeps what was said."""
    worker = capped(ledger, 2)
    intent = worker.send(worker.claim(1)[0], credits_charged=said)
    assert committed(ledger) == ESTIMATE
    query = select(schema.attempts.c.credits_charged, schema.attempts.c.odd_figure).where(
        schema.attempts.c.token == intent.token
    )
    charged, odd = ledger.read(lambda connection: connection.execute(query).one())
    assert charged is None
    assert odd.startswith(str(said))


def test_a_doubt_of_unknown_rate_makes_the_worst_case_unknown(ledger: Ledger) -> None:
    """No cap can be held on top of it, until a rate says what it counts as."""
    load(ledger, [row("a", 1, credits_estimated=None), row("b", 2)])
    worker = begin(ledger)
    worker.send(worker.claim(1)[0], Ending.IN_DOUBT)
    assert credits_of(ledger).unknown == 1
    capped_run = begin(ledger, "run-2", max_credits=1000)
    assert admissions(capped_run, 1) == ["unknown_cost"]
    assert ledger.change(lambda connection: accounting.rate(connection, SPRING, lambda _: None)) == 0
    assert ledger.change(lambda connection: accounting.rate(connection, SPRING, lambda _: 960)) == 1
    assert credits_of(ledger) == ledger.read(lambda connection: queries.added_up(connection, SPRING))
    assert (credits_of(ledger).unknown, credits_of(ledger).in_doubt) == (0, 960)
    assert capped_run.admit(capped_run.intent(claimed_again(capped_run))) == "over_cap"


def credits_of(ledger: Ledger) -> Credits:
    """The batch's money, by the running sums."""
    return ledger.read(lambda connection: queries.credits_of(connection, SPRING))


def claimed_again(worker: Worker) -> ClaimedRow:
    """The row that the worker was refused."""
    worker.ledger.change(lambda connection: claims.release_all(connection, [worker.run_id]))
    return replace(worker, run_id=begin(worker.ledger, "run-3").run_id).claim(1)[0]


def settle(ledger: Ledger, intent: Intent, final: int) -> None:
    """The video is finished, and has its final figure."""
    said = answer(intent)
    assert said.video_id is not None
    video = Rendered(SPRING, said.row_key, said.video_id, said.token, RowState.QUEUED)
    ended = Final(row=video, state=RowState.COMPLETE, at=utc_now(), credits_final=final)
    assert ledger.change(lambda connection: settlements.record_finals(connection, [ended])) != [None]


def test_a_batch_that_is_over_a_new_cap_sends_nothing(ledger: Ledger) -> None:
    """What earlier runs spent counts against the cap of this one."""
    worker = capped(ledger, 5)
    for taken in worker.claim(3):
        worker.send(taken)
    assert admissions(begin(ledger, "run-2", max_credits=2 * ESTIMATE), 1) == ["over_cap"]


def test_a_row_of_unknown_cost_is_not_sent_under_a_cap(ledger: Ledger) -> None:
    """No one can promise a cap for a row whose rate is unknown."""
    load(ledger, [row("a", 1, credits_estimated=None), row("b", 2)])
    worker = begin(ledger, max_credits=1000)
    assert admissions(worker, 2) == ["unknown_rate", "admitted"]
    assert states(ledger)["a"] == "claimed"


def test_a_row_of_unknown_cost_is_counted_once_it_is_charged(ledger: Ledger) -> None:
    """Sent without a cap, it counts with its charge against the caps of later runs."""
    load(ledger, [row("a", 1, credits_estimated=None), row("b", 2)])
    worker = begin(ledger)
    worker.send(worker.claim(1)[0], credits_charged=30)
    assert committed(ledger) == 30
    assert admissions(begin(ledger, "run-2", max_credits=30 + ESTIMATE - 1), 1) == ["over_cap"]


def test_a_cap_without_anything_to_count_against_admits_nothing(ledger: Ledger) -> None:
    """Where the batch has no entry, a capped run fails rather than counts from zero each time."""
    worker = capped(ledger, 1)
    ledger.change(lambda connection: connection.execute(delete(batches)))
    with pytest.raises(LedgerError, match="no entry"):
        worker.admit(worker.intent(worker.claim(1)[0]))
    assert states(ledger)["a"] == "claimed"


def test_intents_of_two_batches_in_one_group_are_counted_apart(ledger: Ledger) -> None:
    """Interleaved rows of two batches are held to the cap of their own batch."""
    load(ledger, rows_of("a", "b", "c"))
    load(ledger, rows_of("a", "b", "c"), batch="autumn")
    see_price(ledger)
    spring = begin(ledger, "run-1", max_credits=4 * ESTIMATE)
    autumn = begin(ledger, "run-2", max_credits=ESTIMATE, batch="autumn")
    pairs = zip(spring.claim(), autumn.claim(), strict=True)
    intents = [intent for one, other in pairs for intent in (spring.intent(one), autumn.intent(other))]
    rulings = ledger.change(lambda connection: record_intents(connection, intents))
    told = [ruling.admission for ruling in rulings]
    assert told == ["admitted", "admitted", "admitted", "over_cap", "wait", "over_cap"]
    assert committed(ledger) == 2 * ESTIMATE
    assert committed(ledger, "autumn") == ESTIMATE
