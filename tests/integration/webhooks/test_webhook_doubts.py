"""Events about videos whose id never arrived: the token in the name says whose they are."""

import asyncio
import json
from collections.abc import Callable

import httpx
import pytest
from sqlalchemy import update
from webhook_stories import (
    ESTIMATE,
    NO_CAS,
    SPRING,
    Receiving,
    attempt,
    entry,
    event,
    everything,
    in_doubt,
    intend,
    resend,
    signed,
    tell,
    worst_case,
)

from reelbatch.domain import RowKey, RowState, Token, VideoId
from reelbatch.ledger import Ledger, queries, reruns
from reelbatch.ledger.attempts import Ending
from reelbatch.ledger.reruns import Selection
from reelbatch.ledger.schema import generations

STATES = {"video.started": "rendering", "video.completed": "complete", "video.errored": "error"}
WORST = {"video.started": ESTIMATE, "video.completed": 38, "video.errored": 0}


@pytest.mark.parametrize("kind", STATES)
def test_an_event_clears_up_a_row_in_doubt(receiving: Receiving, kind: str) -> None:
    """The row gets its id, then what the event says; its credits are in doubt no longer."""
    intent = in_doubt(receiving.ledger)
    assert worst_case(receiving.ledger) == ESTIMATE
    assert receiving.send(kind, intent) == 200
    found, made = entry(receiving.ledger), attempt(receiving.ledger, intent)
    assert (found["state"], found["video_id"]) == (STATES[kind], "vid-1")
    assert found["submitted_at"] is not None
    assert (made["outcome"], made["video_id"]) == ("submitted", "vid-1")
    assert worst_case(receiving.ledger) == WORST[kind]
    after = everything(receiving.ledger)
    assert receiving.send(kind, intent) == 200
    assert everything(receiving.ledger) == after
    assert (receiving.counts.applied, receiving.counts.repeated) == (1, 1)


def test_a_refund_is_not_taken_for_the_charge(receiving: Receiving) -> None:
    """A failed video's figure has the refund in it; what was charged stays the estimate."""
    intent = in_doubt(receiving.ledger)
    receiving.send("video.errored", intent)
    assert attempt(receiving.ledger, intent)["credits_charged"] is None
    money = receiving.ledger.read(lambda connection: queries.credits_of(connection, SPRING))
    assert (money.charged, money.refunded, money.in_doubt) == (ESTIMATE, ESTIMATE, 0)


@pytest.mark.parametrize("kind", STATES)
def test_an_answer_after_the_event_does_no_harm(receiving: Receiving, kind: str) -> None:
    """The event overtakes the create's own answer: however that ends then, id, state and credits stay."""
    for ending in Ending:
        video_id = VideoId(f"vid-{ending}")
        intent = intend(receiving.ledger, ending, Token(f"rb_{ending}_0123456789"))
        assert receiving.send(kind, intent, video_id) == 200
        before = worst_case(receiving.ledger)
        answered = {"video_id": video_id, "credits_charged": ESTIMATE} if ending is Ending.SUBMITTED else {}
        # Only a success has something to add: the frame cost, which no event tells.
        assert tell(receiving.ledger, intent, ending, **answered) is (ending is Ending.SUBMITTED)
        found = entry(receiving.ledger, ending)
        assert (found["state"], found["video_id"]) == (STATES[kind], video_id)
        assert attempt(receiving.ledger, intent)["video_id"] == video_id
        assert worst_case(receiving.ledger) == before
        receiving.send("video.completed", intent, video_id)
        assert entry(receiving.ledger, ending)["state"] == ("error" if kind == "video.errored" else "complete")


def test_the_answer_after_the_event_tells_the_charge(receiving: Receiving) -> None:
    """What the create was charged is taken from its own answer, also where the end was told first."""
    intent = intend(receiving.ledger)
    receiving.send("video.completed", intent)
    tell(receiving.ledger, intent, Ending.SUBMITTED, video_id=VideoId("vid-1"), credits_charged=ESTIMATE)
    assert attempt(receiving.ledger, intent)["credits_charged"] == ESTIMATE
    assert entry(receiving.ledger)["credits_final"] == 38
    assert worst_case(receiving.ledger) == 38


