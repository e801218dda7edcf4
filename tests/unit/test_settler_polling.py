"""Polling: every video to its end, whatever the API answers on the way."""

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select, text, update
from test_settler_table import ESTIMATE, SPRING, attempt_of, committed, complete, row_of, send, settle, submit

from reelbatch.client import Client, ClientOptions
from reelbatch.domain import Batch, RowKey
from reelbatch.domain.money import figure
from reelbatch.errors import LedgerError
from reelbatch.ledger import Ledger, accounts, due, utc_now
from reelbatch.ledger.queries import OddFigure
from reelbatch.ledger.schema import attempts, generations
from reelbatch.ledger.transactions import write
from reelbatch.pipeline.status import batch_status
from reelbatch.retry import SharedBackoff
from reelbatch.settle import SettleOptions, Settler, SettleReason

POLL_S = 0.01
TOMORROW = utc_now() + timedelta(days=1)
QUEUED: dict[str, Any] = {"status": "queued", "credits_charged": ESTIMATE}
RENDERING: dict[str, Any] = {"status": "rendering", "credits_charged": ESTIMATE}
COMPLETE: dict[str, Any] = {"status": "complete", "credits_charged": 192, "fps": 24, "width": 854, "height": 480}
FAILED: dict[str, Any] = {
    "status": "error",
    "credits_charged": 0,
    "error": {"code": "no_source_face", "message": "No face"},
}
CANCELED: dict[str, Any] = {"status": "canceled", "credits_charged": 0}
Reply = dict[str, Any] | int | Exception


class FakeApi:
    """Answers GETs of videos from a script for each video; the last entry is said for ever after."""

    def __init__(self, *script: Reply) -> None:
        self.scripts: dict[str, list[Reply]] = {}
        self.default = list(script)
        self.asked: list[str] = []
        self.in_flight = self.most_in_flight = 0
        self.on_ask: Callable[[str], None] = lambda _: None
        self.hold: asyncio.Event | None = None  # where there is one, answers wait for it
        self.held = asyncio.Semaphore(0)  # one more for each question that waits

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        """One GET."""
        video_id = request.url.path.rpartition("/")[2]
        self.asked.append(video_id)
        self.on_ask(video_id)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        self.held.release()
        await (self.hold.wait() if self.hold else asyncio.sleep(0))
        self.in_flight -= 1
        return self.reply(video_id)

    def reply(self, video_id: str) -> httpx.Response:
        """The next entry of the video's script."""
        script = self.scripts.setdefault(video_id, list(self.default))
        reply = script.pop(0) if len(script) > 1 else script[0]
        if isinstance(reply, Exception):
            raise reply
        if isinstance(reply, int):
            return httpx.Response(reply, json={"message": f"said {reply}"})
        return httpx.Response(200, content=json.dumps({"id": video_id, **reply}))


@asynccontextmanager
async def client_of(handler: Any) -> AsyncIterator[Client]:
    """A client that talks to a handler."""
    async with Client("key", ClientOptions(transport=httpx.MockTransport(handler))) as client:
        yield client


