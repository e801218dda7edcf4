"""A manifest beside the results table: staged, compared, and brought into it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from reelbatch.domain import Batch, Request, RowKey, RunId
from reelbatch.failpoints import point
from reelbatch.ledger import merge, orders, runs, staging
from reelbatch.ledger.accounts import Payer, payer_of
from reelbatch.ledger.engine import (
    is_collision,
    now,
)
from reelbatch.ledger.merge import Merge
from reelbatch.ledger.observed_cost import NOTHING_OBSERVED, ObservedCost, observed_cost
from reelbatch.ledger.observed_prices import NONE_OBSERVED, ObservedPrices, Room
from reelbatch.ledger.orders import OpenOrder, Placing
from reelbatch.ledger.paid_requests import Held, Mark, RepeatSearch
from reelbatch.ledger.replaced_images import mark_replaced
from reelbatch.ledger.selection import Action, Choice, Regenerate, RepeatPolicy, SendOptions, further, rows_of
from reelbatch.ledger.sending_order import SendingOrder
from reelbatch.ledger.staging import ActionCount, Duplicate, SameRequest
from reelbatch.ledger.transactions import MOST_COLLISIONS
from reelbatch.ledger.unchanged_rows import Kept
from reelbatch.row_batch import RowColumns

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A manifest against the results table."""

    counts: list[ActionCount] = field(default_factory=list)  # by action and model
    sends: list[ActionCount] = field(default_factory=list)  # the rows to send among them, by model and price
    gone: int = 0
    duplicate_keys: int = 0
    duplicates: list[Duplicate] = field(default_factory=list)  # the first of them
    same_request_count: int = 0
    same_requests: list[SameRequest] = field(default_factory=list)  # the first of them
    beyond_limit: int = 0  # rows to send that this run leaves to the next
    held: list[Held] = field(default_factory=list)
    unknown_keys: list[RowKey] = field(default_factory=list)  # that were named, and that the manifest does not have
    order: OpenOrder | None = None  # that is open, whether or not it goes on
    observed: ObservedCost = NOTHING_OBSERVED  # of rows of unknown rate that would be sent
    invalid: Mapping[Action, int] = field(default_factory=dict)  # of `counts`: rows that fail their checks
    pilot: int | None = None  # rows of a sample, which are all that is sent now

    @property
    def to_correct(self) -> bool:
        """Whether rows fail their checks; one that has its video does not count, since nothing is asked of it."""
        return any(rows for action, rows in self.invalid.items() if action is not Action.SKIP)


_ANYONE = Payer("local")
_NO_RUN = RunId("")


