"""Rows that a run can't send use up neither its limit nor the yes that it was given; more than those never go."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import pandas as pd
import pytest
from bench import PRICE, URL, Answer, Bench, draw, scripted

from reelbatch.ledger import Ledger
from reelbatch.pipeline.run_context import RunContext
from reelbatch.pipeline.run_listener import Agreement

ROWS = 6
LOST = 3
"""The first of them, which can't be sent."""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """An API that takes every create; its storage takes no image that `lost` has drawn."""
    with scripted(lambda _: Answer()) as api:
        bad = [draw(tmp_path / f"{shade}.png", shade).read_bytes() for shade in range(LOST)]
        api.stored = lambda content: 500 if content in bad else 200
        yield Bench(tmp_path, api.url)


def lost(bench: Bench, **columns: object) -> pd.DataFrame:
    """A manifest whose first rows have images of their own, the others an address."""
    images = [*(str(bench.folder / f"{shade}.png") for shade in range(LOST)), *[URL] * (ROWS - LOST)]
    return bench.rows(ROWS, image_path=images, prompt=[f"Pan {n}" for n in range(ROWS)], **columns)


def not_uploaded(_: Bench) -> None:
    """The storage does not take them."""


def unseen(bench: Bench) -> None:
    """They are gone when they are to be uploaded; another machine may see them."""
    for shade in range(LOST):
        (bench.folder / f"{shade}.png").unlink()


def no_images(bench: Bench) -> None:
    """They are something else by then."""
    for shade in range(LOST):
        (bench.folder / f"{shade}.png").write_text("no image")


@pytest.mark.parametrize("left", [not_uploaded, unseen, no_images])
@pytest.mark.parametrize("limit", [1, 2, ROWS])
async def test_a_row_that_can_not_be_sent_uses_up_no_limit(
    bench: Bench, left: Callable[[Bench], None], limit: int
) -> None:
    """Another goes in its place, whatever is wrong with it, until there is none; never one too many."""
    with Ledger(bench.results) as ledger:
        report = await bench.run(ledger, lost(bench), lambda _: left(bench), limit=limit, retry_attempts=1)
    sent = min(limit, ROWS - LOST)
    assert (report.sent, len([row for row in bench.table() if row["state"] == "queued"])) == (sent, sent)
    assert (report.exit_reason, report.exit_code) == ("done", 1)


@pytest.mark.parametrize(
    ("seconds", "sent"),
    [([2, 2, 2, 2, 2, 2], 2), ([2, 2, 2, 10, 2, 2], 2), ([2, 2, 2, 10, 10, 2], 1), ([2, 2, 2, 10, 10, 10], 0)],
)
async def test_a_dearer_row_in_the_place_of_one_that_is_not_sent_is_passed_over(
    bench: Bench, seconds: list[int], sent: int
) -> None:
    """The yes was to two cheap rows. Nothing has changed since, so the run goes on with what it covers."""

    def agree(context: RunContext) -> None:
        context.state.agreement = Agreement(rows=2, credits_estimated=2 * PRICE, unknown_rate=0)
        unseen(bench)

    with Ledger(bench.results) as ledger:
        report = await bench.run(ledger, lost(bench, end_seconds=seconds), agree, limit=2)
    assert (report.sent, report.credits_charged) == (sent, sent * PRICE)
    ends = ("done", 1) if sent else ("none_sent", 3)
    assert (report.exit_reason, report.exit_code) == ends
    assert report.unsent == {"image_unseen": LOST}


async def test_a_row_that_is_paid_for_meanwhile_uses_up_no_limit(bench: Bench) -> None:
    """It is held in the moment in which it was to leave, and the next one goes."""
    rows = bench.rows(4, prompt=[f"Pan {n}" for n in range(4)])
    other = Bench(bench.folder, bench.url, batch="other")

    def pay(_: RunContext) -> None:
        elsewhere = Thread(target=lambda: other.generate(rows.head(2)))
        elsewhere.start()
        elsewhere.join()

    with Ledger(bench.results) as ledger:
        report = await bench.run(ledger, rows, pay, limit=2)
    assert (report.sent, report.held_rows, bench.states()) == (2, 2, {"queued": 2, "pending": 2})