@pytest.mark.parametrize("ending", [Ending.RETRY, Ending.REJECTED, Ending.HALTED])
def test_a_video_behind_a_refusal_is_kept(receiving: Receiving, ending: Ending) -> None:
    """The API said no, and made the video: a row that might be sent again takes it up and is not paid for twice."""
    intent = intend(receiving.ledger)
    tell(receiving.ledger, intent, ending, code="http_500", message="sorry")
    assert receiving.send("video.completed", intent) == 200
    assert (entry(receiving.ledger)["state"], entry(receiving.ledger)["video_id"]) == ("complete", "vid-1")
    again = Selection(batch=SPRING)
    assert receiving.ledger.change(lambda connection: reruns.request(connection, again)) == 0
    made = attempt(receiving.ledger, intent)
    assert (made["video_id"], made["credits_final"]) == ("vid-1", 38)
    assert worst_case(receiving.ledger) == 38


def test_a_row_that_was_sent_again_keeps_its_own_video(receiving: Receiving) -> None:
    """The row was taken for not created and sent again: the late event's id goes to the attempt that made it."""
    early = in_doubt(receiving.ledger)
    chosen = Selection(batch=SPRING, states=frozenset({RowState.IN_DOUBT}), row_keys=(RowKey("a"),))
    receiving.ledger.change(lambda connection: reruns.request(connection, chosen))
    later = resend(receiving.ledger, "rb_later_0123456789abc")
    assert receiving.send("video.completed", early) == 200
    assert entry(receiving.ledger)["state"] == "sending"
    assert (attempt(receiving.ledger, early)["video_id"], attempt(receiving.ledger, later)["video_id"]) == (
        "vid-1",
        None,
    )
    assert worst_case(receiving.ledger) == 38 + ESTIMATE
    assert receiving.send("video.completed", later, "vid-2") == 200
    assert entry(receiving.ledger)["video_id"] == "vid-2"
    assert worst_case(receiving.ledger) == 2 * 38


@pytest.mark.parametrize("ending", [Ending.IN_DOUBT, Ending.REJECTED])
def test_a_row_that_a_rerun_asked_for_takes_its_video_up(receiving: Receiving, ending: Ending) -> None:
    """The rerun was stopped before it sent the row; then an event names the video: no one sends it again."""
    intent = intend(receiving.ledger)
    tell(receiving.ledger, intent, ending, code="http_500", message="sorry")
    chosen = Selection(batch=SPRING, states=frozenset({RowState.IN_DOUBT, RowState.REJECTED}))
    assert receiving.ledger.change(lambda connection: reruns.request(connection, chosen)) == 1
    assert receiving.send("video.completed", intent) == 200
    assert (entry(receiving.ledger)["state"], worst_case(receiving.ledger)) == ("complete", 38)
    assert receiving.ledger.read(lambda connection: reruns.alike(connection, chosen)) == []


def test_a_name_that_only_mentions_a_token_is_no_match(receiving: Receiving) -> None:
    """Only the last word counts: a video that was named after another one is not that one."""
    intent = in_doubt(receiving.ledger)
    assert receiving.send("video.completed", name=f"like {intent.token} but longer") == 204
    assert entry(receiving.ledger)["state"] == "in_doubt"


async def test_events_that_race_clear_up_a_row_once(receive: Callable[..., Receiving], ledger: Ledger) -> None:
    """All events at once, several times each, at two receivers of one table: one id, one settlement."""
    with Ledger(ledger.shown_url) as second:
        receivers = [receive(ledger), receive(second)]
        intent = in_doubt(ledger)
        kinds = ["video.started", "video.completed"] * 5
        bodies = [json.dumps(event(kind, intent)).encode() for kind in kinds]
        async with httpx.AsyncClient(verify=NO_CAS, trust_env=False, timeout=20) as http:
            answers = await asyncio.gather(
                *(http.post(at.url, content=body, headers=signed(body)) for body in bodies for at in receivers)
            )
    assert {answer.status_code for answer in answers} == {200}
    found = entry(ledger)
    assert (found["state"], found["video_id"], found["credits_final"]) == ("complete", "vid-1", 38)
    assert worst_case(ledger) == 38
    assert sum(at.counts.applied for at in receivers) in {1, 2, 3}


def test_a_locked_out_worker_finds_its_row_settled(receiving: Receiving) -> None:
    """The row was renumbered and unlisted meanwhile; the event still finds it by its key."""
    intent = in_doubt(receiving.ledger)
    moved = update(generations).values(row_number=99, in_manifest=False)
    receiving.ledger.change(lambda connection: connection.execute(moved))
    assert receiving.send("video.completed", intent) == 200
    assert entry(receiving.ledger)["state"] == "complete"