def plan(**stated: Any) -> SettleOptions:
    """A plan with a short interval."""
    return SettleOptions(**{"batch": SPRING, "poll_interval_s": POLL_S, **stated})


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A results table of its own."""
    with Ledger(f"sqlite:///{tmp_path / 'results.db'}") as opened:
        yield opened


async def test_a_video_is_followed_from_queued_to_complete(ledger: Ledger) -> None:
    """The row takes every step with its video and ends with the real figures."""
    submit(ledger, "a")
    states: list[str] = []
    api = FakeApi(QUEUED, RENDERING, RENDERING, COMPLETE)
    api.on_ask = lambda _: states.append(row_of(ledger, "a")["state"])
    async with client_of(api) as client:
        stats = await Settler(ledger, client, plan()).run()
    assert states == ["queued", "queued", "rendering", "rendering"]
    assert (stats.reason, stats.polled, stats.complete, stats.unsettled) == (SettleReason.DONE, 4, 1, 0)
    assert (stats.credits_estimated, stats.credits_charged, stats.credits_final) == (ESTIMATE, ESTIMATE, 192)
    assert stats.credits_refunded == ESTIMATE - 192
    assert committed(ledger) == 192


@pytest.mark.usefixtures("nothing_frozen")
async def test_the_collector_leaves_old_objects_alone_meanwhile(ledger: Ledger) -> None:
    """A look through everything that was loaded before would hold all questions up."""
    submit(ledger, "a")
    frozen: list[int] = []
    api = FakeApi(COMPLETE)
    api.on_ask = lambda _: frozen.append(gc.get_freeze_count())
    async with client_of(api) as client:
        await Settler(ledger, client, plan()).run()
    assert frozen[0] > 10_000
    assert gc.get_freeze_count() == 0


@pytest.mark.parametrize(("answer", "state"), [(FAILED, "error"), (CANCELED, "canceled")])
async def test_a_refunded_video_is_final(ledger: Ledger, answer: dict[str, Any], state: str) -> None:
    """Failed and canceled videos end the waiting and give their credits back."""
    submit(ledger, "a")
    async with client_of(FakeApi(answer)) as client:
        stats = await Settler(ledger, client, plan()).run()
    row = row_of(ledger, "a")
    assert (row["state"], row["credits_final"], committed(ledger)) == (state, 0, 0)
    assert row["error_code"] == {"error": "no_source_face", "canceled": "canceled"}[state]
    assert stats.credits_refunded == ESTIMATE
    assert getattr(stats, state) == 1


async def test_a_bad_key_stops_everything_at_once(ledger: Ledger) -> None:
    """One 401 and no further video is asked about; the rows stay as they are."""
    submit(ledger, *(f"r{n}" for n in range(40)))
    api = FakeApi(401)
    async with client_of(api) as client:
        stats = await Settler(ledger, client, plan(concurrency=4)).run()
    assert (stats.reason, stats.unsettled) == (SettleReason.BAD_KEY, 40)
    assert len(api.asked) <= 4
    assert row_of(ledger, "r0")["state"] == "queued"
    assert row_of(ledger, "r0")["error_code"] is None


async def test_a_video_that_the_api_does_not_know_is_given_up_for_this_run(ledger: Ledger) -> None:
    """Three times 404: the others are finished, the row keeps its state and says why, and the run ends."""
    submit(ledger, "known", "lost")
    api = FakeApi(COMPLETE)
    api.scripts["vid-spring-lost"] = [404]
    async with client_of(api) as client:
        stats = await Settler(ledger, client, plan()).run()
    assert (stats.reason, stats.complete, stats.unsettled) == (SettleReason.DONE, 1, 1)
    assert api.asked.count("vid-spring-lost") == 3
    lost = row_of(ledger, "lost")
    assert (lost["state"], lost["error_code"]) == ("queued", "http_404")
    assert "said 404" in lost["error_message"]
    assert stats.refused == {"lost": lost["error_message"]}


async def test_an_answer_about_another_video_settles_nothing(ledger: Ledger) -> None:
    """Its figures are another's: the row keeps its state, says why, and is not waited for in this run."""
    submit(ledger, "known", "mixed")
    api = FakeApi(COMPLETE)
    api.scripts["vid-spring-mixed"] = [COMPLETE | {"id": "vid-spring-known", "credits_charged": 999}]
    async with client_of(api) as client:
        stats = await Settler(ledger, client, plan()).run()
    assert (stats.reason, stats.complete, stats.unsettled) == (SettleReason.DONE, 1, 1)
    assert api.asked.count("vid-spring-mixed") == 3
    mixed = row_of(ledger, "mixed")
    assert (mixed["state"], mixed["error_code"], mixed["credits_final"]) == ("queued", "other_video", None)
    assert "answered about video vid-spring-known" in mixed["error_message"]


EXPIRED: dict[str, Any] = {"status": "Expired", "credits_charged": ESTIMATE}
DELETED: dict[str, Any] = {"status": "rendering", "enabled": False}


