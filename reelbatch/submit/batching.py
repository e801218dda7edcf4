"""Questions that come thick and fast, asked many at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Question = TypeVar("Question")
Answer = TypeVar("Answer")

_GATHER_S = 0.005


class BatchLoader(Generic[Question, Answer]):
    """Hands questions on together; the one who asked gets the answer to their own, or the error of them all.

    Args:
        ask: answers all questions, in their order.
        most: questions asked at once.
    """

    def __init__(self, ask: Callable[[Sequence[Question]], Awaitable[Sequence[Answer]]], most: int) -> None:
        self._ask = ask
        self._most = most
        self._waiting: list[tuple[Question, asyncio.Future[Answer]]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def get(self, question: Question) -> Answer:
        """The answer to one question."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, future))
        if len(self._waiting) == 1:
            self._start(_GATHER_S)
        elif len(self._waiting) >= self._most:
            self._start(0)
        return await future

    def _start(self, delay_s: float) -> None:
        task = asyncio.ensure_future(self._answer(delay_s))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        asked, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
        if not asked:
            return
        if self._waiting:
            self._start(0)
        try:
            answers = await self._ask([question for question, _ in asked])
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told to those who asked
            for _, future in asked:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), answer in zip(asked, answers, strict=True):
            if not future.done():
                future.set_result(answer)
