"""A figure in an answer is read in one way, wherever it stands."""

import json
from typing import Any

import pytest

from reelbatch.client import outcome, payloads
from reelbatch.domain.money import LARGEST, MISSING, figure

WHOLE = [(0, 0), (240, 240), (240.0, 240), ("450", 450), (" 450 ", 450), (LARGEST, LARGEST)]
BELIEVED = [*WHOLE, (240.5, 241), ("0.01", 1)]
ODD = [
    (None, MISSING),
    ("many", "many is no number"),
    ("", " is no number"),
    (True, "True is no number"),
    ([240], "[240] is no number"),
    (float("nan"), "nan is no number"),
    (float("inf"), "inf is no number"),
    (-240, "-240 is negative"),
    (-0.5, "-0.5 is negative"),
    (LARGEST + 1, "10000001 is above 10,000,000"),
    (LARGEST + 0.5, "10000000.5 is above 10,000,000"),
    (10**400, f"{'1' + 59 * '0'} is above 10,000,000"),
    ("\x00\ud800", "\\ud800 is no number"),
]


@pytest.mark.parametrize(("said", "credits_"), BELIEVED)
def test_what_is_believed(said: Any, credits_: int) -> None:
    """Numbers count as they are, and a fraction as the next credit."""
    assert figure(said) == (credits_, None)


@pytest.mark.parametrize(("said", "why"), ODD)
def test_what_is_not_believed(said: Any, why: str) -> None:
    """Anything else counts as the estimate, and why is said in words that every table can keep."""
    assert figure(said) == (None, why)


def test_a_figure_that_python_does_not_write_out() -> None:
    """Endless digits cost us nothing, neither the id nor the reason."""
    assert figure(10**5000) == (None, "a number of very many digits is above 10,000,000")


@pytest.mark.parametrize("said", [240, 240.5, -240, "many", 3_000_000_000, None])
def test_creates_and_questions_read_alike(said: Any) -> None:
    """What a create's answer says and what a GET says of the same figure is one thing."""
    body = json.dumps({"id": "vid-1", "credits_charged": said}).encode()
    created = outcome.classify(outcome.Exchange(status=200, body=body))
    seen = payloads.video({"id": "vid-1", "status": "complete", "credits_charged": said})
    assert (created.credits_charged, created.odd_charge) == figure(said)
    assert (seen.credits_charged, seen.odd_charge) == figure(said)