@pytest.mark.parametrize(
    ("reply", "code", "message"),
    [
        (EXPIRED, "expired", 'says "expired"'),
        ({"status": "\x00" + "x" * 5000}, "x" * 100, "no state that Reelbatch knows"),
        (DELETED, "deleted", "enabled: false"),
        ({"status": None}, "unreadable", "lacks its id or status"),
        ({}, "unreadable", "lacks its id or status"),
    ],
    ids=["unknown", "endless", "deleted", "no state", "no answer"],
)
async def test_a_state_that_is_not_known_is_waited_for_no_longer_than_said(
    ledger: Ledger, reply: dict[str, Any], code: str, message: str
) -> None:
    """The others are finished; the row keeps its state, says why, holds no render window, and the run ends."""
    submit(ledger, "known", "odd")
    api = FakeApi(COMPLETE)
    api.scripts["vid-spring-odd"] = [RENDERING, reply]
    async with client_of(api) as client:
        stats = await Settler(ledger, client, plan(unknown_state_holds_s=0.2)).run()
    assert (stats.reason, stats.complete, stats.unsettled) == (SettleReason.DONE, 1, 1)
    odd = row_of(ledger, "odd")
    assert (odd["state"], odd["error_code"], odd["credits_final"]) == ("rendering", code, None)
    assert message in odd["error_message"]
    assert ledger.read(lambda connection: accounts.unfinished(connection, accounts.Payer("local"))) == 0


async def test_a_state_that_is_not_known_is_waited_for_at_first(ledger: Ledger) -> None:
    """Until then it holds its render window; what it was called is forgotten once the API says how it stands."""
    submit(ledger, "odd", "later")
    api = FakeApi(COMPLETE)
    api.scripts = {"vid-spring-odd": [EXPIRED], "vid-spring-later": [EXPIRED, RENDERING, EXPIRED, QUEUED]}
    async with client_of(api) as client:
        stats = await Settler(ledger, client, plan(timeout_s=0.5)).run()
    assert (stats.reason, stats.unsettled) == (SettleReason.TIMED_OUT, 2)
    assert ledger.read(lambda connection: accounts.unfinished(connection, accounts.Payer("local"))) == 2
    later = row_of(ledger, "later")
    assert (later["state"], later["error_code"], later["error_message"]) == ("rendering", None, None)
    assert later["waited_until"] is None


async def test_a_row_that_no_one_waits_for_is_looked_at_by_each_settle(ledger: Ledger) -> None:
    """Once, at its start, however rarely it is looked at by now; an end that it has come to counts."""
    submit(ledger, "odd")
    api, soon = FakeApi(EXPIRED), utc_now() + timedelta(minutes=50)
    async with client_of(api) as client:
        await Settler(ledger, client, plan(unknown_state_holds_s=0)).run()
        ledger.change(lambda connection: connection.execute(update(generations).values(due_at=soon)))
        assert (await Settler(ledger, client, plan(wait=False)).run()).polled == 0
        assert (await Settler(ledger, client, plan()).run()).polled == 1
        api.scripts = {"vid-spring-odd": [COMPLETE]}
        assert (await Settler(ledger, client, plan()).run()).complete == 1
    assert (row_of(ledger, "odd")["error_code"], row_of(ledger, "odd")["waited_until"]) == (None, None)


def test_the_longer_it_lasts_the_rarer_are_the_looks() -> None:
    """No one asks every five seconds for days; nor less than every hour."""
    now = utc_now()
    ages, shortest = (0, 60, 600, 86_400), timedelta(seconds=5)
    waits = [due.rarer(now, now - timedelta(seconds=age), shortest).total_seconds() for age in ages]
    assert waits == [5, 15, 150, 3600]


async def test_a_video_that_the_api_can_say_nothing_of_is_not_waited_for_for_ever(ledger: Ledger) -> None:
    """Errors about one video alone, while those about others are answered, are that video's own."""
    submit(ledger, "known", "broken", "silent")
    api = FakeApi(RENDERING, RENDERING, RENDERING, COMPLETE)
    api.scripts["vid-spring-broken"] = [500]
    api.scripts["vid-spring-silent"] = [httpx.ReadTimeout("slow")]
    async with client_of(api) as client:
        stats = await Settler(ledger, client, plan(unknown_state_holds_s=0.3)).run()
    assert (stats.reason, stats.complete, stats.unsettled) == (SettleReason.DONE, 1, 2)
    assert [row_of(ledger, key)["error_code"] for key in ("broken", "silent")] == ["http_500", "no_answer"]
    assert ledger.read(lambda connection: accounts.unfinished(connection, accounts.Payer("local"))) == 0


UNREFUNDED: dict[str, Any] = {**FAILED, "credits_charged": ESTIMATE}


