"""The render window: how much of it is in use while rows wait, and how many questions that takes.

The sandbox's books tell when each video was created, and its settings how long it rendered; what a client believes
does not count. Each contender has a sandbox of its own.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.figures import Bench, Figure, Found, at_least, at_most, attempt, median, plain, say, show
from benchmarks.processes import Process, environment, module
from benchmarks.product import LONG_S, command, run_script, table_url
from benchmarks.rows import body, write_csv
from reelbatch.sandbox import RunningSandbox, start

WINDOW = 3  # of the tier creator
_SECRET = "benchmark"  # noqa: S105 - signs the sandbox's events
_POLLS, _EVENTS = "reelbatch, polls", "reelbatch, webhooks"
_SDK, _PREFECT = "vendor's SDK, generate in 3 threads", "Prefect, concurrency limit of 3, over it"
_PEERS = {_SDK: "sdk_threads", _PREFECT: "prefect_limit"}
_WHO = (_POLLS, _EVENTS, _SDK, _PREFECT)
_NUMBERS = count(1)
_LOOK_S = 0.2


class Scene(NamedTuple):
    """How long a video renders, how often a client asks, both in seconds, and how many videos there are."""

    render_s: float
    poll_s: float
    videos: int

    def __str__(self) -> str:
        return f"renders of {self.render_s:g} s, polls every {self.poll_s:g} s, {self.videos} videos"


def run(bench: Bench) -> Found:
    """Short renders by turns; then real proportions, where all wait for minutes and so run side by side."""
    short = Scene(6, 0.4, bench.size(36, 6))
    real = Scene(6, 0.4, 9) if bench.quick else Scene(74, 5, 18)
    turns = [[attempt(lambda who=who: _once(bench, who, short), who) for who in _WHO] for _ in range(bench.repeats)]
    lines = [_line(who, [turn[place] for turn in turns]) for place, who in enumerate(_WHO)]
    show(str(short), lines)
    say(f"side by side, {real.render_s * real.videos / WINDOW / 60:.0f} min or so …")
    bench.prefect  # noqa: B018 - started before the clock runs
    with ThreadPoolExecutor(len(_WHO)) as threads:
        found = list(threads.map(lambda who: attempt(lambda: _once(bench, who, real), who), _WHO))
    side_by_side = [_line(who, [one]) for who, one in zip(_WHO, found, strict=True)]
    show(str(real), side_by_side)
    data: dict[str, Any] = {"short": str(short), "by turns": lines, "real": str(real), "side by side": side_by_side}
    data["videos/h at most"] = round(3600 * WINDOW / real.render_s, 1)
    return Found(_figures(lines, side_by_side), data)


def _once(bench: Bench, who: str, scene: Scene) -> dict[str, float]:
    """All videos of a scene; occupancy from the sandbox's books."""
    folder = bench.place(f"window-{next(_NUMBERS)}")
    with ExitStack() as stack:
        events = stack.enter_context(_listening(folder)) if who == _EVENTS else {}
        timing = {"queue_seconds": 0.0, "render_seconds": scene.render_s, "render_video": False}
        sandbox = stack.enter_context(start(**timing, **events, plan="creator"))
        before = _warmed_up(sandbox, scene)
        seconds = _work(bench, who, scene, folder, sandbox)
        return _occupancy(sandbox.books(), before, scene) | {"wall_s": seconds}


def _warmed_up(sandbox: RunningSandbox, scene: Scene) -> dict[str, Any]:
    """The books after one video: the first one has the sandbox load what it draws videos with."""
    from magic_hour import Client

    videos = Client(token=sandbox.key, base_url=sandbox.url).v1
    made = videos.image_to_video.create(**body(0))
    time.sleep(scene.render_s)
    while videos.video_projects.get(id=made.id).status != "complete":
        time.sleep(_LOOK_S)
    return sandbox.books()


