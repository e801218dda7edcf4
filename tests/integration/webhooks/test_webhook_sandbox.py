"""The sandbox's own webhook events, and whole runs that are settled by them alone."""

import asyncio
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import func, select
from waiting import until
from webhook_stories import SECRET, Receiving

import reelbatch
from reelbatch.errors import SettingsError
from reelbatch.ledger import Ledger, queries
from reelbatch.ledger.schema import attempts
from reelbatch.ledger.webhook_events import TOLD
from reelbatch.sandbox import SandboxConfig, start
from reelbatch.sandbox.books import Video
from reelbatch.sandbox.config import build_config
from reelbatch.sandbox.service import Service
from reelbatch.webhooks.signature import Seal

_SWIFT: dict[str, Any] = {
    "queue_seconds": 0.05,
    "render_seconds": 0.1,
    "render_video": False,
    "webhook_secret": SECRET,
    "webhook_retry_s": 0.02,
}
ROWS = 24


class Sandbox:
    """The sandbox's account and its events, in this process and without its API."""

    def __init__(self, folder: Path, **stated: Any) -> None:
        self.service = Service(build_config({**_SWIFT, **stated}), folder, "http://127.0.0.1:1")

    @property
    def counts(self) -> Counter[str]:
        """What it counts of its events."""
        assert self.service.announcer
        return self.service.announcer.counts

    def create(self) -> Video:
        """Make a video."""
        assets = {"image_file_path": "https://a.example/a.png"}
        body = {"assets": assets, "end_seconds": 2, "model": "ltx-2.3", "name": "a rb_0123456789abcdef0123"}
        video = self.service.books.charge(self.service.checker.create(body), self.service.studio.fate(1))
        assert video
        return video

    async def told(self) -> Counter[str]:
        """The counts, once all videos have had all their events."""
        books, counts = self.service.books, self.counts
        await until(lambda: counts["videos"] == books.creates and not counts["pending"], "all events were sent")
        return counts


@asynccontextmanager
async def sandbox(folder: Path, **stated: Any) -> AsyncIterator[Sandbox]:
    """A sandbox that tells of its videos."""
    made = Sandbox(folder, **stated)
    assert made.service.announcer
    made.service.announcer.start()
    try:
        yield made
    finally:
        await made.service.announcer.close()
        made.service.books.close()


class Listener:
    """Someone who keeps what is sent, and answers as asked: the first `failures` tries of each event fail.

    Where it is not `at_once`, it answers no one before `answering` is set.
    """

    def __init__(self, failures: int = 0, *, at_once: bool = True) -> None:
        self.heard: list[tuple[dict[str, Any], dict[str, str], bytes]] = []
        self.answering = threading.Event()
        if at_once:
            self.answering.set()
        listener, tries = self, Counter[bytes]()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                tries[body] += 1
                listener.heard.append((json.loads(body), {k.lower(): v for k, v in self.headers.items()}, body))
                listener.answering.wait(10)
                self.send_response(500 if tries[body] <= failures else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=lambda: self._server.serve_forever(poll_interval=0.02))
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def events(self) -> list[tuple[str, str]]:
        """(video, type) of all that was heard, in order."""
        return [(event["payload"]["id"], event["type"]) for event, _, _ in self.heard]


@pytest.fixture
def listen() -> Iterator[Callable[..., Listener]]:
    """Starts listeners."""
    open_: list[Listener] = []

    def begin(**options: Any) -> Listener:
        open_.append(Listener(**options).__enter__())
        return open_[-1]

    yield begin
    for listener in open_:
        listener.__exit__()


Listen = Callable[..., Listener]


async def test_the_sandbox_tells_start_and_end(tmp_path: Path, listen: Listen) -> None:
    """Both events are signed, carry the video's name, and say what a GET of the video says."""
    listener = listen()
    async with sandbox(tmp_path, webhook_url=listener.url) as api:
        video = api.create()
        assert (await api.told())["delivered"] == 2
        done = api.service.books.video(video.id)
        assert done
        answer = api.service.studio.answer(done, None)
    assert listener.events() == [(video.id, "video.started"), (video.id, "video.completed")]
    (started, _, _), (completed, _, _) = (heard for heard in listener.heard)
    assert (started["payload"]["status"], started["payload"]["name"]) == ("rendering", video.name)
    assert completed["payload"]["downloads"][0]["url"].startswith(f"http://127.0.0.1:1/storage/{video.id}/")
    links = {"download": None, "downloads": []}
    assert {**completed["payload"], **links} == {**answer, **links}
    for _, headers, body in listener.heard:
        assert Seal(SecretStr(SECRET), 60).genuine(headers, body, time.time())


