"""What a manifest would send, in the order in which it is sent; and how long such videos took so far."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial

import pytest
from acting import ESTIMATE, HERE, SPRING, begin, load, row, rows_of, set_row

from reelbatch.domain import Request, Row, RowState, RunId, VideoId
from reelbatch.ledger import Ledger, StagedManifest, orders, reruns, samples, settlements, utc_now, waiting_rows
from reelbatch.ledger.due import Rendered
from reelbatch.ledger.observed_prices import Room
from reelbatch.ledger.render_times import render_times
from reelbatch.ledger.reruns import Selection
from reelbatch.ledger.samples import SampleCost
from reelbatch.ledger.selection import Regenerate, RepeatPolicy, Scope, SendOptions
from reelbatch.ledger.settlements import Final

PRICES = (48, 48, 240, None, 48)


def manifest() -> list[Row]:
    """Rows a to e, each at its price."""
    named = enumerate(zip("abcde", PRICES, strict=True), start=1)
    return [row(key, number, credits_estimated=price) for number, (key, price) in named]


@contextmanager
def staged(ledger: Ledger, rows: list[Row], limit: int | None = None) -> Iterator[StagedManifest]:
    """A manifest that was compared."""
    with ledger.staged([rows], SPRING, SendOptions(limit=limit), HERE) as opened:
        opened.compare(SPRING)
        yield opened


def sent_first(opened: StagedManifest) -> list[str]:
    """The keys of the first three."""
    return [key for key, _ in opened.first_to_send(SPRING, 3)]


def sample_cost(opened: StagedManifest) -> SampleCost:
    """What is announced of a pilot."""
    sample = opened.sample(SPRING)
    assert sample is not None
    return SampleCost.of([count.price for count in sample])


def test_prices_come_in_the_order_in_which_rows_are_sent(ledger: Ledger) -> None:
    """Rows that follow each other at one price together; a limit ends them."""
    for _ in ("a new batch", "rows that the table has already"):
        with staged(ledger, manifest()) as opened:
            assert list(opened.prices(SPRING)) == [(48, 2), (240, 1), (None, 1), (48, 1)]
        with staged(ledger, manifest(), limit=3) as opened:
            assert list(opened.prices(SPRING)) == [(48, 2), (240, 1)]
        load(ledger, manifest())


@pytest.mark.parametrize(
    ("room", "limit", "sent"),
    [
        (6, 2, [(4, 1), (2, 1)]),  # the second finds no room beside the first
        (8, 2, [(4, 2)]),
        (0, 2, [(4, 2)]),
        (3, 2, [(2, 1), (4, 1)]),  # one that does not go is named after the one that does
        (6, 3, [(4, 1), (2, 1), (4, 1)]),
        (100, 4, [(4, 2), (2, 1), (4, 1)]),  # the row of unknown cost comes last
    ],
)
def test_rows_that_do_not_fit_what_is_left_come_last(
    ledger: Ledger, room: int, limit: int, sent: list[tuple[int, int]]
) -> None:
    """As a run sends them: smaller ones in place of one that finds no room."""
    prices = (4, 4, 2, None, 4)
    rows = [row(f"r{number}", number, credits_estimated=price) for number, price in enumerate(prices, start=1)]
    for _ in ("a new batch", "rows that the table has already"):
        with ledger.staged([rows], SPRING, SendOptions(limit=limit), HERE) as opened:
            counted = opened.compare(SPRING, Room(room))
            assert list(opened.prices(SPRING)) == sent
            assert sum(count.credits_estimated for count in counted.sends) == sum(price * of for price, of in sent)
        load(ledger, rows)
        scope = Scope(SPRING, RunId("run-1"))
        found = ledger.read(partial(waiting_rows.prices, scope=scope, limit=limit, room=Room(room)))
        assert sum(price * of for _, price, of in found if price) == sum(price * of for price, of in sent)


def test_rows_that_wait_and_rows_that_are_new_are_one_order(ledger: Ledger) -> None:
    """What has its video is passed over."""
    load(ledger, manifest()[:4])
    for key in "bd":
        set_row(ledger, key, state="complete", video_id=f"v-{key}")
    with staged(ledger, manifest()) as opened:
        assert list(opened.prices(SPRING)) == [(48, 1), (240, 1), (48, 1)]
        assert sent_first(opened) == ["a", "c", "e"]


@pytest.mark.parametrize("limit", [0, 1, 2])
def test_the_first_requests_of_a_run_with_a_limit_end_at_it(ledger: Ledger, limit: int) -> None:
    """What the run leaves to the next one is none of its requests."""
    for _ in ("a new batch", "rows that the table has already"):
        with staged(ledger, manifest(), limit) as opened:
            assert sent_first(opened) == list("abcde")[:limit]
        load(ledger, manifest())


@pytest.mark.parametrize("pilot", range(1, 6))
def test_the_first_requests_of_a_pilot_are_those_of_its_sample(ledger: Ledger, pilot: int) -> None:
    """In their order, without those that were sent; before and after the manifest is in the table."""
    with ledger.staged([manifest()], SPRING, SendOptions(pilot=pilot), HERE) as opened:
        opened.compare(SPRING)
        announced = sent_first(opened)
    load(ledger, manifest())
    drawn = ledger.read(partial(samples.sample, scope=Scope(SPRING, RunId("")), rows=pilot))
    assert announced == list(drawn[:3])
    set_row(ledger, drawn[0], state="complete", video_id="v")
    with ledger.staged([manifest()], SPRING, SendOptions(pilot=pilot), HERE) as opened:
        opened.compare(SPRING)
        assert sent_first(opened) == list(drawn[1:4])


def test_a_sample_costs_what_of_it_was_not_sent(ledger: Ledger) -> None:
    """Before and after the manifest is in the table, it is the sample that a run draws; `unknown` has no price."""
    scope = Scope(SPRING, RunId(""))
    for _ in ("a new batch", "rows that the table has already"):
        with ledger.staged([manifest()], SPRING, SendOptions(pilot=5), HERE) as opened:
            opened.compare(SPRING)
            assert sample_cost(opened) == (5, 384, 1)
            assert list(opened.prices(SPRING)) == [(48, 2), (240, 1), (None, 1), (48, 1)]
        load(ledger, manifest())
    drawn = ledger.read(partial(samples.sample, scope=scope, rows=2))
    first, second = drawn
    set_row(ledger, first, state="complete", video_id="v")
    price = PRICES["abcde".index(second)]
    with ledger.staged([manifest()], SPRING, SendOptions(pilot=2), HERE) as opened:
        opened.compare(SPRING)
        assert sample_cost(opened) == (1, price or 0, int(price is None))
        assert list(opened.prices(SPRING)) == [(price, 1)]
    assert ledger.read(partial(samples.sample, scope=scope, rows=2)) == drawn


@pytest.mark.parametrize("changed", [0, 4, 8])
def test_a_sample_is_drawn_of_the_videos_that_a_manifest_is_compared_with(ledger: Ledger, changed: int) -> None:
    """Rows have a second video of an order that was closed: a rerun asked for it again and was interrupted."""
    rows = rows_of(*"abcdefgh")
    load(ledger, rows)
    for key in "abcdefgh":
        set_row(ledger, key, state="complete", video_id=f"v-{key}")
    load(ledger, rows, Regenerate.ALL)
    order = ledger.read(partial(orders.open_order, batch=SPRING))
    again = begin(ledger, order=order.order_id)
    for taken in again.claim():
        sent = again.send(taken)
        video = Rendered(SPRING, taken.row_key, VideoId(f"vid-{sent.token}"), sent.token, RowState.QUEUED, 2)
        failed = Final(row=video, state=RowState.ERROR, at=utc_now(), credits_final=0)
        ledger.change(partial(settlements.record_finals, items=[failed]))
    assert ledger.change(partial(orders.close, batch=SPRING, at=utc_now()))
    assert ledger.change(partial(reruns.request, selection=Selection(batch=SPRING))) == 8
    stated = [
        row(key, number, "New" if number <= changed else "Slow pan") for number, key in enumerate("abcdefgh", 1)
    ]
    for pilot in range(1, 9):
        with ledger.staged([stated], SPRING, SendOptions(pilot=pilot), HERE) as opened:
            opened.compare(SPRING)
            announced = sample_cost(opened)
            opened.merge(SPRING)
        scope = Scope(SPRING, RunId(""))
        drawn = ledger.read(partial(samples.sample, scope=scope, rows=pilot))
        costs = ledger.read(partial(waiting_rows.costs, scope=scope._replace(sample=drawn), limit=None))
        assert announced == (len(costs), sum(costs), 0) == (pilot, pilot * ESTIMATE, 0)


def announced_and_drawn(ledger: Ledger, stated: list[Row], options: SendOptions) -> tuple[int, int]:
    """Rows of a pilot as its plan has them, and as its run does once the manifest is in the table."""
    with ledger.staged([stated], SPRING, options, HERE) as opened:
        opened.compare(SPRING)
        announced = sample_cost(opened).rows
        opened.merge(SPRING)
    order = ledger.read(partial(orders.going_on, batch=SPRING, options=options))
    scope = Scope(SPRING, RunId(""), order=None if order is None else order.order_id)
    drawn = ledger.read(partial(samples.sample, scope=scope, rows=options.pilot))
    return announced, len(ledger.read(partial(waiting_rows.costs, scope=scope._replace(sample=drawn), limit=None)))


@pytest.mark.parametrize("pilot", range(1, 9))
def test_a_sample_is_the_same_where_videos_were_to_be_made_again_and_there_are_none(
    ledger: Ledger, pilot: int
) -> None:
    """No order is placed then: rows that were sent are a part of it, as of any pilot."""
    rows = rows_of(*"abcdefgh")
    load(ledger, rows)
    for key in "abcd":
        set_row(ledger, key, state="rejected")
    options = SendOptions(regenerate=Regenerate.ALL, pilot=pilot)
    announced, drawn = announced_and_drawn(ledger, rows, options)
    assert announced == drawn


@pytest.mark.parametrize("pilot", [1, 4, 7])
def test_a_pilot_of_an_order_sends_nothing_more_once_its_sample_was_sent(ledger: Ledger, pilot: int) -> None:
    """New rows beside the order are a part of the sample, also once they are sent."""
    load(ledger, rows_of(*"abcd"))
    for key in "abcd":
        set_row(ledger, key, state="complete", video_id=f"v-{key}")
    rows, options = rows_of(*"abcdefghij"), SendOptions(regenerate=Regenerate.ALL, pilot=pilot)
    assert announced_and_drawn(ledger, rows, options) == (pilot, pilot)
    order = ledger.read(partial(orders.open_order, batch=SPRING))
    assert order is not None
    run = begin(ledger, order=order.order_id)
    sample = ledger.read(partial(samples.sample, scope=run.scope, rows=pilot))
    for left, key in zip(reversed(range(pilot)), sample, strict=True):
        number = "abcdefghij".index(key) + 1
        (taken,) = run.claim(1, (number, number))
        run.send(taken)
        assert announced_and_drawn(ledger, rows, options) == (left, left)


@pytest.mark.parametrize(("sent", "left"), [("a", 0), ("b", 1)])
@pytest.mark.parametrize(("before", "after"), [((5, 6), (1, 4)), ((1, 2), (5, 3)), ((2, 1), (3, 4))])
def test_a_sample_of_rows_that_ask_for_the_same_is_the_same_wherever_they_move(
    ledger: Ledger, sent: str, left: int, before: tuple[int, int], after: tuple[int, int]
) -> None:
    """Which of them is in it goes by their keys, not by their numbers."""

    def twins(numbers: tuple[int, int]) -> list[Row]:
        a, b = row("a", numbers[0]), row("b", numbers[1])
        return [a, b._replace(request=a.request, fingerprint=a.fingerprint)]

    load(ledger, twins(before), repeats=RepeatPolicy.SEND)
    set_row(ledger, sent, state="complete", video_id="v")
    options = SendOptions(pilot=1, repeats=RepeatPolicy.SEND)
    assert announced_and_drawn(ledger, twins(after), options) == (left, left)


def test_a_row_that_turns_out_to_be_paid_for_is_not_among_them(ledger: Ledger) -> None:
    """It waited in the table, and another batch has paid since."""
    load(ledger, rows_of("a", "b"))
    load(ledger, rows_of("a"), batch="autumn")  # type: ignore[arg-type]  # a name
    set_row(ledger, "a", "autumn", state="complete", video_id="v", request_sha256=_content("a"))  # type: ignore[arg-type]  # as above
    with staged(ledger, rows_of("a", "b")) as opened:
        assert sent_first(opened) == ["b"]
        assert list(opened.prices(SPRING)) == [(48, 1)]


def _content(key: str) -> str:
    request = row(key, 1).request
    return request.content_sha256([request.image_path])


def test_a_request_comes_back_as_it_was_stated(ledger: Ledger) -> None:
    """Flags and numbers too, whatever the database makes of them."""
    request = Request("a.png", "Pan", 2.5, "720p", "kling-3.0", audio=True, name="n", end_image_path="b.png")
    whole = row("a", 1)._replace(request=request, fingerprint=request.fingerprint())
    for _ in ("staged", "in the table"):
        with staged(ledger, [whole]) as opened:
            assert opened.first_to_send(SPRING, 3) == [("a", request)]
        load(ledger, [whole])


@pytest.mark.parametrize(
    ("minutes", "known"), [([1, 2, 6], {("ltx-2.3", 48): 120.0}), ([1, 2], {}), ([1, 2, 45], {})]
)
def test_how_long_videos_took_is_learned_by_their_kind(ledger: Ledger, minutes: list[int], known: object) -> None:
    """The median of three or more; one that was looked at much later says nothing."""
    load(ledger, rows_of(*"abcd"))
    for key, each in zip("abc", minutes, strict=False):
        end = utc_now()
        begin = end - timedelta(minutes=each)
        set_row(ledger, key, state="complete", video_id=f"v-{key}", submitted_at=begin, settled_at=end)
    assert ledger.read(render_times) == known
