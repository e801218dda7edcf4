"""What passes by some thousand at a time, and the memory that it takes."""

from __future__ import annotations

import pyarrow as pa
import pytest

from reelbatch.streams import memory_given_back


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
