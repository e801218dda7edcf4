"""A pilot: a sample is made and settled, and says what the rest would cost and how much of it would fail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil, sqrt
from typing import TYPE_CHECKING, Any

from reelbatch.domain import FAILED, RowState, RunId
from reelbatch.ledger import samples
from reelbatch.ledger.samples import KindCount, Outcome, VideoKind
from reelbatch.printable import counted

if TYPE_CHECKING:
    from reelbatch.pipeline.run_context import RunContext

_SURE = 1.96
"""Standard deviations of a normal distribution within which 95 of 100 cases lie."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestOfKind:
    """Rows of one kind that are left, and what they would cost. Credits are integers.

    Args:
        likely: by what the pilot's videos of this kind cost, else by the estimate; None: no one knows.
        seen: videos of the pilot that this rests on; 0: it is the estimate.
    """

    kind: VideoKind
    rows: int
    estimated: int
    unknown: int
    likely: int | None
    seen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pilot:
    """What a sample says of the rest."""

    rows: int
    complete: int
    failed: int  # rejected, in error or canceled
    open: int  # neither yet
    credits_final: int
    credits_estimated: int
    rest: list[RestOfKind]

    @property
    def rest_rows(self) -> int:
        """Rows that are left."""
        return sum(each.rows for each in self.rest)

    @property
    def likely(self) -> int:
        """Credits that the rest would cost if all of it succeeds, as far as that is known."""
        return sum(each.likely or 0 for each in self.rest)

    @property
    def unknown_rows(self) -> int:
        """Rows that `likely` leaves out."""
        return sum(each.unknown for each in self.rest if each.seen == 0)

    @property
    def failing(self) -> tuple[int, int, int] | None:
        """Rows of the rest that would fail: about, at least and at most; in 95 of 100 cases."""
        if not (ended := self.complete + self.failed):
            return None
        low, high = _wilson(self.failed, ended)
        rest = self.rest_rows
        return round(rest * self.failed / ended), int(rest * low), ceil(rest * high)

    def lines(self) -> list[str]:
        """For people."""
        not_finished = f", {self.open:,} not finished or not sent" if self.open else ""
        made = f"Pilot: {self.complete:,} of {self.rows:,} videos complete, {self.failed:,} failed{not_finished}; "
        lines = [f"{made}cost {self.credits_final:,} credits, estimated {self.credits_estimated:,}"]
        if not self.rest_rows:
            return [*lines, "No row is left."]
        unknown = f", and {counted(self.unknown_rows, 'row')} of unknown rate" if self.unknown_rows else ""
        estimated = sum(each.estimated for each in self.rest)
        rest = counted(self.rest_rows, "row")
        lines.append(f"The rest: {rest}, about {self.likely:,} credits{unknown} (estimated {estimated:,})")
        for each in self.rest:
            cost = "unknown" if each.likely is None else f"{each.likely:,} credits"
            by = f"as {each.seen:,} of the pilot" if each.seen else "by estimate: none of the pilot"
            lines.append(f"  {each.kind}: {counted(each.rows, 'row')}, {cost}, {by}")
        if self.failing is not None:
            about, low, high = self.failing
            of = self.complete + self.failed
            lines.append(f"About {about:,} of them would fail; after {of:,} videos that may be {low:,} to {high:,}.")
        return lines

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        about, low, high = self.failing or (None, None, None)
        return {
            "rows": self.rows,
            "complete": self.complete,
            "failed": self.failed,
            "open": self.open,
            "credits_final": self.credits_final,
            "credits_estimated": self.credits_estimated,
            "rest": {
                "rows": self.rest_rows,
                "credits": self.likely,
                "credits_estimated": sum(each.estimated for each in self.rest),
                "unknown_rate": self.unknown_rows,
                "failing": {"about": about, "at_least": low, "at_most": high},
                "kinds": [_as_json(each) for each in self.rest],
            },
        }


def _as_json(rest: RestOfKind) -> dict[str, Any]:
    sums = {"rows": rest.rows, "credits": rest.likely, "credits_estimated": rest.estimated, "seen": rest.seen}
    return {**rest.kind._asdict(), **sums}


def _wilson(hits: int, of: int) -> tuple[float, float]:
    """Wilson's interval for a share: it holds for small samples, and where nothing or all was hit."""
    share, weight = hits / of, _SURE**2 / of
    middle = share + weight / 2
    spread = _SURE * sqrt(share * (1 - share) / of + weight / (4 * of))
    return max(0.0, (middle - spread) / (1 + weight)), min(1.0, (middle + spread) / (1 + weight))


def pilot_of(context: RunContext) -> Pilot | None:
    """What the run's sample says by now; None where it was no pilot."""
    scope = context.state.scope
    if scope.rerun or scope.sample is None:
        return None
    everything = scope._replace(run_id=RunId(""), sample=None, most=None)
    found = context.ledger.read(partial(samples.outcomes, batch=context.batch, row_keys=scope.sample))
    return _told(found, context.ledger.read(partial(samples.kinds, which=everything.condition())))


def _told(sample: Sequence[Outcome], left: Sequence[KindCount]) -> Pilot:
    made = [each for each in sample if each.state is RowState.COMPLETE]
    failed = [each for each in sample if each.state in FAILED]
    costs: dict[VideoKind, list[int]] = {}
    for each in made:
        if each.final is not None:
            costs.setdefault(each.kind, []).append(each.final)
    return Pilot(
        rows=len(sample),
        complete=len(made),
        failed=len(failed),
        open=len(sample) - len(made) - len(failed),
        credits_final=sum(each.final or 0 for each in sample),
        credits_estimated=sum(each.estimated or 0 for each in sample),
        rest=[_rest(count, costs.get(count.kind, [])) for count in left],
    )


def _rest(left: KindCount, seen: Sequence[int]) -> RestOfKind:
    if seen:
        likely: int | None = ceil(left.rows * sum(seen) / len(seen))
    else:
        likely = None if left.unknown == left.rows else left.credits_estimated
    return RestOfKind(
        kind=left.kind,
        rows=left.rows,
        estimated=left.credits_estimated,
        unknown=left.unknown,
        likely=likely,
        seen=len(seen),
    )
