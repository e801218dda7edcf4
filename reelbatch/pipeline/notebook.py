"""Runs inside of a notebook: beside its own event loop, with a line that shows how far they are."""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol, TypeVar

from reelbatch.pipeline.progress_text import progress_text
from reelbatch.pipeline.run_context import RunContext
from reelbatch.pipeline.run_listener import RunListener, listening
from reelbatch.settle import Settler

Answer = TypeVar("Answer")

_REFRESH_S = 0.5


class Display(Protocol):
    """One output of a cell, which is replaced and never added to."""

    def update(self, obj: Any, **options: Any) -> None:
        """Show `obj` in its place."""


def run(work: Coroutine[Any, Any, Answer]) -> Answer:
    """Run to the end; in a notebook, whose own event loop is running already, in a thread."""
    if not _in_a_loop():
        return asyncio.run(_shown(work))
    with ThreadPoolExecutor(1) as thread:
        return _stoppable(thread, _shown(work))


def _in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _stoppable(thread: ThreadPoolExecutor, work: Coroutine[Any, Any, Answer]) -> Answer:
    """The answer of `work`; an interrupt, which only the main thread receives, stops it gently there too."""
    under_way: Future[Callable[[], object]] = Future()

    async def cancellable() -> Answer:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task is not None  # noqa: S101 - this is one
        under_way.set_result(lambda: loop.call_soon_threadsafe(task.cancel))
        return await work

    # In the cell's context, by which Jupyter knows where an output belongs.
    answer: Future[Answer] = thread.submit(contextvars.copy_context().run, asyncio.run, cancellable())
    try:
        return answer.result()
    except KeyboardInterrupt:
        with suppress(RuntimeError):  # it has just ended
            under_way.result()()
        raise


async def _shown(work: Coroutine[Any, Any, Answer]) -> Answer:
    """Run `work`, with a line of progress where there is a notebook to show it."""
    show = _display()
    if show is None:
        return await work
    async with NotebookProgress(show).watching():
        return await work


def _display() -> Callable[[str], Display] | None:
    """How a notebook is given an output; None: this is none. IPython is not imported to find out."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if not hasattr(shell, "kernel"):
        return None
    display = sys.modules["IPython.display"].display
    return lambda text: display(_as_text(text), raw=True, display_id=True)


def _as_text(text: str) -> dict[str, str]:
    return {"text/plain": text}


class NotebookProgress(RunListener):
    """One output that says how far the run is, at most twice a second, and only where that has changed."""

    def __init__(self, show: Callable[[str], Display]) -> None:
        self._show = show
        self._output: Display | None = None
        self._context: RunContext | None = None
        self._settler: Settler | None = None
        self._said = ""

    def started(self, context: RunContext) -> None:
        """There is a run to show."""
        self._context = context

    def settling(self, settler: Settler) -> None:
        """There are videos to show."""
        self._settler = settler

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Show progress until the block ends; the last line stays."""
        token = listening.set(self)
        showing = asyncio.create_task(self._keep_showing())
        try:
            yield
        finally:
            showing.cancel()
            await asyncio.gather(showing, return_exceptions=True)
            listening.reset(token)
            self._update()

    async def _keep_showing(self) -> None:
        while True:
            await asyncio.sleep(_REFRESH_S)
            self._update()

    def _update(self) -> None:
        text = progress_text(self._context, self._settler)
        if not text or text == self._said:
            return
        self._said = text
        # What can't be shown, since the notebook has gone away, is no reason to end a run.
        with suppress(Exception):
            if self._output is None:
                self._output = self._show(text)
            else:
                self._output.update(_as_text(text), raw=True)
