"""The results table while videos are followed: what is due, what is final, and where the credits go."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from reelbatch.domain import Batch, Request, Row, RowKey, RowState, RunId, Token, VideoId
from reelbatch.ledger import Ledger, attempts, claims, due, queries, runs, schema, settlements, utc_now
from reelbatch.ledger.accounts import Payer
from reelbatch.ledger.admission import Intent
from reelbatch.ledger.attempts import Answer, Ending
from reelbatch.ledger.due import Postponement, Rendered, TakeDue
from reelbatch.ledger.intents import record_intents
from reelbatch.ledger.schema import generations
from reelbatch.ledger.settlements import Filed, Final, FinishedPage

SPRING = Batch("spring")
RUN = RunId("run-1")
ESTIMATE = 240


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A results table of its own."""
    with Ledger(f"sqlite:///{tmp_path / 'results.db'}") as opened:
        yield opened


def submit(
    ledger: Ledger,
    *keys: str,
    batch: Batch = SPRING,
    money: tuple[int | None, int | None] = (ESTIMATE, ESTIMATE),
    seconds: float = 5.0,
    api: str = "local",
) -> list[Rendered]:
    """Rows that have been sent and answered: state `queued`, video ids by `video_of`, due now.

    `money`: estimated, charged.
    """
    estimated, charged = money
    request = Request("chair.png", "Slow pan", seconds)
    rows = [Row(RowKey(key), n, request, request.fingerprint(), estimated) for n, key in enumerate(keys, start=1)]
    with ledger.staged([rows]) as manifest:
        manifest.merge(batch)
    ledger.change(lambda connection: runs.open_batch(connection, batch, Payer(api), "."))
    return send(ledger, batch=batch, charged=charged)


def send(
    ledger: Ledger, *, batch: Batch = SPRING, charged: int | None = ESTIMATE, mark: str = "vid"
) -> list[Rendered]:
    """All pending rows of a batch, from claim to answer; `mark` begins their videos' ids."""
    run_id = RunId(f"{RUN}-{mark}")
    everything = claims.Claim(claims.Scope(batch, run_id), (1, 10**6), 10**6)
    (claimed,) = ledger.change(lambda connection: claims.claim(connection, [everything]))
    sent = [
        Rendered(batch, row.row_key, video_of(row.row_key, batch, mark), Token(f"rb_{mark}-{batch}-{row.row_key}"),
                 RowState.QUEUED)
        for row in claimed
    ]  # fmt: skip
    intents = [Intent(row, run_id, video.token, utc_now(), None) for row, video in zip(claimed, sent, strict=True)]
    ledger.change(lambda connection: record_intents(connection, intents))
    answers = [
        Answer(batch, row.row_key, run_id, video.token, utc_now(), Ending.SUBMITTED, row.credits_estimated or 0,
               video_id=video.video_id, credits_charged=charged)
        for row, video in zip(claimed, sent, strict=True)
    ]  # fmt: skip
    ledger.change(lambda connection: attempts.record_answers(connection, answers))
    return sent


def video_of(key: str, batch: Batch = SPRING, mark: str = "vid") -> VideoId:
    """The id of a row's video."""
    return VideoId("-".join((mark, batch, "".join(c if c.isascii() and c.isalnum() else f"{ord(c):x}" for c in key))))


def row_of(ledger: Ledger, key: str, batch: Batch = SPRING) -> dict[str, Any]:
    """One row, all its columns."""
    query = select(generations).where(generations.c.batch == batch, generations.c.row_key == key)
    return dict(ledger.read(lambda connection: connection.execute(query).mappings().one()))


def attempt_of(ledger: Ledger, row: Rendered) -> dict[str, Any]:
    """The attempt that made a video."""
    query = select(schema.attempts).where(schema.attempts.c.token == row.token)
    return dict(ledger.read(lambda connection: connection.execute(query).mappings().one()))


def committed(ledger: Ledger, batch: Batch = SPRING) -> int:
    """The running worst case, the sums beside it checked against what the attempts add up to."""
    credits_ = ledger.read(lambda connection: queries.credits_of(connection, batch))
    assert credits_ == ledger.read(lambda connection: queries.added_up(connection, batch))
    return ledger.read(lambda connection: queries.worst_case(connection, batch))


def settle(ledger: Ledger, *items: Final) -> list[Any]:
    """Record final answers."""
    return ledger.change(lambda connection: settlements.record_finals(connection, items))


def complete(row: Rendered, credits_: int | None = ESTIMATE) -> Final:
    """A final answer of a video that was made."""
    return Final(
        row=row, state=RowState.COMPLETE, at=utc_now(), credits_final=credits_, fps=24.0, width=854, height=480
    )


