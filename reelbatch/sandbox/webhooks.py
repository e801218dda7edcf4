"""Tells a webhook address how the videos go: started, completed, errored; nothing about canceled ones."""

from __future__ import annotations

import asyncio
import hmac
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import httpx

from reelbatch.sandbox.books import Books, Status, Video
from reelbatch.sandbox.config import SandboxConfig, WebhookFaults
from reelbatch.sandbox.studio import Studio

_LOOK_S = 0.02  # between two looks for new videos
_TIMEOUT_S = 10.0  # what the API waits for an answer
_LONGEST_WAIT_S = 60.0
_AT_ONCE = 32  # tries under way; with each that waits for a connection the client's own queue grows slower
_FINAL_EVENTS = {Status.COMPLETE: "video.completed", Status.ERROR: "video.errored"}

Describe = Callable[[Video], dict[str, Any]]


class Announcer:
    """Follows every video and sends its events, with the faults that `webhook_faults` asks for."""

    def __init__(self, config: SandboxConfig, books: Books, studio: Studio, describe: Describe) -> None:
        self.counts: Counter[str] = Counter(videos=0, events=0, sent=0, delivered=0, given_up=0, lost=0, pending=0)
        self._config = config
        self._books = books
        self._studio = studio
        self._describe = describe
        self._tasks: set[asyncio.Task[None]] = set()
        self._tries = asyncio.Semaphore(_AT_ONCE)
        self._before = books.creates  # made before this start; of those that are finished nothing is told
        self._http = httpx.AsyncClient(trust_env=False, verify=False, timeout=_TIMEOUT_S)  # noqa: S501 - loopback

    def start(self) -> None:
        """Begin; it goes on until it is closed."""
        self._spawn(self._watch())

    async def close(self) -> None:
        """Send nothing more; what is under way is broken off."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._http.aclose()

    async def _watch(self) -> None:
        """A task for each video that is new, or that was unfinished when the sandbox was stopped."""
        seen = 0
        while True:
            for video in self._books.videos(skip=seen) if self._books.creates > seen else ():
                seen += 1
                if video.status == Status.OPEN or seen > self._before:
                    self.counts.update(videos=1, pending=1)
                    self._spawn(self._follow(video, random.Random(f"{self._faults.seed}:{seen}")))
            await asyncio.sleep(_LOOK_S)

    async def _follow(self, video: Video, draws: random.Random) -> None:
        await self._tell(video, draws)
        self.counts["pending"] -= 1

    async def _tell(self, video: Video, draws: random.Random) -> None:
        """Started, then the final event; with `shuffle` the other way round."""
        await self._until(video.created_at + self._config.queue_seconds)
        video = self._books.video(video.id) or video
        if video.status == Status.CANCELED:
            return
        unfinished = video._replace(status=Status.OPEN, final=None, error=None, width=-1, height=-1)
        started = self._event("video.started", unfinished, "rendering")
        shuffled = draws.random() < self._faults.shuffle
        sending = [] if shuffled else [self._spawn(self._send(started, draws))]
        video = await self._finished(video)
        if video.status in _FINAL_EVENTS:
            final = self._event(_FINAL_EVENTS[Status(video.status)], video, video.status)
            sending.append(self._spawn(self._send(final, draws)))
        await asyncio.gather(*sending)
        if shuffled:
            await self._send(started, draws)

    @property
    def _faults(self) -> WebhookFaults:
        return self._config.webhook_faults

    async def _finished(self, video: Video) -> Video:
        await self._until(video.created_at + self._studio.due_seconds)
        while video.status == Status.OPEN:
            video = await self._studio.advanced(self._books.video(video.id) or video)
            if video.status == Status.OPEN:
                await asyncio.sleep(_LOOK_S)
        return video

    def _event(self, kind: str, video: Video, status: str) -> bytes:
        payload = {**self._describe(video), "status": status}
        return json.dumps({"type": kind, "payload": payload}, separators=(",", ":")).encode()

    async def _send(self, event: bytes, draws: random.Random) -> None:
        faults = self._faults
        self.counts["events"] += 1
        if draws.random() < faults.lost:
            self.counts["lost"] += 1
            return
        for _ in range(2 if draws.random() < faults.duplicate else 1):
            await asyncio.sleep(draws.uniform(0, faults.delay_s))
            await self._deliver(event)

    async def _deliver(self, event: bytes) -> None:
        """Until the receiver returns success; each try waits twice as long as the last one."""
        for tried in range(self._config.webhook_tries):
            if tried:
                await asyncio.sleep(min(self._config.webhook_retry_s * 2 ** (tried - 1), _LONGEST_WAIT_S))
            async with self._tries:
                self.counts["sent"] += 1
                accepted = await self._accepted(event)
            if accepted:
                self.counts["delivered"] += 1
                return
        self.counts["given_up"] += 1

    async def _accepted(self, event: bytes) -> bool:
        timestamp = str(int(time.time()))
        secret = (self._config.webhook_secret or "").encode()
        headers = {
            "Content-Type": "application/json",
            "magic-hour-event-timestamp": timestamp,
            "magic-hour-event-signature": hmac.new(secret, f"{timestamp}.".encode() + event, "sha256").hexdigest(),
        }
        try:
            answer = await self._http.post(str(self._config.webhook_url), content=event, headers=headers)
        except httpx.HTTPError:
            return False
        return answer.is_success

    async def _until(self, moment: float) -> None:
        await asyncio.sleep(max(0.0, moment - time.time()))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
