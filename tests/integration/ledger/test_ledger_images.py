"""Local images that were replaced under their old names: what was paid for is another picture now."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
from acting import SPRING, begin, end, entry, keys, load, row, set_row, tell

from reelbatch.domain import Row, RowState
from reelbatch.ledger import Ledger, Origin, orders, utc_now
from reelbatch.ledger.admission import Asked
from reelbatch.ledger.attempts import Ending
from reelbatch.ledger.selection import Action, Regenerate


def photo(stat: str, key: str = "a") -> Row:
    """A row whose image was last seen like this."""
    return row(key, 1)._replace(image_stat=stat, image_bytes=2)


def shows(content: str) -> Origin:
    """A folder in which each image has these bytes."""
    return Origin(mark=lambda _: content)


@pytest.fixture
def paid(ledger: Ledger) -> Ledger:
    """A row whose image was sent as it was then."""
    load(ledger, [photo("2:100")], origin=shows("one"))
    worker = begin(ledger)
    intent = worker.intent(worker.claim()[0])
    asked = Asked(intent.row.request.content_sha256(["one"]), "one", "2:100", 2)
    worker.admit(replace(intent, asked=asked))
    tell(ledger, intent)
    return ledger


def action_of(ledger: Ledger, stat: str, content: str, regenerate: Regenerate = Regenerate.NONE) -> Action:
    """What becomes of the row."""
    (count,) = load(ledger, [photo(stat)], regenerate, origin=shows(content)).counts
    return count.action


def test_a_photo_that_was_replaced_makes_its_row_changed(paid: Ledger) -> None:
    """Reported, sent only when that is wanted, and then with the new picture."""
    assert action_of(paid, "2:200", "two") is Action.CHANGED
    assert begin(paid, "nightly").claim() == []
    set_row(paid, "a", state=RowState.COMPLETE)
    assert action_of(paid, "2:200", "two", Regenerate.CHANGED) is Action.SEND


def test_a_photo_that_was_only_touched_is_the_same(paid: Ledger) -> None:
    """It is hashed once; from then on its new time is known."""
    assert action_of(paid, "2:200", "one") is Action.SKIP
    assert entry(paid, "a")["image_stat"] == "2:200"
    assert action_of(paid, "2:200", "never looked at") is Action.SKIP


def test_a_photo_that_can_not_be_read_here_says_nothing(paid: Ledger) -> None:
    """Another machine may see it."""
    with paid.staged([[photo("2:200")]], SPRING, origin=Origin(mark=lambda _: None)) as staged:
        assert [count.action for count in staged.compare(SPRING).counts] == [Action.SKIP]


@pytest.mark.parametrize("state", [RowState.REJECTED, RowState.ERROR])
def test_a_failed_row_with_a_new_photo_is_sent(paid: Ledger, state: RowState) -> None:
    """The user corrected it."""
    set_row(paid, "a", state=state, video_id=None)
    assert action_of(paid, "2:200", "one") is Action.FAILED
    assert action_of(paid, "2:300", "two") is Action.SEND
    assert keys(begin(paid, "again").claim()) == ["a"]


def test_each_row_knows_where_its_own_image_is(ledger: Ledger) -> None:
    """A batch name that is used for another folder: rows that are gone keep theirs, the others go along."""
    load(ledger, [row("a", 1), row("b", 2)], origin=Origin("/jan", mark=str))
    load(ledger, [row("b", 1)], origin=Origin("/feb", mark=str))
    assert (entry(ledger, "a")["image_base"], entry(ledger, "b")["image_base"]) == ("/jan", "/feb")
    assert [taken.image_base for taken in begin(ledger).claim()] == ["/feb"]


def test_a_new_photo_of_one_row_sends_no_other(paid: Ledger) -> None:
    """A failed row beside it, whose photo is the old one, is left for `rerun`."""
    load(paid, [photo("2:100"), photo("2:100", "b")._replace(row_number=2)], origin=shows("one"))
    for key in "ab":
        set_row(paid, key, state=RowState.REJECTED, video_id=None, image_sha256="one")
    now = {"a.png": "two", "b.png": "one"}
    rows = [photo("2:300"), photo("2:200", "b")._replace(row_number=2)]
    counts = load(paid, rows, origin=Origin(mark=now.get)).counts
    assert sorted((count.action, count.rows) for count in counts) == [(Action.FAILED, 1), (Action.SEND, 1)]
    assert keys(begin(paid, "again").claim()) == ["a"]


def test_a_photo_that_was_replaced_stays_so_where_its_order_is_dropped(paid: Ledger) -> None:
    """The video that there is was made of the first one, however often the order was gone on with."""
    set_row(paid, "a", state=RowState.COMPLETE)
    for name in ("first", "second"):
        assert action_of(paid, "2:200", "two", Regenerate.CHANGED) is Action.SEND
        order = paid.read(partial(orders.open_order, batch=SPRING))
        worker = begin(paid, name, order=order.order_id)
        intent = worker.intent(worker.claim()[0])
        asked = Asked(intent.row.request.content_sha256(["two"]), "two", "2:200", 2)
        worker.admit(replace(intent, asked=asked))
        tell(paid, intent, Ending.HALTED, code="http_402", message="no credits")
        end(worker)
    paid.change(partial(orders.cancel, batch=SPRING, at=utc_now()))
    assert action_of(paid, "2:200", "two") is Action.CHANGED
