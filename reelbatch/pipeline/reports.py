"""What the calls from Python give back, beside the report of a run and the plan: frozen, and shown in a notebook."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Self

from reelbatch.domain import RowKey
from reelbatch.ledger.in_doubt import Doubt
from reelbatch.pipeline.reconcile import Resolution
from reelbatch.pipeline.status import BatchStatus
from reelbatch.report_view import Facts, ReportView, as_texts
from reelbatch.settle import SettleReason, SettleStats


@dataclass(frozen=True, slots=True, repr=False)
class TableStatus(ReportView):
    """The batches of a results table; `[name]` is one of them."""

    batches: tuple[BatchStatus, ...]

    def __iter__(self) -> Iterator[BatchStatus]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, batch: str) -> BatchStatus:
        found = {each.batch: each for each in self.batches}
        return {str(name): each for name, each in found.items()}[batch]

    def as_json(self) -> dict[str, Any]:
        """As `reelbatch status --json` has it."""
        return {"batches": [each.as_json() for each in self.batches]}

    def facts(self) -> Facts:
        """For a notebook."""
        return Facts("results table", {"batches": len(self.batches)}, [repr(each) for each in self.batches])

    def _repr_html_(self) -> str:
        return "".join(each._repr_html_() for each in self.batches) or super(TableStatus, self)._repr_html_()


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class SettleReport(ReportView):
    """What following videos has come to. Credits are integers, of the rows that were settled."""

    complete: int
    error: int
    canceled: int
    unsettled: int
    downloaded: int
    downloads_failed: int
    marked_videos: dict[str, int]  # downloaded ones: black, frozen, unreadable
    download_failures: tuple[tuple[RowKey, str], ...]  # the first hundred
    credits_estimated: int
    credits_charged: int
    credits_final: int
    credits_refunded: int
    reason: SettleReason
    message: str | None
    exit_code: int

    @classmethod
    def of(cls, stats: SettleStats) -> Self:
        """As it ended."""
        names = [name for name in cls.__dataclass_fields__ if name != "download_failures"]
        return cls(**{name: getattr(stats, name) for name in names}, download_failures=tuple(stats.download_failures))

    def as_json(self) -> dict[str, Any]:
        """Every figure."""
        return asdict(self)

    def facts(self) -> Facts:
        """For a notebook."""
        names = ("complete", "error", "canceled", "unsettled", "downloaded", "downloads_failed")
        money = ("credits_charged", "credits_final", "credits_refunded", "exit_code")
        said = [self.message] if self.message else []
        said += [f"{count:,} {mark}" for mark, count in sorted(self.marked_videos.items())]
        lines = [*said, *(f"{key}: {why}" for key, why in self.download_failures)]
        return Facts(f"settle, {self.reason.value}", {name: getattr(self, name) for name in (*names, *money)}, lines)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ReconcileReport(ReportView):
    """Rows in doubt as they are now, and what became of rows that were named: `problem` None: it is cleared up."""

    in_doubt: tuple[Doubt, ...]
    resolved: tuple[Resolution, ...]

    @property
    def exit_code(self) -> int:
        """0: no row is in doubt any more; 1: some is, or something could not be decided."""
        rows = any(not each.sent_again for each in self.in_doubt)
        return 1 if rows or any(each.problem for each in self.resolved) else 0

    def as_json(self) -> dict[str, Any]:
        """As `reelbatch reconcile --json` has it."""
        return {
            "in_doubt": [as_texts(each) for each in self.in_doubt],
            "resolved": [asdict(each) for each in self.resolved],
        }

    def facts(self) -> Facts:
        """For a notebook."""
        open_ = [
            f"{each.row_key} (batch {each.batch}): look for a name that ends in {each.token}"
            for each in self.in_doubt
        ]
        said = [f"{each.row_key}: {each.problem or each.verdict.value.replace('_', ' ')}" for each in self.resolved]
        problems = sum(each.problem is not None for each in self.resolved)
        figures = {"in_doubt": len(self.in_doubt), "resolved": len(self.resolved) - problems, "problems": problems}
        return Facts("rows in doubt", figures, [*said, *open_])