def _no_mark(stated: str) -> str | None:
    del stated
    return None


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a manifest comes from, and who would pay for it."""

    base: str = "."  # where its relative image paths start
    mark: Mark = _no_mark
    payer: Payer = _ANYONE


ANYWHERE = Origin()


class StagedManifest:
    """A manifest in a temporary table of its own session."""

    def __init__(
        self,
        connection: Connection,
        kept: Kept,
        wanted: tuple[SendOptions, Origin],
    ) -> None:
        self._connection = connection
        self._kept = kept
        self._options, self._origin = wanted
        self._choice = Choice(options=self._options)

    def create(self) -> None:
        """Make the table."""
        with self._connection.begin():
            staging.create(self._connection)
            batch = self._kept.batch
            if batch is not None:
                self._kept.new = not rows_of(self._connection, batch)
                self._kept.further = further(self._connection, batch)
                if not self._may_pass_over(batch):
                    self._kept.batch = None

    def _may_pass_over(self, batch: Batch) -> bool:
        """Whether rows that the table has unchanged need no second look."""
        if self._kept.new:
            return True
        options, base = self._options, runs.base_of(self._connection, batch)
        everything = options.regenerate is Regenerate.ALL or (options.makes_again and self._kept.further)
        return not everything and base == self._origin.base

    def add(self, rows: RowColumns) -> None:
        """Add the manifest's next rows."""
        with self._connection.begin():
            if some := self._kept.sift(self._connection, rows):
                staging.fill(self._connection, some)

    def complete(self) -> None:
        """All rows are there."""
        with self._connection.begin():
            staging.complete(self._connection, indexed=not self._kept.new)

    def compare(self, batch: Batch, room: Room | None = None) -> Comparison:
        """What `generate` would do with every row; `room`: what is left for it.

        Raises:
            OrderOpen: videos are to be made anew, and another order is open.
        """
        self._room = room
        with self._connection.begin():
            self._seen = ObservedPrices.of(self._connection, self._payer(batch), room)
            return self._compare(batch)

    def _compare(self, batch: Batch) -> Comparison:
        connection, kept, options = self._connection, self._kept, self._options
        open_ = orders.open_order(connection, batch)
        going_on = orders.going_on(connection, batch, options)
        choice = self._choice = Choice(
            options=options,
            order=None if going_on is None else going_on.order_id,
            open_order=None if open_ is None else open_.order_id,
            further=further(connection, batch),
        )
        unknown = staging.choose(connection, options.row_keys or ())
        if not kept.new:
            mark_replaced(connection, batch, choice, self._origin.mark)
        held = self._search(batch, choice)
        # A new batch was counted on the way, but for what was found out since.
        counted = kept.new and not held and not choice.only_order
        counts = kept.added_to([] if counted else staging.compare(connection, batch, choice), choice, staged=counted)
        first = None if options.limit is None else self._order(batch).counts(connection)
        limited = counts if first is None else _limited(counts, first)
        duplicate_keys, duplicates = staging.duplicate_keys(connection, kept.condition())
        same, same_requests = staging.same_requests(connection, kept.condition())
        return Comparison(
            observed=self._observed(batch, counts if first is None else first),
            counts=staging.summed(limited),
            sends=staging.summed((count for count in limited if count.action is Action.SEND), by_price=True),
            beyond_limit=0 if first is None else _to_send(counts) - _to_send(first),
            held=held,
            unknown_keys=[] if choice.order is not None else unknown,  # they were there when it was placed
            order=open_,
            invalid=self._invalid(batch, counts),
            pilot=options.pilot,
            gone=staging.gone(connection, batch, kept.rows),
            duplicate_keys=duplicate_keys,
            duplicates=duplicates,
            same_request_count=same,
            same_requests=same_requests,
        )

    def _invalid(self, batch: Batch, counts: Iterable[ActionCount]) -> Mapping[Action, int]:
        if not self._kept.new:
            return staging.invalid(self._connection, batch, self._choice)
        return {Action.INVALID: sum(count.rows for count in counts if count.action is Action.INVALID)}

    def _observed(self, batch: Batch, counts: Iterable[ActionCount]) -> ObservedCost:
        """Where there is anything of unknown rate to send."""
        if not any(count.unknown for count in counts if count.action is Action.SEND):
            return NOTHING_OBSERVED
        return observed_cost(self._order(batch).kinds(self._connection), self._seen)

    def _payer(self, batch: Batch) -> Payer:
        """Who pays for it, or would."""
        found = payer_of(self._connection, batch)
        return self._origin.payer if found is None or not found.name else found

    def _search(self, batch: Batch, choice: Choice) -> list[Held]:
        if choice.options.repeats is RepeatPolicy.SEND:
            return []
        kept = self._kept
        payer = payer_of(self._connection, batch) or self._origin.payer
        search = RepeatSearch(batch, payer, self._origin.mark, kept.condition())
        search.run(self._connection, choice)
        kept.hold([(model, credits_) for _, model, credits_ in search.of_kept])
        self._held_of_kept = [held for held, *_ in search.of_kept]
        return search.found

    def first_to_send(self, batch: Batch, rows: int) -> list[tuple[RowKey, Request]]:
        """The first `rows` that this run would send, as they were compared."""
        return self.ask(lambda connection: self._order(batch).first(connection, rows))

    def sample(self, batch: Batch) -> list[ActionCount] | None:
        """Rows to send of the sample that the options ask for; None where they ask for none."""
        rows = self._options.pilot
        return None if rows is None else self.ask(lambda connection: self._order(batch).sample(connection, rows))

    def prices(self, batch: Batch) -> Iterator[tuple[int | None, int]]:
        """What the rows that would be sent are reserved at, in their order, each with how many share it.

        Of a pilot, those of its sample.
        """
        with self._connection.begin():
            yield from self._order(batch).prices(self._connection)

    def reserved(self, batch: Batch) -> list[tuple[int | None, int]] | None:
        """The same in no order; None where no price was observed, so that the estimates are all there is."""
        return self.ask(self._order(batch).reserved) if self._seen else None

    def ask(self, question: Callable[[Connection], Answer]) -> Answer:
        """Something that the results table knows, without a second session."""
        with self._connection.begin():
            return question(self._connection)

    def _order(self, batch: Batch) -> SendingOrder:
        held = frozenset(held.row_number for held in self._held_of_kept)
        return SendingOrder(batch, self._choice, self._kept.condition(), held, self._room, self._seen)

    _room: Room | None = None
    _seen: ObservedPrices = NONE_OBSERVED
    _held_of_kept: list[Held] = []  # noqa: RUF012 - until they are searched for

    def merge(self, batch: Batch, run_id: RunId = _NO_RUN, check: Callable[[Connection], None] | None = None) -> None:
        """Bring the manifest, as it was compared, into the results table, a hundred thousand rows at a time.

        `check` begins each transaction, and may raise to end it all. Where videos are to be made anew, the last one
        places the order.
        """
        connection = self._connection
        with connection.begin():
            spans = list(merge.spans(connection))
            known = rows_of(connection, batch) > 0
            staging.widen_cache(connection)
        merged = Merge(batch, self._origin.base, self._choice, new=not known)

        def merge_span(span: tuple[int, int]) -> None:
            if known:
                merge.relist(connection, merged, span)
            merge.upsert(connection, merged, span)

        def finish() -> None:
            merge.hold(connection, batch, self._held_of_kept)
            runs.set_base(connection, batch, merged.base)
            if self._options.makes_again:
                _place_order(connection, merged, run_id)

        first, *others = (*(partial(merge_span, span) for span in spans), finish)

        def begin() -> None:
            merge.unlist_gone(connection, batch, self._kept)
            first()

        for part in (begin, *others):
            self._transact(part, check)

    def _transact(self, work: Callable[[], None], check: Callable[[Connection], None] | None) -> None:
        """A transaction on the session that holds the temporary table; where others are in its way, once more."""
        self._connection.execution_options(reelbatch_writes=True)
        for left in range(MOST_COLLISIONS, -1, -1):
            try:
                with self._connection.begin():
                    if check is not None:
                        check(self._connection)
                    work()
                    point("merge.commit")
            except DBAPIError as error:
                if not left or not is_collision(error):
                    raise
            else:
                point("merge.committed")
                return


def _place_order(connection: Connection, merged: Merge, run_id: RunId) -> None:
    """A new order with all its rows, unless one is open already."""
    runs.lock_batch(connection, merged.batch)
    if orders.going_on(connection, merged.batch, merged.choice.options) is not None:
        return
    order = orders.place(connection, Placing(merged.batch, merged.choice.options, run_id, now(connection)))
    merge.place_order(connection, merged, order)
    orders.fix(connection, order)


def _to_send(counts: Iterable[ActionCount]) -> int:
    return sum(count.rows for count in counts if count.action is Action.SEND)


def _limited(counts: Iterable[ActionCount], first: Iterable[ActionCount]) -> list[ActionCount]:
    """`counts` with only the rows that a limit lets this run send."""
    return [*(count for count in counts if count.action is not Action.SEND), *first]