async def test_a_slow_receiver_is_sent_few_events_at_a_time(tmp_path: Path, listen: Listen) -> None:
    """The others wait their turn: in the client's own queue they kept the sandbox from answering for seconds."""
    listener = listen(at_once=False)
    async with sandbox(tmp_path, webhook_url=listener.url) as api:
        for _ in range(40):
            api.create()
        await until(lambda: api.counts["events"] == 80, "all events are due")
        assert api.counts["sent"] == 32
        listener.answering.set()
        assert (await api.told())["delivered"] == 80


async def test_a_canceled_video_has_no_end_to_tell(tmp_path: Path, listen: Listen) -> None:
    """As with the API: there is no event for a video that was canceled."""
    listener = listen()
    async with sandbox(tmp_path, webhook_url=listener.url, render_seconds=0.5) as api:
        video = api.create()
        await until(lambda: listener.heard, "the start was told")
        api.service.studio.cancel(video)
        await api.told()
    assert listener.events() == [(video.id, "video.started")]


async def test_a_failed_render_is_told(tmp_path: Path, listen: Listen) -> None:
    """`video.errored` says why, and that the credits came back."""
    listener = listen()
    async with sandbox(tmp_path, webhook_url=listener.url, render_error_share=1) as api:
        charged = api.create().credits
        await api.told()
    (started, _, _), (errored, _, _) = (heard for heard in listener.heard)
    assert (started["type"], started["payload"]["credits_charged"]) == ("video.started", charged)
    assert (errored["type"], errored["payload"]["credits_charged"]) == ("video.errored", 0)
    assert errored["payload"]["error"]["code"]


async def test_the_sandbox_tries_until_it_is_answered(tmp_path: Path, listen: Listen) -> None:
    """An event that is not accepted comes again."""
    listener = listen(failures=2)
    async with sandbox(tmp_path, webhook_url=listener.url) as api:
        api.create()
        counts = await api.told()
    assert (counts["sent"], counts["delivered"], counts["given_up"]) == (6, 2, 0)
    assert Counter(kind for _, kind in listener.events()) == {"video.started": 3, "video.completed": 3}