def _work(bench: Bench, who: str, scene: Scene, folder: Path, sandbox: RunningSandbox) -> float:
    if who in _PEERS:
        job = json.dumps({"url": sandbox.url, "videos": scene.videos, "window": WINDOW})
        env = {**bench.prefect.env, "MAGIC_HOUR_POLL_INTERVAL": str(scene.poll_s)}
        return Process(module("benchmarks.window_peers", _PEERS[who], job), environment(**env)).wait(LONG_S).seconds
    manifest = write_csv(folder / "rows.csv", scene.videos)
    options = {"base_url": sandbox.url, "results": table_url(folder), "poll_interval_s": scene.poll_s}
    return run_script("generate", manifest, **options, render_window=WINDOW).seconds


@contextmanager
def _listening(folder: Path) -> Iterator[dict[str, str]]:
    """`reelbatch webhook` on the table in `folder`; gives the settings of a sandbox that tells it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    listening = command("webhook", "--port", str(port), "--results", table_url(folder))
    process = Process(listening, environment(REELBATCH_WEBHOOK_SECRET=_SECRET))
    try:
        yield {"webhook_url": f"http://127.0.0.1:{port}/", "webhook_secret": _SECRET}
    finally:
        process.kill()
        process.wait(10, codes=None)


def _occupancy(books: dict[str, Any], before: dict[str, Any], scene: Scene) -> dict[str, float]:
    """Between the first create and the last: after it nothing waits for a place any more."""
    charges = books["charges"][len(before["charges"]) :]
    begun = sorted(datetime.fromisoformat(charge["at"]).timestamp() for charge in charges)
    first, last = begun[0], begun[-1]
    rendered = sum(min(at + scene.render_s, last) - at for at in begun)
    return {
        "in_use": rendered / (WINDOW * (last - first)),
        "most": max(_at_once(begun, at, scene.render_s) for at in begun),
        "questions": (books["requests"]["get"] - before["requests"]["get"]) / len(begun),
        "hourly": 3600 * (len(begun) - WINDOW) / (last - first),
        "videos": len(begun),
    }


def _at_once(begun: Sequence[float], at: float, render_s: float) -> int:
    return sum(other <= at < other + render_s for other in begun)


def _line(who: str, runs: list[dict[str, float] | None]) -> dict[str, Any]:
    known = [run for run in runs if run is not None]
    middle = {name: median(run[name] for run in known) for name in ("in_use", "questions", "hourly", "wall_s")}
    return {
        "who": who,
        "in use": None if middle["in_use"] is None else round(middle["in_use"], 4),
        "all": [round(run["in_use"], 4) for run in known],
        "questions": None if middle["questions"] is None else round(middle["questions"], 1),
        "videos/h": None if middle["hourly"] is None else round(middle["hourly"], 1),
        "at once": max((int(run["most"]) for run in known), default=None),
        "wall s": None if middle["wall_s"] is None else round(middle["wall_s"]),
    }


def _figures(short: list[dict[str, Any]], real: list[dict[str, Any]]) -> list[Figure]:
    found, proportions = ({line["who"]: line for line in lines} for lines in (short, real))
    hourly = [plain(f"videos an hour, {line['who']}", line["videos/h"], "videos/h") for line in real]
    third = (found[_SDK]["questions"] or 0.0) / 3
    note = "a third of the SDK's"
    return [
        at_least("window in use, polls", found[_POLLS]["in use"], 0.98, "share"),
        at_least("window in use, webhooks", found[_EVENTS]["in use"], 0.995, "share"),
        at_most("questions for each video, polls", found[_POLLS]["questions"], third, "questions", note),
        at_most("questions for each video, webhooks", found[_EVENTS]["questions"], third, "questions", note),
        at_least("window in use, polls, real proportions", proportions[_POLLS]["in use"], 0.98, "share"),
        at_least("window in use, webhooks, real proportions", proportions[_EVENTS]["in use"], 0.995, "share"),
        *hourly,
    ]
