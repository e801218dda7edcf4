"""The pictures of the documentation show what the core does."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from reelbatch.domain.states import TRANSITIONS, RowState

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
_SPEC = importlib.util.spec_from_file_location("draw", PICTURES / "draw.py")
assert _SPEC
assert _SPEC.loader
draw = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(draw)


@pytest.mark.parametrize("name", draw.PICTURES)
def test_a_picture_is_as_it_would_be_drawn_now(name: str) -> None:
    """`python docs/pictures/draw.py` draws them again."""
    assert (PICTURES / name).read_text(encoding="utf-8") == draw.PICTURES[name]()


def test_the_state_diagram_has_every_state_and_every_move() -> None:
    """As TRANSITIONS says, no more and no less."""
    picture = (PICTURES / "states.svg").read_text(encoding="utf-8")
    moves = {f"{start} → {end}" for start, ends in TRANSITIONS.items() for end in ends}
    assert set(re.findall(r"<title>(.*?)</title>", picture)) == moves
    assert {state.value for state in RowState} <= set(re.findall(r">([a-z_]+)</text>", picture))