def failed(row: Rendered, credits_: int | None = 0) -> Final:
    """A final answer of a video that failed."""
    return Final(
        row=row, state=RowState.ERROR, at=utc_now(), credits_final=credits_, code="no_source_face", message="No face"
    )


def take(ledger: Ledger, limit: int = 100, later_s: float = 60.0) -> list[Rendered]:
    """What is due now."""
    now = utc_now()
    item = TakeDue((SPRING,), now, limit, now + timedelta(seconds=later_s), now + timedelta(seconds=2 * later_s))
    (taken,) = ledger.change(lambda connection: due.take_due(connection, [item]))
    return taken.rows


def plan_of(ledger: Ledger, query: Any) -> str:
    """How SQLite would answer `query`."""
    with ledger.connection() as connection:
        compiled = query.compile(connection, compile_kwargs={"literal_binds": True})
        return "\n".join(str(step[3]) for step in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}"))


def test_due_rows_are_found_without_looking_at_finished_ones(ledger: Ledger) -> None:
    """A settle over a million finished rows costs nothing: the partial index answers, in order."""
    plan = plan_of(ledger, due.due(SPRING, utc_now(), 10))
    assert "SEARCH generations USING INDEX results_due" in plan
    assert "SCAN" not in plan
    assert "TEMP B-TREE" not in plan


def test_a_time_that_a_clock_ahead_wrote_is_not_waited_for(ledger: Ledger) -> None:
    """Eight hours ahead is due now; a minute ahead, which a backoff may be, is not."""
    submit(ledger, "a", "b")
    now = utc_now()
    for key, ahead in (("a", timedelta(hours=8)), ("b", timedelta(seconds=50))):
        late = generations.update().where(generations.c.row_key == key).values(due_at=now + ahead)
        ledger.change(lambda connection, late=late: connection.execute(late))
    later = now + timedelta(seconds=5)
    item = TakeDue((SPRING,), now, 10, later, later, now + timedelta(seconds=60))
    taken = [ledger.change(lambda connection: due.take_due(connection, [item]))[0] for _ in range(2)]
    assert [[row.row_key for row in each.rows] for each in taken] == [["a"], []]


def test_times_too_far_ahead_are_looked_up_in_the_index(ledger: Ledger) -> None:
    """Each page asks for them, so it must cost nothing where there are none."""
    plan = plan_of(ledger, due.too_late(SPRING, utc_now()).values(due_at=None))
    assert "USING INDEX results_due (batch=? AND due_at>?)" in plan


def test_rows_without_a_file_are_paged_along_the_primary_key(ledger: Ledger) -> None:
    """Looking for videos to download reads the table once, however many pages it takes."""
    for after in (None, (RowKey("k"), 1)):
        plan = plan_of(ledger, FinishedPage(SPRING, utc_now(), after, 10).query())
        assert "(batch=? AND row_key>?" in plan
        assert "TEMP B-TREE" not in plan


def test_a_due_row_is_given_out_once(ledger: Ledger) -> None:
    """A second settle that asks at the same time gets other rows."""
    submit(ledger, "a", "b", "c")
    first, second = take(ledger, limit=2), take(ledger)
    assert len(first) == 2
    assert len(second) == 1
    assert not {row.id for row in first} & {row.id for row in second}
    assert take(ledger) == []


def test_the_oldest_is_looked_at_first(ledger: Ledger) -> None:
    """A row that waits longest is never overtaken."""
    rows = submit(ledger, "a", "b", "c")
    for age, row in enumerate(rows):
        past = utc_now() - timedelta(minutes=1 + age)
        ledger.change(lambda connection, row=row, past=past: due.postpone(connection, [Postponement(row, past)]))
    assert [row.row_key for row in take(ledger, limit=1)] == ["c"]


def test_long_videos_are_looked_at_half_as_often(ledger: Ledger) -> None:
    """Above 30 seconds of video the interval is twice as long."""
    submit(ledger, "short", seconds=30)
    submit(ledger, "short", "long", seconds=31)  # `short` is known: it keeps its 30 seconds
    take(ledger)
    wait = row_of(ledger, "long")["due_at"] - row_of(ledger, "short")["due_at"]
    assert wait == timedelta(seconds=60)


def test_a_row_without_a_time_gets_one(ledger: Ledger) -> None:
    """No unsettled row is forgotten because it has no due time."""
    submit(ledger, "a")
    ledger.change(lambda connection: connection.execute(update(generations).values(due_at=None)))
    assert take(ledger) == []
    ledger.change(lambda connection: due.schedule(connection, [(SPRING, utc_now())]))
    assert len(take(ledger)) == 1