@pytest.mark.parametrize("first", [UNREFUNDED, {**FAILED, "credits_charged": None}], ids=["charged", "no figure"])
async def test_a_refund_that_comes_later_is_seen(ledger: Ledger, first: dict[str, Any]) -> None:
    """A failed video is looked at again until its credits are back; then no more."""
    (row,) = submit(ledger, "a")
    api = FakeApi(first)
    async with client_of(api) as client:
        await Settler(ledger, client, plan(wait=False)).run()
        assert committed(ledger) == ESTIMATE
        api.scripts = {row.video_id: [FAILED]}
        stats = await Settler(ledger, client, plan()).run()
        again = await Settler(ledger, client, plan()).run()
    assert (stats.refunds, stats.credits_refunded, stats.credits_final, stats.changed) == (1, ESTIMATE, 0, 1)
    assert (row_of(ledger, "a")["state"], row_of(ledger, "a")["credits_final"], committed(ledger)) == ("error", 0, 0)
    assert again.polled == 0


async def test_a_refund_is_looked_for_ever_more_rarely_and_for_a_day(ledger: Ledger) -> None:
    """No settle waits for it; the last look is the first one after a day."""
    (row,) = submit(ledger, "a")
    async with client_of(FakeApi(UNREFUNDED)) as client:
        for age, polled in ((0, 1), (0, 1), (0, 0), (4, 1), (25, 1), (26, 0)):
            _let_pass(ledger, timedelta(hours=age))
            stats = await Settler(ledger, client, plan(wait=False)).run()
            assert (stats.polled, stats.reason, stats.refunds) == (polled, SettleReason.DONE, 0)
    assert row_of(ledger, "a")["credits_final"] == ESTIMATE == committed(ledger)
    assert attempt_of(ledger, row)["refund_due_at"] is None


@pytest.mark.parametrize(
    ("last", "polled"), [(503, 1), (404, 0), (FAILED, 0)], ids=["no answer", "refused", "answer"]
)
async def test_the_last_look_for_a_refund_needs_an_answer(ledger: Ledger, last: Reply, polled: int) -> None:
    """A server that is away on the second day costs no refund: the look is repeated until something is heard."""
    (row,) = submit(ledger, "a")
    async with client_of(FakeApi(UNREFUNDED)) as client:
        await Settler(ledger, client, plan(wait=False)).run()
    _let_pass(ledger, timedelta(hours=25))
    async with client_of(FakeApi(last)) as client:
        await Settler(ledger, client, plan(wait=False)).run()
    _let_pass(ledger, timedelta(hours=2))
    async with client_of(FakeApi(FAILED)) as client:
        stats = await Settler(ledger, client, plan(wait=False)).run()
    assert (stats.polled, stats.refunds) == (polled, polled)
    assert attempt_of(ledger, row)["refund_due_at"] is None
    assert committed(ledger) == (ESTIMATE if last == 404 else 0)


def _let_pass(ledger: Ledger, time: timedelta) -> None:
    """As if so much time had passed for attempts that failed."""
    a = attempts.c
    for each in ledger.read(lambda connection: connection.execute(select(a.refund_until, a.refund_due_at)).all()):
        if None not in each:
            earlier = {"refund_until": each[0] - time, "refund_due_at": each[1] - time}
            ledger.change(lambda connection, values=earlier: connection.execute(update(attempts).values(values)))


async def test_the_refund_of_a_row_that_was_sent_again_is_seen(ledger: Ledger) -> None:
    """It belongs to the attempt: the row's new video keeps its own figures."""
    (old,) = submit(ledger, "a")
    async with client_of(FakeApi(UNREFUNDED)) as client:
        await Settler(ledger, client, plan(wait=False)).run()
    again = update(generations).values(state="pending", video_id=None, token=None, run_id=None, credits_final=None)
    ledger.change(lambda connection: connection.execute(again))
    (new,) = send(ledger, mark="new")
    api = FakeApi(FAILED)
    api.scripts[new.video_id] = [RENDERING]
    async with client_of(api) as client:
        for _ in range(2):
            await Settler(ledger, client, plan(wait=False)).run()
            _let_pass(ledger, timedelta(hours=1))
    assert attempt_of(ledger, old)["credits_final"] == 0
    assert (row_of(ledger, "a")["state"], row_of(ledger, "a")["credits_final"]) == ("rendering", None)
    assert committed(ledger) == ESTIMATE


