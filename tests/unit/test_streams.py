"""What passes by some thousand at a time, and the memory that it takes."""

from __future__ import annotations

import gc
import weakref

import pyarrow as pa
import pytest

from reelbatch.memory import memory_given_back, old_objects_spared


def test_arrows_memory_is_the_callers_own_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that uses Reelbatch finds Arrow's allocator as it left it, also after an error."""
    monkeypatch.delenv("ARROW_DEFAULT_MEMORY_POOL", raising=False)
    before = pa.default_memory_pool().backend_name
    with pytest.raises(ZeroDivisionError):
        name_allocator_and_fail()
    assert pa.default_memory_pool().backend_name == before


def name_allocator_and_fail() -> None:
    """Inside it is another one."""
    with memory_given_back():
        assert pa.default_memory_pool().backend_name in {"jemalloc", "system"}
        raise ZeroDivisionError


def test_an_allocator_that_the_user_has_chosen_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrow's own environment variable decides."""
    before = pa.default_memory_pool().backend_name
    monkeypatch.setenv("ARROW_DEFAULT_MEMORY_POOL", before)
    with memory_given_back():
        assert pa.default_memory_pool().backend_name == before


class _Ring:
    """A cycle, which only the collector takes away."""

    def __init__(self) -> None:
        self.itself = self


@pytest.mark.usefixtures("nothing_frozen")
def test_old_objects_are_spared_and_new_ones_are_not() -> None:
    """What was there is left alone until the end of the block; what came meanwhile is collected as ever."""
    old = weakref.ref(_Ring())
    with old_objects_spared():
        new = weakref.ref(_Ring())
        gc.collect()
        assert (old() is None, new() is None) == (False, True)
        with old_objects_spared():
            pass
        assert gc.get_freeze_count() > 0
    assert gc.get_freeze_count() == 0
    gc.collect()
    assert old() is None


@pytest.mark.usefixtures("nothing_frozen")
def test_what_the_user_has_frozen_stays_frozen() -> None:
    """A server that forks its workers freezes what they share."""
    gc.freeze()
    with old_objects_spared():
        pass
    assert gc.get_freeze_count() > 0
