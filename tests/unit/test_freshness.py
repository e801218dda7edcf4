"""How long after its intent a request may leave."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from reelbatch.settings import Settings
from reelbatch.submit.freshness import Freshness, Readings, read_clocks


def is_over(lease_s: float, then: Readings, now: Readings) -> bool:
    """Whether an intent of `then` is too old `now`."""
    readings = iter([then, now])
    freshness = Freshness(lease_s, lambda: next(readings))
    return freshness.is_over(freshness.now())


@pytest.mark.parametrize(("lease_s", "limit_s"), [(60, 20.0), (600, 20.0), (6, 2.0), (1, 1 / 3)])
def test_an_intent_is_fresh_for_a_third_of_a_lease_and_20_s_at_most(lease_s: float, limit_s: float) -> None:
    """So it never leaves when others may have taken its worker for dead."""
    assert not is_over(lease_s, (5.0,), (5.0 + 0.99 * limit_s,))
    assert is_over(lease_s, (5.0,), (5.0 + 1.01 * limit_s,))


@pytest.mark.parametrize("asleep", [0, 1, 2])
def test_the_clock_that_says_the_most_counts(asleep: int) -> None:
    """In suspend the monotonic clock stands still, the wall's may be set back: one that knows is enough."""
    now = [5.0, 7.0 - 28_800.0, 5.0]
    now[asleep] = 10_000.0
    assert is_over(60, (5.0, 7.0, 5.0), tuple(now))


def test_a_wall_clock_that_is_set_back_makes_nothing_old() -> None:
    """Nor does it make anything fresh: the others go on."""
    assert not is_over(60, (5.0, 5.0, 100_000.0), (6.0, 6.0, 71_200.0))
    assert is_over(60, (5.0, 5.0, 100_000.0), (26.0, 26.0, 71_200.0))


def test_this_machine_s_clocks_go_on() -> None:
    """Each of them says no less a moment later."""
    before, after = read_clocks(), read_clocks()
    assert len(before) in {2, 3}
    assert all(later >= earlier for earlier, later in zip(before[:-1], after[:-1], strict=True))


@pytest.mark.parametrize("stated", [0, 0.5, -1])
def test_a_lease_is_a_second_at_least(stated: float) -> None:
    """Heartbeats and the age of an intent scale with it, but no machine keeps to milliseconds."""
    with pytest.raises(ValidationError, match="lease_s"):
        Settings(lease_s=stated)