@pytest.mark.parametrize(("hours", "answer", "goes_on"), [(1, 404, True), (25, 404, False), (25, 503, True)])
async def test_a_video_beside_its_row_that_the_api_does_not_know_is_not_asked_about_for_ever(
    ledger: Ledger, hours: int, answer: int, goes_on: bool
) -> None:
    """Its id may become known at the API for a day; until its final figure is known it counts as it was charged."""
    (row,) = submit(ledger, "a")
    again = update(generations).values(state="pending", video_id=None, token=None, run_id=None)
    came = {"ended_at": utc_now() - timedelta(hours=hours), "refund_due_at": utc_now()}
    for statement in (again, update(attempts).values(came)):
        ledger.change(lambda connection, statement=statement: connection.execute(statement))
    async with client_of(FakeApi(answer)) as client:
        stats = await Settler(ledger, client, plan(wait=False)).run()
    assert stats.polled > 0
    assert (attempt_of(ledger, row)["refund_due_at"] is not None) is goes_on
    assert committed(ledger) == ESTIMATE


async def test_the_refunds_of_two_videos_of_one_row_are_both_seen(ledger: Ledger) -> None:
    """Each in its own look, also where both are the last: the one does not wait for the other, and get none."""
    submit(ledger, "a")
    again = update(generations).values(state="pending", video_id=None, token=None, run_id=None, credits_final=None)
    async with client_of(FakeApi(UNREFUNDED)) as client:
        await Settler(ledger, client, plan(wait=False)).run()
        ledger.change(lambda connection: connection.execute(again))
        send(ledger, mark="new")
        await Settler(ledger, client, plan(wait=False)).run()
    assert committed(ledger) == 2 * ESTIMATE
    _let_pass(ledger, timedelta(hours=25))
    async with client_of(FakeApi(FAILED)) as client:
        await Settler(ledger, client, plan(wait=False)).run()
    assert committed(ledger) == 0


async def test_an_answer_about_another_video_may_pass(ledger: Ledger) -> None:
    """The next answer about the right one settles the row."""
    submit(ledger, "a")
    async with client_of(FakeApi({**COMPLETE, "id": "other"}, COMPLETE)) as client:
        stats = await Settler(ledger, client, plan()).run()
    assert stats.complete == 1
    assert row_of(ledger, "a")["error_code"] is None


async def test_a_video_that_turns_up_again_is_settled(ledger: Ledger) -> None:
    """A 404 that passes leaves no trace in the end."""
    submit(ledger, "a")
    async with client_of(FakeApi(404, 404, COMPLETE)) as client:
        stats = await Settler(ledger, client, plan()).run()
    assert stats.complete == 1
    assert row_of(ledger, "a")["error_code"] is None


async def test_an_api_that_is_down_is_waited_for(ledger: Ledger) -> None:
    """Errors of the API or the network end no run and touch no row."""
    submit(ledger, "a", "b", "c")
    api = FakeApi(500, httpx.ConnectError("refused"), 429, 503, httpx.ReadTimeout("slow"), COMPLETE)
    async with client_of(api) as client:
        stats = await Settler(ledger, client, plan()).run()
    assert (stats.reason, stats.complete, stats.failed_polls) == (SettleReason.DONE, 3, 15)
    assert row_of(ledger, "a")["error_code"] is None


async def test_an_api_that_is_down_is_not_hammered(ledger: Ledger) -> None:
    """While it fails all rows wait together: the polls do not grow with the number of rows."""
    submit(ledger, *(f"r{n}" for n in range(60)))
    api = FakeApi(500)
    async with client_of(api) as client:
        stats = await Settler(ledger, client, plan(concurrency=2, timeout_s=0.3)).run()
    assert stats.reason is SettleReason.TIMED_OUT
    assert len(api.asked) < 40


async def test_following_ends_after_its_time(ledger: Ledger) -> None:
    """What is not finished by then stays as it is, for the next settle."""
    submit(ledger, "a")
    async with client_of(FakeApi({"status": "draft"})) as client:
        stats = await Settler(ledger, client, plan(timeout_s=0.1)).run()
    assert (stats.reason, stats.unsettled) == (SettleReason.TIMED_OUT, 1)
    assert row_of(ledger, "a")["state"] == "queued"


async def test_one_pass_looks_at_each_row_once(ledger: Ledger) -> None:
    """Without waiting, what is due is asked about once and the rest is left."""
    submit(ledger, *(f"r{n}" for n in range(30)))
    api = FakeApi(RENDERING)
    async with client_of(api) as client:
        stats = await Settler(ledger, client, plan(wait=False, concurrency=4)).run()
    assert sorted(api.asked) == sorted(f"vid-spring-r{n}" for n in range(30))
    assert (stats.reason, stats.unsettled) == (SettleReason.DONE, 30)