def test_a_final_answer_reaches_row_attempt_and_cap(ledger: Ledger) -> None:
    """The settled figure is on the row and its attempt, and the cap sees the difference."""
    (row,) = submit(ledger, "a")
    (settlement,) = settle(ledger, complete(row, 192))
    assert (settlement.estimated, settlement.charged, settlement.final) == (ESTIMATE, ESTIMATE, 192)
    found = row_of(ledger, "a")
    assert (found["state"], found["credits_final"], found["fps"], found["width"]) == ("complete", 192, 24.0, 854)
    assert found["settled_at"] is not None
    assert attempt_of(ledger, row)["credits_final"] == 192
    assert committed(ledger) == 192


def test_a_refund_frees_the_cap(ledger: Ledger) -> None:
    """A failed render counts for what the API says it costs then: nothing."""
    (row,) = submit(ledger, "a")
    settle(ledger, failed(row))
    found = row_of(ledger, "a")
    assert (found["state"], found["credits_charged"], found["credits_final"]) == ("error", ESTIMATE, 0)
    assert (found["error_code"], found["error_message"]) == ("no_source_face", "No face")
    assert committed(ledger) == 0


def test_a_second_final_answer_changes_nothing(ledger: Ledger) -> None:
    """An event that comes twice, or from two settles, is counted once and never turned around."""
    (row,) = submit(ledger, "a")
    settle(ledger, complete(row, 192))
    before = row_of(ledger, "a")
    assert settle(ledger, complete(row, 192), failed(row), complete(row, 7)) == [None, None, None]
    assert row_of(ledger, "a") == before
    assert committed(ledger) == 192


def test_a_refund_is_taken_once_and_never_turned_around(ledger: Ledger) -> None:
    """Only a lower figure of a video that failed is one; an older answer that comes late is not."""
    (row,) = submit(ledger, "a")
    settle(ledger, failed(row, ESTIMATE))
    for late in (failed(row, ESTIMATE + 1), complete(row, 7), failed(row, None)):
        assert settle(ledger, late) == [None]
        assert (row_of(ledger, "a")["credits_final"], committed(ledger)) == (ESTIMATE, ESTIMATE)
    settle(ledger, failed(row, 0), failed(row, ESTIMATE))
    assert (row_of(ledger, "a")["credits_final"], committed(ledger)) == (0, 0)
    money = ledger.read(lambda connection: queries.credits_of(connection, SPRING))
    assert (money.charged, money.refunded) == (ESTIMATE, ESTIMATE)


def test_a_row_shows_the_figure_of_its_attempt(ledger: Ledger) -> None:
    """The row accepted a video that was settled before: an older figure that comes now is neither's."""
    (row,) = submit(ledger, "a")
    settle(ledger, failed(row, 0))
    again = update(generations).values(state=RowState.QUEUED, credits_final=None)
    ledger.change(lambda connection: connection.execute(again))
    (settlement,) = settle(ledger, failed(row, 60))
    assert (settlement.final, row_of(ledger, "a")["credits_final"]) == (0, 0)
    assert committed(ledger) == 0


def test_unrefunded_videos_are_found_without_looking_at_others(ledger: Ledger) -> None:
    """The partial index answers, in order."""
    a = schema.attempts.c
    plan = plan_of(ledger, select(a.token).where(a.batch == SPRING, a.refund_due_at <= utc_now()).limit(10))
    assert "USING INDEX attempts_refund" in plan or "USING COVERING INDEX attempts_refund" in plan


def test_one_group_of_answers_settles_each_row_once(ledger: Ledger) -> None:
    """The first answer for a row counts; one for a video that the row no longer has, or for no row, does nothing."""
    cup, jug = submit(ledger, "cup", "jug")
    other, nowhere = cup._replace(video_id=VideoId("vid-other")), cup._replace(row_key=RowKey("lid"), token=None)
    finals = [
        Final(row=row, state=state, at=utc_now(), credits_final=ESTIMATE)
        for row, state in (
            (jug, RowState.COMPLETE),
            (other, RowState.COMPLETE),
            (cup, RowState.ERROR),
            (cup, RowState.COMPLETE),
            (nowhere, RowState.COMPLETE),
        )
    ]
    answers = ledger.change(lambda connection: settlements.record_finals(connection, finals))
    assert [answer is not None for answer in answers] == [True, False, True, False, False]
    assert [row_of(ledger, key)["state"] for key in ("cup", "jug")] == [RowState.ERROR, RowState.COMPLETE]
    pot = submit(ledger, "pot")
    begun = ledger.change(lambda connection: settlements.record_rendering(connection, [*pot, jug] * 2))
    assert begun == [True, False, False, False]


