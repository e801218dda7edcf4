"""A settle that gets no answer says so once, tries again, and ends after a while."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from test_settler_polling import COMPLETE, RENDERING, FakeApi, client_of, plan, submit

from reelbatch.ledger import Ledger
from reelbatch.settle import Settler, SettleReason

AWAY = httpx.ConnectError("refused")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A results table of its own."""
    with Ledger(f"sqlite:///{tmp_path / 'results.db'}") as opened:
        yield opened


@pytest.mark.parametrize("wait", [True, False], ids=["stays", "looks once"])
async def test_a_settle_without_any_answer_ends_unreachable(
    ledger: Ledger, caplog: pytest.LogCaptureFixture, *, wait: bool
) -> None:
    """With the API's silence as the reason, one warning for all its videos, and every row as it was."""
    submit(ledger, *(f"r{n}" for n in range(8)))
    with caplog.at_level(logging.INFO, "reelbatch"):
        async with client_of(FakeApi(AWAY)) as client:
            stats = await Settler(ledger, client, plan(wait=wait, unreachable_after_s=0.2)).run()
    assert (stats.reason, stats.unsettled, stats.answers) == (SettleReason.UNREACHABLE, 8, 0)
    assert "refused" in str(stats.message)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "Trying again for 0.2 s" in caplog.text


async def test_a_settle_that_had_an_answer_waits_through_an_outage(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    """Videos take hours; an API that restarts meanwhile ends nothing. Both ends of the outage are in the log."""
    submit(ledger, "a")
    with caplog.at_level(logging.INFO, "reelbatch"):
        async with client_of(FakeApi(RENDERING, *[AWAY] * 4, COMPLETE)) as client:
            stats = await Settler(ledger, client, plan(unreachable_after_s=0.0001)).run()
    assert (stats.reason, stats.complete) == (SettleReason.DONE, 1)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


async def test_an_api_that_knows_no_such_video_has_answered(ledger: Ledger) -> None:
    """That it is there is known by then, and so is that the video is not."""
    submit(ledger, "a")
    async with client_of(FakeApi(404)) as client:
        stats = await Settler(ledger, client, plan(unreachable_after_s=0.0001)).run()
    assert (stats.reason, stats.unsettled) == (SettleReason.DONE, 1)
    assert not stats.is_unanswered