async def test_the_sandbox_gives_up_at_last(tmp_path: Path) -> None:
    """No one listens: after the stated number of tries an event is dropped, and the videos go on."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        async with sandbox(tmp_path, webhook_url=url, webhook_tries=2) as api:
            api.create()
            counts = await api.told()
    assert (counts["sent"], counts["given_up"], counts["delivered"]) == (4, 2, 0)


@pytest.mark.parametrize(
    ("faults", "expected"),
    [
        ({"lost": 1}, []),
        ({"duplicate": 1}, ["video.started"] * 2 + ["video.completed"] * 2),
        ({"shuffle": 1}, ["video.completed", "video.started"]),
    ],
    ids=["lost", "duplicate", "shuffle"],
)
async def test_events_go_wrong_as_asked(
    tmp_path: Path, listen: Listen, faults: dict[str, float], expected: list[str]
) -> None:
    """Lost, doubled or in the wrong order: settings of the sandbox."""
    listener = listen()
    async with sandbox(tmp_path, webhook_url=listener.url, webhook_faults=faults) as api:
        api.create()
        await api.told()
    assert sorted(kind for _, kind in listener.events()) == sorted(expected)
    assert [kind for _, kind in listener.events()][-1:] == expected[-1:]


async def test_a_restart_tells_what_is_still_to_come(tmp_path: Path, listen: Listen) -> None:
    """A video that was unfinished when the sandbox stopped is followed; a finished one is not told again."""
    listener = listen()
    async with sandbox(tmp_path, webhook_url=listener.url) as api:
        api.create()
        await api.told()
        unfinished = api.create()
    before = len(listener.heard)
    async with sandbox(tmp_path, webhook_url=listener.url) as api:
        await until(lambda: api.counts["videos"] and not api.counts["pending"], "the rest was told")
    assert {video_id for video_id, _ in listener.events()[before:]} == {unfinished.id}


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ({"webhook_url": "http://192.0.2.1/", "webhook_secret": "s"}, "webhook_url: must be http://"),
        ({"webhook_url": "https://127.0.0.1/", "webhook_secret": "s"}, "webhook_url: must be http://"),
        ({"webhook_url": "http://127.0.0.1/"}, "webhook_secret: is needed"),
        ({"webhook_url": "http://127.0.0.1/", "webhook_secret": ""}, "webhook_secret: "),
        ({"webhook_faults": {"lost": 2}}, "webhook_faults.lost: "),
        ({"webhook_faults": {"meteor": 1}}, "webhook_faults.meteor: there is no such setting"),
    ],
)
def test_wrong_webhook_settings_are_named(stated: dict[str, Any], said: str) -> None:
    """An address of another machine, no secret, an impossible share: one line that names the setting."""
    with pytest.raises(SettingsError, match=said):
        build_config(stated)
    assert SandboxConfig().webhook_url is None


def _manifest(folder: Path) -> Path:
    lines = ["row_key,image_path,prompt,end_seconds,model,resolution"]
    lines += [f"row-{n:03},https://images.example.com/{n}.png,Slow pan {n},2,ltx-2.3,480p" for n in range(ROWS)]
    path = folder / "spring.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_run_is_settled_by_events_alone(
    receive: Callable[..., Receiving], http: httpx.Client, tmp_path: Path
) -> None:
    """Answers are lost after the charge, events come late, twice and in the wrong order: all is well in the end.

    No one asks for a video, no row is in doubt, failed renders are refunded, and each credit is the one in the books.
    """
    lost = {"share": {"lost_after": 0.3, "no_id": 0.1, "stall_after": 0.1}, "seed": 5, "stall_seconds": 0.5}
    late = {"duplicate": 0.5, "delay_s": 0.3, "shuffle": 0.5}
    with Ledger(f"sqlite:///{tmp_path / 'results.db'}") as ledger:
        receiving = receive(ledger)
        setup = {**_SWIFT, "output_fps": 24, "render_error_share": 0.2, "seed": 1}
        with start(**setup, faults=lost, webhook_url=receiving.url, webhook_faults=late) as api:
            report = reelbatch.generate(
                _manifest(tmp_path),
                base_url=api.url,
                api_key=api.key,
                results=ledger.shown_url,
                export=str(tmp_path / "spring.parquet"),
                doubts_in_a_row=ROWS,  # half of the answers are lost, and no row is to be held back for it
            )
            asyncio.run(until(lambda: _quiet(http, api.url), "all events were sent"))
            counts, books = http.get(f"{api.url}/sandbox/webhooks").json(), api.books()
        assert report.as_json()["sent"] == ROWS
        assert (counts["given_up"], books["requests"]["get"], books["creates"]) == (0, 0, ROWS)
        _check(ledger, books)
        done = receiving.counts
        assert (done.received, done.refused, done.ignored, done.failed) == (counts["sent"], 0, 0, 0)


def _quiet(http: httpx.Client, url: str) -> bool:
    counts = http.get(f"{url}/sandbox/webhooks").json()
    return bool(counts["videos"] == ROWS and not counts["pending"])


def _check(ledger: Ledger, books: dict[str, Any]) -> None:
    (batch,) = ledger.read(queries.batch_names)
    rows = {row["token"]: row for row in ledger.read(lambda one: queries.first_rows(one, batch, 1000))}
    charges = {charge["token"]: charge for charge in books["charges"]}
    assert rows.keys() == charges.keys()
    for token, charge in charges.items():
        row = rows[token]
        assert (row["state"], row["video_id"]) == (charge["status"], charge["video_id"])
        assert row["credits_final"] == charge["final"]
    assert Counter(row["state"] for row in rows.values()).keys() == {"complete", "error"}
    money = ledger.read(lambda one: queries.credits_of(one, batch))
    assert (money.in_doubt, money.reserved) == (0, 0)
    by_event = select(func.count()).where(attempts.c.message == TOLD)
    assert ledger.read(lambda one: one.scalar(by_event)), "no answer was lost, so nothing was put to the test"
    assert money.final == money.worst_case == books["net"]
    assert money.worst_case == ledger.read(lambda one: queries.worst_case(one, batch))