def test_a_late_rendering_undoes_nothing(ledger: Ledger) -> None:
    """Answers may arrive out of order; a finished video stays finished."""
    (row,) = submit(ledger, "a")
    settle(ledger, failed(row))
    assert ledger.change(lambda connection: settlements.record_rendering(connection, [row])) == [False]
    ledger.change(lambda connection: due.postpone(connection, [Postponement(row, utc_now(), "http_404", "no")]))
    found = row_of(ledger, "a")
    assert (found["state"], found["error_code"]) == ("error", "no_source_face")


def test_a_video_without_a_figure_costs_what_was_charged(ledger: Ledger) -> None:
    """Where the API names no final figure, a complete video keeps its charge."""
    (row,) = submit(ledger, "a", money=(ESTIMATE, None))
    (settlement,) = settle(ledger, complete(row, None))
    assert (settlement.charged, settlement.final) == (ESTIMATE, ESTIMATE)
    assert committed(ledger) == ESTIMATE


def test_no_one_guesses_a_refund(ledger: Ledger) -> None:
    """A failed video without a figure stays unknown, and the worst case keeps its charge."""
    (row,) = submit(ledger, "a")
    settle(ledger, failed(row, None))
    assert row_of(ledger, "a")["credits_final"] is None
    assert attempt_of(ledger, row)["credits_final"] is None
    assert committed(ledger) == ESTIMATE


def test_a_cost_that_no_one_named_is_unknown(ledger: Ledger) -> None:
    """No charge, no estimate, no final figure: null, not zero."""
    (row,) = submit(ledger, "a", money=(None, None))
    settle(ledger, complete(row, None))
    assert row_of(ledger, "a")["credits_final"] is None


def test_the_money_of_an_earlier_video_follows_its_attempt(ledger: Ledger) -> None:
    """A row that has another video by now is left alone; what the first one cost is written down all the same."""
    (old,) = submit(ledger, "a")
    cleared = update(generations).values(state=RowState.PENDING, video_id=None, token=None, run_id=None)
    ledger.change(lambda connection: connection.execute(cleared))
    (new,) = send(ledger, mark="again")
    before = row_of(ledger, "a")
    assert settle(ledger, failed(old)) == [None]
    assert row_of(ledger, "a") == before
    assert attempt_of(ledger, old)["credits_final"] == 0
    assert committed(ledger) == ESTIMATE
    settle(ledger, complete(new))
    assert committed(ledger) == ESTIMATE


def test_the_running_worst_case_is_the_sum_of_the_attempts(ledger: Ledger) -> None:
    """After any mix of ends the cap's figure and the books are the same."""
    rows = submit(ledger, *(f"r{n}" for n in range(12)))
    settle(ledger, *(complete(row, 150 + n) for n, row in enumerate(rows[:5])))
    settle(ledger, *(failed(row) for row in rows[3:8]), failed(rows[8], None))
    money = ledger.read(lambda connection: queries.credits_of(connection, SPRING))
    assert money.worst_case == committed(ledger)
    assert money.charged == 12 * ESTIMATE
    assert money.final == sum(150 + n for n in range(5))


def test_a_row_has_one_file(ledger: Ledger) -> None:
    """The first path is kept; a second file for the same video is one too many."""
    (row,) = submit(ledger, "a")
    settle(ledger, complete(row))

    def record(path: str) -> list[bool]:
        return ledger.change(lambda connection: settlements.record_files(connection, [Filed(row, path)]))

    assert record("/v/a.mp4") == [True]
    assert record("/v/other.mp4") == [False]
    assert record("/v/a.mp4") == [True]
    assert row_of(ledger, "a")["video_path"] == "/v/a.mp4"


def test_a_new_video_has_no_file_yet(ledger: Ledger) -> None:
    """A path that an earlier video left behind does not keep the new one from being downloaded."""
    (row,) = submit(ledger, "a")
    ledger.change(lambda connection: connection.execute(update(generations).values(video_path="old.mp4")))
    settle(ledger, complete(row))
    assert row_of(ledger, "a")["video_path"] is None


def test_the_next_due_time_leaves_out_rows_given_up(ledger: Ledger) -> None:
    """Rows that a run no longer waits for do not keep it waiting."""
    rows = submit(ledger, "a", "b")
    given_up = {rows[0].id}
    assert ledger.read(lambda connection: due.next_due(connection, [SPRING], given_up, utc_now())) is not None
    given_up.add(rows[1].id)
    assert ledger.read(lambda connection: due.next_due(connection, [SPRING], given_up, utc_now())) is None
