"""The render window: how much of it is in use while rows wait, and how many questions that takes.

The sandbox's books tell when each video was created, and its settings how long it rendered; what a client believes
does not count. Each contender has a sandbox of its own.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime
from typing import Any, NamedTuple

from benchmarks.figures import Bench, Figure, Found, at_least, at_most, middle, plain
from benchmarks.processes import run_peer, run_script, table_url
from benchmarks.rows import body, write_csv
from benchmarks.serving import webhook_receiver
from reelbatch.sandbox import RunningSandbox, start

WINDOW = 3  # of the tier creator
_POLLS, _EVENTS = "reelbatch, polls", "reelbatch, webhooks"
_SDK, _PREFECT = "vendor's SDK, generate in 3 threads", "Prefect, concurrency limit of 3, over it"
_PEERS = {_SDK: "sdk_generate", _PREFECT: "prefect_limit"}
_WHO = (_POLLS, _EVENTS, _SDK, _PREFECT)


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
    turns = [[_once(bench, who, short) for who in _WHO] for _ in range(bench.repeats)]
    by_turns = [{"who": who, **middle(runs)} for who, runs in zip(_WHO, zip(*turns, strict=True), strict=True)]
    with ThreadPoolExecutor(len(_WHO)) as threads:  # Prefect's server runs by now
        found = threads.map(lambda who: _once(bench, who, real), _WHO)
        side_by_side = [{"who": who, **middle([one])} for who, one in zip(_WHO, found, strict=True)]
    data = {"short": str(short), "by turns": by_turns, "real": str(real), "side by side": side_by_side}
    data["videos/h at most"] = round(3600 * WINDOW / real.render_s, 1)
    return Found(_figures(by_turns, side_by_side), data)


def _once(bench: Bench, who: str, scene: Scene) -> dict[str, float]:
    """All videos of a scene; what the sandbox's books say of them."""
    folder = bench.place("window")
    with ExitStack() as stack:
        events = stack.enter_context(webhook_receiver(table_url(folder))) if who == _EVENTS else {}
        timing = {"queue_seconds": 0.0, "render_seconds": scene.render_s, "render_video": False}
        sandbox = stack.enter_context(start(**timing, **events, plan="creator"))
        before = _warmed_up(sandbox, scene)
        if who in _PEERS:
            env = {**bench.prefect, "MAGIC_HOUR_POLL_INTERVAL": str(scene.poll_s)}
            run_peer(_PEERS[who], env, url=sandbox.url, rows=scene.videos, in_flight=WINDOW)
        else:
            manifest = write_csv(folder / "rows.csv", scene.videos)
            options = {"base_url": sandbox.url, "results": table_url(folder), "poll_interval_s": scene.poll_s}
            run_script("generate", manifest, **options, render_window=WINDOW)
        return _occupancy(sandbox.books(), before, scene)


def _warmed_up(sandbox: RunningSandbox, scene: Scene) -> dict[str, Any]:
    """The books after one video: the first one has the sandbox load what it draws videos with."""
    from magic_hour import Client

    videos = Client(token=sandbox.key, base_url=sandbox.url).v1
    made = videos.image_to_video.create(**body(0))
    time.sleep(scene.render_s)
    while videos.video_projects.get(id=made.id).status != "complete":
        time.sleep(0.2)
    return sandbox.books()


def _occupancy(books: dict[str, Any], before: dict[str, Any], scene: Scene) -> dict[str, float]:
    """Between the first create and the last: after it nothing waits for a place any more."""
    charges = books["charges"][len(before["charges"]) :]
    begun = sorted(datetime.fromisoformat(charge["at"]).timestamp() for charge in charges)
    first, last = begun[0], begun[-1]
    rendered = sum(min(at + scene.render_s, last) - at for at in begun)
    return {
        "in use": rendered / (WINDOW * (last - first)),
        "at once": max(sum(other <= at < other + scene.render_s for other in begun) for at in begun),
        "questions": (books["requests"]["get"] - before["requests"]["get"]) / len(begun),
        "videos/h": 3600 * (len(begun) - WINDOW) / (last - first),
    }


def _figures(short: list[dict[str, Any]], real: list[dict[str, Any]]) -> list[Figure]:
    found, proportions = ({line["who"]: line for line in lines} for lines in (short, real))
    third = found[_SDK]["questions"] / 3
    note = "a third of the SDK's"
    return [
        at_least("window in use, polls", found[_POLLS]["in use"], 0.98, "share"),
        at_least("window in use, webhooks", found[_EVENTS]["in use"], 0.995, "share"),
        at_most("questions for each video, polls", found[_POLLS]["questions"], third, "questions", note),
        at_most("questions for each video, webhooks", found[_EVENTS]["questions"], third, "questions", note),
        at_least("window in use, polls, real proportions", proportions[_POLLS]["in use"], 0.98, "share"),
        at_least("window in use, webhooks, real proportions", proportions[_EVENTS]["in use"], 0.995, "share"),
        *(plain(f"videos an hour, {line['who']}", line["videos/h"], "videos/h") for line in real),
    ]
