"""Looking on while something runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from reelbatch.sandbox import RunningSandbox


@contextmanager
def unfinished_watched(api: RunningSandbox) -> Iterator[list[int]]:
    """How many videos are queued or rendering, fifty times a second until the block ends."""
    seen: list[int] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            charges = api.books()["charges"]
            seen.append(sum(charge["status"] in {"queued", "rendering"} for charge in charges))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        done.set()
        watcher.join()
