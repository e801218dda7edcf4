"""Videos of other APIs in the same table: counted by API, with what follows them."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from acting import SPRING, begin, load, rows_of, set_row
from sqlalchemy import update

from reelbatch.domain import Batch, RowState
from reelbatch.ledger import Ledger, accounts, utc_now
from reelbatch.ledger.schema import batches
from reelbatch.pipeline.settle import left_elsewhere

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
    assert [part in str(left("api.magichour.ai")) for part in (of_autumn, of_spring)] == [True, True]
    assert [part in str(left("local")) for part in (of_autumn, of_spring)] == [True, False]


def test_a_video_that_the_api_does_not_know_yet_keeps_its_place(ledger: Ledger) -> None:
    """Right after its create a GET may say 404, while it renders: it counts until the wait for it is over."""
    submitted(ledger, SPRING, "local", "a", "b", "c")
    an_hour = timedelta(hours=1)
    set_row(ledger, "a", error_code="http_404", waited_until=utc_now() + an_hour)
    set_row(ledger, "b", error_code="http_404", waited_until=utc_now() - an_hour)
    assert ledger.read(partial(accounts.unfinished, api="local")) == 2


def test_a_table_of_one_api_leaves_nothing_to_say(ledger: Ledger) -> None:
    """No line where all videos belong to the API that is asked."""
    submitted(ledger, SPRING, "local", "a")
    assert left_elsewhere(ledger, "local") is None
