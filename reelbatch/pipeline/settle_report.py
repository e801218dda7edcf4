"""What a settle by itself tells at its end, to people and to machines."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from reelbatch.domain import Batch
from reelbatch.errors import LedgerError
from reelbatch.ledger import Ledger, queries
from reelbatch.ledger.queries import SettledAs
from reelbatch.pipeline.situations import EXIT_CODES, KEY_PLACES, Situation
from reelbatch.settle import SettleReason, SettleStats
from reelbatch.storage.files import redact_url
from reelbatch.typed_options import command

FAILED_ROWS_SHOWN = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class SettleReport:
    """A settle that has ended. Rows that left the manifest or were dismissed are not among the failed."""

    stats: SettleStats
    batches: tuple[Batch, ...]
    failed_rows: int = 0  # whose videos were found failed or canceled in this settle
    failed: list[dict[str, Any]] = field(default_factory=list)  # the first of them
    export_problem: str | None = None

    @property
    def situation(self) -> Situation:
        """How it ended; what halted it comes before what became of single videos."""
        stats = self.stats
        if stats.reason is SettleReason.INTERRUPTED:
            return Situation.INTERRUPTED
        if stats.reason not in {SettleReason.DONE, SettleReason.TIMED_OUT} or stats.is_unanswered:
            return Situation.HALTED
        if self.failed_rows or stats.unsettled or stats.downloads_failed or self.export_problem:
            return Situation.WITH_FAILURES
        return Situation.DONE if stats.polled or stats.changed else Situation.NOTHING_TO_DO

    @property
    def exit_code(self) -> int:
        """0 done or nothing to do, 1 something failed or is unfinished, 3 no answer or no key, 130 interrupted."""
        return EXIT_CODES[self.situation]

    @property
    def message(self) -> str:
        """One line: what happened, with counts, and why."""
        stats = self.stats
        counts = [
            f"{stats.complete:,} complete",
            f"{stats.error:,} failed" if stats.error else "",
            f"{stats.canceled:,} canceled" if stats.canceled else "",
            f"{stats.unsettled:,} not finished" if stats.unsettled else "",
            f"{stats.downloaded:,} downloaded" if stats.downloaded else "",
            *(f"{number:,} {mark}" for mark, number in sorted(stats.marked_videos.items())),
            f"{stats.downloads_failed:,} not downloaded" if stats.downloads_failed else "",
        ]
        said = ", ".join(filter(None, counts))
        match self.situation:
            case Situation.NOTHING_TO_DO:
                return "nothing to settle: no videos are outstanding"
            case Situation.HALTED:
                return f"{_WHY.get(stats.reason, stats.reason.value)}: {stats.message or ''} ({said})"
        problem = f"; the table was not exported: {self.export_problem}" if self.export_problem else ""
        return f"{said}{f' ({stats.message})' if stats.message else ''}{problem}"

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        more = {"failed_rows": self.failed_rows, "failed": self.failed, "export_problem": self.export_problem}
        return {**asdict(self.stats), **more}


_WHY = {
    SettleReason.BAD_KEY: f"the API refused the key; set {KEY_PLACES} to one that it accepts",
    SettleReason.UNREACHABLE: "the API did not answer",
    SettleReason.TIMED_OUT: "the API did not answer",
    SettleReason.LEDGER_FAILED: "the results table could not be read or written",
}


@dataclass(frozen=True, slots=True)
class Settled:
    """What a settle was about: batches, and when it began."""

    batches: Sequence[Batch]
    since: datetime
    stats: SettleStats


def settle_report(ledger: Ledger, settled: Settled, export_problem: str | None = None) -> SettleReport:
    """How a settle ended; where the table can't be read, without the rows that failed."""
    count = settled.stats.error + settled.stats.canceled
    rows: list[dict[str, Any]] = []
    with suppress(LedgerError):
        which = SettledAs(tuple(settled.batches), settled.since, FAILED_ROWS_SHOWN)
        count, rows = ledger.read(partial(queries.failed_since, which=which))
    return SettleReport(
        stats=settled.stats,
        batches=tuple(settled.batches),
        failed_rows=count,
        failed=[{**row, "image_path": redact_url(row["image_path"])} for row in rows],
        export_problem=export_problem,
    )


def settle_advice(report: SettleReport) -> list[str]:
    """What to type next."""
    stats, lines = report.stats, []
    if stats.reason is SettleReason.BAD_KEY:
        lines.append("The API refused the key. Check MAGIC_HOUR_API_KEY, then run the same command again.")
    elif report.situation is Situation.HALTED:
        lines.append("Run the same command again when the cause is fixed; nothing is lost meanwhile.")
    elif stats.unsettled:
        lines.append(f"{stats.unsettled:,} not finished: the same command again follows them.")
    if report.failed_rows:
        batches = sorted({row["batch"] for row in report.failed})
        again = " or ".join(f"`{command('rerun', batch=batch)}`" for batch in batches)
        lines.append(f"{again} makes videos that failed or were canceled again.")
    return lines
