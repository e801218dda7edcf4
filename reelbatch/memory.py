"""The garbage collector, and Arrow's memory, while many rows pass by."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager


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
