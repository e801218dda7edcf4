"""How far a cap, a budget or a balance reaches over the rows that are to be sent."""

from __future__ import annotations

import random

import pytest

from reelbatch.pipeline.reach import Reach, reach


@pytest.mark.parametrize(
    ("room", "rows", "credits_", "said"),
    [
        (81_200, 812, 81_200, "covers all 812 rows"),
        (64_050, 640, 64_000, "covers 640 of 812 rows"),
        (99, 0, 0, "covers 0 of 812 rows"),
        (-5, 0, 0, "covers 0 of 812 rows"),
    ],
)
def test_room_is_counted_in_whole_rows(room: int, rows: int, credits_: int, said: str) -> None:
    """A row that is paid for in part is not covered; a room that is overdrawn covers nothing."""
    found = reach([(100, 812)], room)
    assert (found.rows, found.of, found.credits, str(found)) == (rows, 812, credits_, said)


def test_a_cap_passes_over_what_does_not_fit_and_a_balance_ends_there() -> None:
    """Rows are taken in the order in which they are sent; only where the API does not end the run, later ones too."""
    costs = [(300, 2), (900, 1), (100, 3)]
    assert reach(costs, 850) == Reach(rows=4, of=6, credits=800)
    assert reach(costs, 850, passes_over=False) == Reach(rows=2, of=6, credits=600)


def test_rows_of_unknown_rate_are_neither_covered_nor_in_the_way() -> None:
    """They are counted and said, since what they take of the room is not known."""
    found = reach([(None, 2), (100, 3)], 300)
    assert found == Reach(rows=3, of=5, credits=300, unknown=2)
    assert not found.is_enough
    assert str(found) == "covers 3 of 5 rows (2 of unknown price)"


@pytest.mark.parametrize(
    ("costs", "said"), [([(0, 3)], "covers all 3 rows"), ([(5, 1)], "covers the row"), ([], "covers all 0 rows")]
)
def test_what_is_covered_whole_is_said_so(costs: list[tuple[int | None, int]], said: str) -> None:
    """Free rows fit into any room."""
    assert str(reach(costs, 5)) == said


@pytest.mark.parametrize("passes_over", [True, False])
@pytest.mark.parametrize("seed", range(20))
def test_rows_that_stand_together_count_as_if_they_came_one_by_one(seed: int, *, passes_over: bool) -> None:
    """Grouping them is faster, and says the same."""
    chance = random.Random(seed)
    groups = [(chance.choice([None, 0, 48, 240, 720]), chance.randint(1, 9)) for _ in range(20)]
    singly = [(credits_, 1) for credits_, count in groups for _ in range(count)]
    room = chance.randint(0, 20_000)
    assert reach(groups, room, passes_over=passes_over) == reach(iter(singly), room, passes_over=passes_over)
