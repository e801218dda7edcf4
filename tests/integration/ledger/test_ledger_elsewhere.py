"""Videos of other APIs and accounts in the same table: each counts where it belongs, with what follows it."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest
from acting import SPRING, begin, load, rows_of, set_row
from sqlalchemy import update

from reelbatch.domain import Batch, RowState
from reelbatch.ledger import Ledger, accounts, due, utc_now
from reelbatch.ledger.accounts import Payer
from reelbatch.ledger.schema import batches
from reelbatch.pipeline.settle import left_elsewhere
from reelbatch.typed_options import noting

AUTUMN = Batch("autumn")


def submitted(ledger: Ledger, batch: Batch, api: str, *keys: str) -> None:
    """Rows of a batch that `api` has made videos for."""
    load(ledger, rows_of(*keys), batch=batch)
    worker = begin(ledger, f"run of {batch}", batch=batch)
    for row in worker.claim():
        worker.send(row)
    there = update(batches).where(batches.c.batch == batch).values(api=api)
    ledger.change(lambda connection: connection.execute(there))


def test_unfinished_videos_of_other_apis_are_counted(ledger: Ledger) -> None:
    """With the option for each API; finished ones, and those that their API does not know of, do not count."""
    submitted(ledger, SPRING, "local", "a", "b", "c", "d")
    submitted(ledger, AUTUMN, "api.example.com", "e")
    set_row(ledger, "c", state=RowState.COMPLETE)
    set_row(ledger, "d", error_code="http_404")
    left = partial(left_elsewhere, ledger)
    of_autumn, of_spring = (
        "1 of api.example.com (use --base-url https://api.example.com,",
        "2 of local (use --base-url with its address on this machine,",
    )
    with noting():  # as on the command line
        assert [part in str(left("api.magichour.ai")) for part in (of_autumn, of_spring)] == [True, True]
        assert [part in str(left("local")) for part in (of_autumn, of_spring)] == [True, False]


def test_a_video_that_the_api_does_not_know_yet_keeps_its_place(ledger: Ledger) -> None:
    """Right after its create a GET may say 404, while it renders: it counts until the wait for it is over."""
    submitted(ledger, SPRING, "local", "a", "b", "c")
    an_hour = timedelta(hours=1)
    set_row(ledger, "a", error_code="http_404", waited_until=utc_now() + an_hour)
    set_row(ledger, "b", error_code="http_404", waited_until=utc_now() - an_hour)
    assert ledger.read(partial(accounts.unfinished, payer=accounts.Payer("local"))) == 2


def test_a_table_of_one_api_leaves_nothing_to_say(ledger: Ledger) -> None:
    """No line where all videos belong to the API that is asked."""
    submitted(ledger, SPRING, "local", "a")
    assert left_elsewhere(ledger, "local") is None


X, Y = Payer("local", "acc-x", "key-x"), Payer("local", "acc-y", "key-y")
STRANGER = Payer("local", None, "key-z")  # the API does not say whose key it is
BOUND = {"of-x": ("acc-x", "key-x"), "of-y": ("acc-y", "key-y"), "by-key-x": (None, "key-x"), "old": (None, None)}


def bound(ledger: Ledger) -> None:
    """One video in each of four batches, which are bound to accounts, to a key, and to nothing."""
    for name, (account, key_hash) in BOUND.items():
        submitted(ledger, Batch(name), "local", name)
        own = update(batches).where(batches.c.batch == name).values(account=account, key_hash=key_hash)
        ledger.change(lambda connection, own=own: connection.execute(own))


@pytest.mark.parametrize(
    ("payer", "own"),
    [(X, ["by-key-x", "of-x", "old"]), (Y, ["of-y", "old"]), (STRANGER, ["old"]), (Payer("local"), sorted(BOUND))],
)
def test_an_account_s_videos_are_its_own(ledger: Ledger, payer: Payer, own: list[str]) -> None:
    """They are followed and counted with its own key alone; what no one knows the owner of counts for each."""
    bound(ledger)
    assert ledger.read(partial(due.batches_of, payer=payer)) == own
    assert ledger.read(partial(accounts.unfinished, payer=payer)) == len(own)
    others = {name: 1 for name in sorted(BOUND) if name not in own}
    assert ledger.read(partial(accounts.unfinished_of_others, payer=payer)) == others
    for batch in BOUND:
        set_row(ledger, batch, batch=Batch(batch), state=RowState.SENDING)
    assert ledger.read(partial(accounts.leaving, payer=payer)) == len(own)


@pytest.mark.parametrize(("payer", "own"), [(X, {"of-x", "by-key-x"}), (Y, {"of-y"}), (STRANGER, set())])
def test_only_an_account_s_own_batches_are_surely_known_to_it(ledger: Ledger, payer: Payer, own: set[str]) -> None:
    """The API's word that there is no such video counts for these."""
    bound(ledger)
    found = {name: ledger.read(partial(accounts.payer_of, batch=Batch(name))) for name in BOUND}
    assert {name for name, who in found.items() if who is not None and payer.surely_paid(who)} == own
