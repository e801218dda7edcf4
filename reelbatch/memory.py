"""Millions of rows passing by, some thousand at a time."""

from __future__ import annotations

import gc
import os
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from typing import TypeVar

Item = TypeVar("Item")


def one_ahead(items: Iterable[Item]) -> Generator[Item, None, None]:
    """The items, the next of which is fetched by another thread meanwhile."""
    source = iter(items)
    closes = closing(source) if isinstance(source, Generator) else nullcontext()
    with closes, ThreadPoolExecutor(1, "reelbatch-ahead") as thread:  # closed when the thread has ended
        coming = thread.submit(next, source, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, source, None)
            yield item


@contextmanager
def no_collection() -> Iterator[None]:
    """Many new objects without a cycle among them: looking for cycles would take as long as making them."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def old_objects_spared() -> Iterator[None]:
    """The collector leaves alone what is there already.

    Looking through all that Prefect has loaded takes a fifth of a second, during which no answer is read. What the
    user has frozen stays frozen.
    """
    if gc.get_freeze_count():
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def memory_given_back() -> Iterator[None]:
    """Arrow takes its buffers from an allocator that soon gives them back, unless the user has chosen one.

    The one it takes by itself, mimalloc, keeps tens of megabytes for the next buffers.
    """
    import pyarrow as pa

    before = pa.default_memory_pool()
    if "ARROW_DEFAULT_MEMORY_POOL" not in os.environ:
        has_jemalloc = "jemalloc" in pa.supported_memory_backends()
        pa.set_memory_pool(pa.jemalloc_memory_pool() if has_jemalloc else pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)
