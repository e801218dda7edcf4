"""The books: what was charged and refunded, to the credit and over restarts."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from waiting import wait_until

from reelbatch.sandbox import RunningSandbox, start
from reelbatch.sandbox.books import split_name

CREATE = "/v1/image-to-video"
Connect = Callable[[RunningSandbox], httpx.Client]
Upload = Callable[..., str]


async def creates_at_once(sandbox: RunningSandbox, bodies: list[dict[str, Any]]) -> list[int]:
    """The statuses of creates that are all in flight together."""
    key = {"Authorization": f"Bearer {sandbox.key}"}
    limits = httpx.Limits(max_connections=len(bodies))
    async with httpx.AsyncClient(base_url=sandbox.url, headers=key, limits=limits, timeout=30) as api:
        answers = await asyncio.gather(*(api.post(CREATE, json=body) for body in bodies))
    return [answer.status_code for answer in answers]


@pytest.mark.parametrize(
    ("name", "row", "token"),
    [
        (None, None, None),
        ("", None, None),
        ("Chair 7", "Chair 7", None),
        ("Chair 7 rb_0123456789abcdef", "Chair 7", "rb_0123456789abcdef"),
        ("Ünïcode\nrow  rb_0123456789abcdefghij", "Ünïcode\nrow", "rb_0123456789abcdefghij"),
        ("rb_0123456789abcdef", None, "rb_0123456789abcdef"),
        ("Chair rb_short", "Chair rb_short", None),
        ("Chair rb_0123456789ABCDEF", "Chair rb_0123456789ABCDEF", None),
        ("rb_0123456789abcdef Chair", "rb_0123456789abcdef Chair", None),
    ],
)
def test_a_name_is_row_and_token(name: str | None, row: str | None, token: str | None) -> None:
    """The token is the last word of a name, if it looks like one; the rest is the row."""
    assert split_name(name) == (row, token)


def test_the_account_adds_up(connect: Connect, body: dict[str, Any]) -> None:
    """Balance, charges and refunds explain each other to the credit, and every request is counted."""
    with start(queue_seconds=60, balance=1000) as sandbox:
        api = connect(sandbox)
        ids = [api.post(CREATE, json={**body, "name": f"row {n}"}).json()["id"] for n in range(3)]
        sandbox.cancel(ids[1])
        api.get(f"/v1/video-projects/{ids[0]}")
        books = sandbox.books()
    assert (books["balance_start"], books["charged"], books["refunded"]) == (1000, 144, 48)
    assert books["balance"] == 1000 - 144 + 48
    assert (books["net"], books["creates"], books["max_in_flight"]) == (96, 3, 1)
    assert books["requests"] == {"create": 3, "upload_urls": 0, "put": 0, "get": 1, "download": 0, "account": 0}
    assert [charge["video_id"] for charge in books["charges"]] == ids
    assert [charge["refunded"] for charge in books["charges"]] == [0, 48, 0]
    assert [charge["status"] for charge in books["charges"]] == ["queued", "canceled", "queued"]


def test_a_summary_leaves_the_charges_out(sandbox: RunningSandbox, api: httpx.Client, body: dict[str, Any]) -> None:
    """The summary has the totals, and the double charges, without the list."""
    api.post(CREATE, json=body)
    api.post(CREATE, json=body)
    summary = sandbox.books(summary=True)
    assert "charges" not in summary
    assert body["name"] in summary["double_charged"]


def test_double_charges_are_found_under_any_token(
    waiting: RunningSandbox, connect: Connect, body: dict[str, Any], row: str
) -> None:
    """Two live charges for a row are a double charge whatever their tokens; a refunded one does not count."""
    api, ids = connect(waiting), {}
    for name in ("a", "a", "b", "b", "c"):
        token = f"rb_{len(ids):016d}"
        answer = api.post(CREATE, json={**body, "name": f"{row}{name} {token}"})
        ids[token] = answer.json()["id"]
    paid = list(ids.values())
    waiting.cancel(paid[2])
    found = waiting.books(summary=True)["double_charged"]
    assert {key: video_ids for key, video_ids in found.items() if row in key} == {f"{row}a": paid[:2]}


def test_videos_without_a_name_are_no_double_charge(
    waiting: RunningSandbox, connect: Connect, body: dict[str, Any]
) -> None:
    """Where no row is named, no one can say that it was paid twice."""
    api, before = connect(waiting), waiting.books(summary=True)["double_charged"]
    unnamed = {key: value for key, value in body.items() if key != "name"}
    assert [api.post(CREATE, json=unnamed).status_code for _ in range(2)] == [200, 200]
    assert waiting.books(summary=True)["double_charged"] == before


def test_more_frames_than_estimated_cost_more(connect: Connect, body: dict[str, Any]) -> None:
    """A model of 60 frames a second costs double in the end, and the balance shows it."""
    with start(queue_seconds=0, render_seconds=0, render_video=False, output_fps=60, balance=100) as sandbox:
        api = connect(sandbox)
        video_id = api.post(CREATE, json=body).json()["id"]
        api.get(f"/v1/video-projects/{video_id}")
        books = sandbox.books()
    assert (books["charges"][0]["credits"], books["charges"][0]["final"]) == (48, 96)
    assert (books["charged"], books["refunded"], books["balance"]) == (96, 0, 4)


async def test_the_balance_never_goes_below_zero(body: dict[str, Any]) -> None:
    """Fifty creates at once on a balance for ten: ten are charged, forty answer 402."""
    with start(balance=490, latency_ms=300) as sandbox:
        statuses = await creates_at_once(sandbox, [{**body, "name": f"row {n}"} for n in range(50)])
        books = sandbox.books(summary=True)
    assert (statuses.count(200), statuses.count(402)) == (10, 40)
    assert (books["balance"], books["charged"], books["creates"]) == (10, 480, 10)
    assert 1 < books["max_in_flight"] <= 50


def test_a_refund_can_be_spent(connect: Connect, body: dict[str, Any]) -> None:
    """Credits that a failed render gives back cover the next create."""
    with start(queue_seconds=0, render_seconds=0, render_error_share=1, balance=48) as sandbox:
        api = connect(sandbox)
        assert [api.post(CREATE, json=body).status_code for _ in range(3)] == [200, 200, 200]


def finished(api: httpx.Client, video_id: str) -> dict[str, Any]:
    """The video once it is complete: on a busy machine it takes longer to draw than a GET waits."""
    video: dict[str, Any] = {}

    def is_complete() -> bool:
        video.update(api.get(f"/v1/video-projects/{video_id}").json())
        return video["status"] == "complete"

    wait_until(is_complete, f"video {video_id} is complete")
    return video


def test_a_kill_loses_nothing_that_was_answered(
    http: httpx.Client, tmp_path: Path, connect: Connect, body: dict[str, Any], upload: Upload
) -> None:
    """After kill -9 the same folder has every charge, upload, count and video, under the same URLs."""
    with start(data=tmp_path, queue_seconds=0, render_seconds=0) as before:
        api = connect(before)
        path = upload(api)
        created = api.post(CREATE, json={**body, "assets": {"image_file_path": path}}).json()
        again = api.post(CREATE, json=body).json()
        video = finished(api, created["id"])
        books = before.books()
        os.kill(before.pid, signal.SIGKILL)
    with start(data=tmp_path, queue_seconds=0, render_seconds=0) as after:
        api = connect(after)
        assert after.books() == books
        assert body["name"] in books["double_charged"]
        url = video["downloads"][0]["url"].replace(before.url, after.url)
        assert http.get(url).status_code == 200
        assert finished(api, again["id"])["id"] == again["id"]
        reused = {**body, "assets": {"image_file_path": path}}
        assert api.post(CREATE, json=reused).status_code == 200


def test_a_create_that_was_cut_off_by_a_kill_is_in_the_books_or_not_made(
    http: httpx.Client, tmp_path: Path, body: dict[str, Any]
) -> None:
    """Killed between charge and answer, the charge stands: that is what a client has to expect."""
    with start(data=tmp_path, faults={"script": ["stall_after"]}) as sandbox:
        with pytest.raises(httpx.ReadTimeout):
            http.post(
                sandbox.url + CREATE,
                json=body,
                headers={"Authorization": f"Bearer {sandbox.key}"},
                timeout=httpx.Timeout(20, read=0.5),
            )
        os.kill(sandbox.pid, signal.SIGKILL)
    with start(data=tmp_path) as sandbox:
        assert sandbox.books(summary=True)["creates"] == 1
