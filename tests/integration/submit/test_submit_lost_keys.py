"""A batch that was sent while the API named no account, and whose key is gone: its account's next key goes on."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from bench import PRICE, Answer, Bench, ScriptedApi, scripted

import reelbatch
from reelbatch.domain import Batch
from reelbatch.errors import LedgerUnusable
from reelbatch.ledger import Ledger, accounts


@pytest.fixture
def api() -> Iterator[ScriptedApi]:
    """An API that takes everything."""
    with scripted(lambda _: Answer()) as taking:
        yield taking


@pytest.fixture
def bench(tmp_path: Path, api: ScriptedApi) -> Bench:
    """Two videos that render, made with a key of which no one knows whose it was; it is gone now."""
    bench = Bench(tmp_path, api.url, key="old", batch="spring")
    assert bench.generate(bench.rows(2)).submitted == 2
    bench.key = "new"
    return bench


def knows(api: ScriptedApi, name: str | None = None) -> None:
    """The API knows the videos by the new key, under their own names or another one."""
    names = {video_id: own for own, video_id in api.ids.items()}
    done = {"status": "complete", "credits_charged": PRICE}
    api.known = lambda video_id: Answer(200, {**done, "id": video_id, "name": name or names[video_id]})


def settle(bench: Bench) -> reelbatch.SettleReport:
    """As from a script, with the batch named."""
    return reelbatch.settle(bench.batch, **bench.settings())


@pytest.mark.parametrize("account", [None, "shop"])
def test_a_key_by_which_the_api_knows_its_videos_is_one_of_its_account(
    bench: Bench, api: ScriptedApi, account: str | None
) -> None:
    """The batch is followed, and from then on any command takes the new key."""
    api.accounts = {} if account is None else {"new": account}
    with pytest.raises(LedgerUnusable, match="`reelbatch settle --batch spring` asks about one of its videos"):
        bench.generate(bench.rows(3))
    knows(api)
    assert settle(bench).complete == 2
    with Ledger(bench.results) as ledger:
        bound = ledger.read(partial(accounts.payer_of, batch=Batch("spring")))
    assert bound is not None
    assert bound.account == account
    assert bench.generate(bench.rows(3)).submitted == 1


@pytest.mark.parametrize("name", [None, "a video of someone else"])
def test_another_accounts_key_does_not_take_it(bench: Bench, api: ScriptedApi, name: str | None) -> None:
    """By it the API does not know the videos, or not under the names that they were made with."""
    if name is not None:
        knows(api, name)
    with pytest.raises(LedgerUnusable, match="knows none of the batch's last videos"):
        settle(bench)
    with pytest.raises(LedgerUnusable, match="was sent with another key"):
        bench.generate(bench.rows(3))


@pytest.mark.parametrize(("status", "reason"), [(503, "unreachable"), (429, "unreachable"), (401, "bad_key")])
def test_an_api_that_can_not_be_asked_is_not_taken_for_one_that_knows_nothing(
    bench: Bench, api: ScriptedApi, status: int, reason: str
) -> None:
    """Whose account it is stays open: the settle ends as one without an answer does, and the same command goes on."""
    api.known = lambda video_id: Answer(404 if video_id.endswith("1") else status)
    report = settle(bench)
    assert report.exit_code == 3
    assert report.reason == reason
    assert f"status {status}" in (report.message or "")
    knows(api)
    assert settle(bench).complete == 2
