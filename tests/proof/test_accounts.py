"""The judge of the benchmarks' headline: what it must find in a table beside the API's books."""

from __future__ import annotations

from typing import Any

import pytest

from proof.accounts import audit

Line = dict[str, Any]


def row(key: str = "R1", **more: Any) -> Line:
    """A finished row of the table."""
    paid = {"credits_charged": 120, "credits_final": 120, "error_code": None}
    return {"row_key": key, "state": "complete", "video_id": f"v-{key}", "token": f"t-{key}", **paid, **more}


def charge(key: str = "R1", attempt: str = "t", **more: Any) -> Line:
    """What the books have of it."""
    return {"row": key, "token": f"{attempt}-{key}", "video_id": f"v-{key}", "credits": 120, "final": 120, **more}


def found(rows: list[Line], charges: list[Line]) -> dict[str, int]:
    """What is not as it should be."""
    net = sum(each["credits"] if each["final"] is None else each["final"] for each in charges)
    counts = audit(rows, {"charges": charges, "net": net})
    bad = ("charged_twice", "ids_lost", "differing", "unfinished", "credits_unexplained")
    return {name: counts[name] for name in bad if counts[name]}


DOUBTFUL = row(state="in_doubt", video_id=None, credits_charged=None, credits_final=None, error_code="timeout")
WAITING = row(state="pending", video_id=None, token=None, credits_charged=None, credits_final=None)


@pytest.mark.parametrize(
    ("rows", "charges"),
    [
        pytest.param([row(), row("R2")], [charge(), charge("R2")], id="paid for"),
        pytest.param([DOUBTFUL], [charge()], id="in doubt, and charged"),
        pytest.param([DOUBTFUL], [], id="in doubt, and not charged"),
        pytest.param(
            [row(state="error", credits_charged=None, credits_final=0)], [charge(final=0)], id="known by its refund"
        ),
    ],
)
def test_what_is_in_order_is_not_blamed(rows: list[Line], charges: list[Line]) -> None:
    """Table and books agree, or what is in doubt explains the rest."""
    assert found(rows, charges) == {}


@pytest.mark.parametrize(
    ("rows", "charges", "said"),
    [
        pytest.param([row()], [charge(), charge(attempt="t0", video_id="v0")], "charged_twice", id="charged twice"),
        pytest.param([row()], [charge(), charge("R2")], "ids_lost", id="a row that the table does not have"),
        pytest.param([WAITING], [charge()], "ids_lost", id="an id lost"),
        pytest.param([DOUBTFUL], [charge(attempt="t0")], "ids_lost", id="another attempt is in doubt"),
        pytest.param([WAITING], [], "unfinished", id="never sent"),
        pytest.param([row(state="sending", video_id=None, credits_final=None)], [], "unfinished", id="stuck"),
        pytest.param([row(state="queued", credits_final=None)], [charge(final=None)], "unfinished", id="not settled"),
        pytest.param([row(credits_charged=100)], [charge()], "differing", id="other credits"),
        pytest.param([row(credits_charged=None)], [charge()], "differing", id="no credits"),
        pytest.param([row(credits_final=60)], [charge()], "credits_unexplained", id="another final figure"),
        pytest.param([row()], [], "differing", id="an id from nowhere"),
    ],
)
def test_what_is_wrong_is_found(rows: list[Line], charges: list[Line], said: str) -> None:
    """Each by its name."""
    assert said in found(rows, charges)