async def test_no_more_are_asked_about_at_once_than_allowed(ledger: Ledger) -> None:
    """The concurrency is a ceiling, however many rows are due."""
    submit(ledger, *(f"r{n}" for n in range(50)))
    api = FakeApi(COMPLETE)
    async with client_of(api) as client:
        stats = await Settler(ledger, client, plan(concurrency=5)).run()
    assert stats.complete == 50
    assert api.most_in_flight == 5


async def test_stopping_finishes_what_is_under_way(ledger: Ledger) -> None:
    """A stop loses no answer that was asked for, and asks for no other."""
    submit(ledger, *(f"r{n}" for n in range(10)))
    api = FakeApi(COMPLETE)
    api.hold = asyncio.Event()
    async with client_of(api) as client:
        settler = Settler(ledger, client, plan(concurrency=3))
        running = asyncio.create_task(settler.run())
        for _ in range(3):
            await api.held.acquire()
        settler.stop()
        api.hold.set()
        stats = await running
    assert (stats.reason, stats.complete, stats.unsettled) == (SettleReason.INTERRUPTED, 3, 7)


async def test_cancelling_is_a_gentle_stop(ledger: Ledger) -> None:
    """A cancelled run still writes down the answers that it has asked for."""
    submit(ledger, "a")
    api = FakeApi(COMPLETE)
    api.hold = asyncio.Event()
    async with client_of(api) as client:
        running = asyncio.create_task(Settler(ledger, client, plan()).run())
        await api.held.acquire()
        running.cancel()
        await asyncio.sleep(0)
        api.hold.set()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert row_of(ledger, "a")["state"] == "complete"


async def test_two_settles_count_everything_once(ledger: Ledger, tmp_path: Path) -> None:
    """A second settle on the same table does no harm: each row and each credit is counted once."""
    submit(ledger, *(f"r{n}" for n in range(40)))
    api = FakeApi(RENDERING, COMPLETE)
    with Ledger(f"sqlite:///{tmp_path / 'results.db'}") as second:
        async with client_of(api) as client:
            one, two = await asyncio.gather(
                Settler(ledger, client, plan()).run(), Settler(second, client, plan()).run()
            )
    assert one.complete + two.complete == 40
    assert one.credits_final + two.credits_final == 40 * 192 == committed(ledger)


async def test_odd_figures_do_not_lose_an_ending(ledger: Ledger) -> None:
    """A final state is recorded however odd the rest of the answer is."""
    submit(ledger, "a", "b")
    api = FakeApi({**COMPLETE, "credits_charged": 10**30, "width": 10**12, "fps": "fast", "downloads": None})
    api.scripts["vid-spring-b"] = [
        {**FAILED, "error": {"code": {"no": 1}, "message": "\ud800 nul \x00 " + "x" * 9999}}
    ]
    async with client_of(api) as client:
        stats = await Settler(ledger, client, plan()).run()
    assert (stats.reason, stats.complete, stats.error) == (SettleReason.DONE, 1, 1)
    assert (stats.odd_figure_rows, [odd.row_key for odd in stats.odd_figures]) == (1, ["a"])
    assert row_of(ledger, "a")["credits_final"] == ESTIMATE
    assert row_of(ledger, "b")["error_message"].startswith("? nul x")


@pytest.mark.parametrize("said", [-192, 10_000_001, "many", None])
async def test_a_final_figure_that_is_not_believed_is_named(ledger: Ledger, said: Any) -> None:
    """By its row and the reason, in the settle and in `status`; the row counts as before."""
    submit(ledger, "a", "b")
    api = FakeApi(COMPLETE)
    api.scripts["vid-spring-a"] = [{**COMPLETE, "credits_charged": said}]
    async with client_of(api) as client:
        stats = await Settler(ledger, client, plan()).run()
    (odd,) = stats.odd_figures
    assert (stats.odd_figure_rows, odd) == (1, OddFigure(RowKey("a"), str(figure(said).odd)))
    status = batch_status(ledger, SPRING).as_json()
    assert (status["odd_figure_rows"], status["odd_figures"]) == (1, [{"row_key": "a", "why": odd.why}])
    assert committed(ledger) == ESTIMATE + 192


async def test_a_results_table_that_fails_ends_the_run(ledger: Ledger) -> None:
    """Nothing is asked about that could not be written down; the reason says what failed."""
    submit(ledger, "a", "b")
    api = FakeApi(COMPLETE)
    broken = (
        "CREATE TRIGGER broken BEFORE UPDATE OF credits_final ON generations BEGIN SELECT RAISE(ABORT, 'broken'); END"
    )
    ledger.change(lambda connection: connection.execute(text(broken)))
    async with client_of(api) as client:
        stats = await Settler(ledger, client, plan()).run()
    assert stats.reason is SettleReason.LEDGER_FAILED
    assert "broken" in (stats.message or "")
    assert committed(ledger) == 2 * ESTIMATE


async def test_all_batches_are_followed_or_those_of_one_api(ledger: Ledger) -> None:
    """Without a batch every one is settled; with an API none whose videos it never made."""
    autumn = Batch("autumn")
    submit(ledger, "a", batch=autumn, api="elsewhere.example.com")
    submit(ledger, "b")
    async with client_of(FakeApi(COMPLETE)) as client:
        ours = await Settler(ledger, client, plan(batch=None, payer=accounts.Payer("local"))).run()
        assert (ours.complete, row_of(ledger, "a", autumn)["state"]) == (1, "queued")
        both = await Settler(ledger, client, plan(batch=None)).run()
    assert (both.complete, row_of(ledger, "a", autumn)["state"]) == (1, "complete")


async def test_a_settled_table_is_not_asked_about(ledger: Ledger) -> None:
    """The same command again costs no call."""
    submit(ledger, "a")
    api = FakeApi(COMPLETE)
    async with client_of(api) as client:
        await Settler(ledger, client, plan()).run()
        again = await Settler(ledger, client, plan()).run()
    assert (again.polled, again.reason, len(api.asked)) == (0, SettleReason.DONE, 1)


async def test_a_pause_grows_and_ends_with_the_first_good_answer() -> None:
    """Failures of one round make one pause; the next round's is longer; a good answer ends it at once."""
    patience = SharedBackoff(10)
    start = asyncio.get_running_loop().time()
    patience.failed(start)
    patience.failed(start)
    assert 7 < patience.left_s() <= 10
    patience.failed(start + 11)
    assert 14 < patience.left_s() <= 20
    patience.on_success()
    assert patience.left_s() == 0
    patience.failed(start + 40)
    assert patience.left_s() <= 10


async def test_long_videos_are_asked_about_half_as_often(ledger: Ledger) -> None:
    """After a look at both, the video of more than 30 seconds is due one interval later than the other."""
    submit(ledger, "short")
    submit(ledger, "short", "long", seconds=31)  # `short` has its video: it keeps its length
    async with client_of(FakeApi(RENDERING)) as client:
        await Settler(ledger, client, plan(wait=False, poll_interval_s=100)).run()
    assert row_of(ledger, "long")["due_at"] - row_of(ledger, "short")["due_at"] == timedelta(seconds=100)


async def test_a_write_that_fails_once_is_tried_again(ledger: Ledger) -> None:
    """A deadlock that the database broke up ends no run."""
    failures = [LedgerError("deadlock")]

    def work(_: object, items: Sequence[str]) -> list[str]:
        if failures:
            raise failures.pop()
        return list(items)

    assert await write(ledger, work, "kept") == "kept"


async def test_videos_of_a_known_class_are_first_asked_about_near_their_end(ledger: Ledger) -> None:
    """Three of the class took 0.5 s, which the table knows: no question comes long before that."""
    took = timedelta(seconds=0.5)
    for row in submit(ledger, *"abc"):
        final = complete(row)
        settle(ledger, replace(final, at=row_of(ledger, row.row_key)["submitted_at"] + took))
    (video,) = submit(ledger, "d", batch=Batch("autumn"))
    begun = row_of(ledger, video.row_key, video.batch)["submitted_at"]
    api = FakeApi(COMPLETE)
    asked: list[timedelta] = []
    api.on_ask = lambda _: asked.append(utc_now() - begun)
    async with client_of(api) as client:
        stats = await Settler(ledger, client, plan(batch=None, poll_interval_s=0.1)).run()
    assert (stats.complete, stats.polled) == (1, 1)
    assert asked[0] >= took - timedelta(seconds=0.1)
