"""What people see at the end of a settle by itself."""

from __future__ import annotations

from collections.abc import Iterable

from reelbatch.cli import render
from reelbatch.pipeline.advice import not_exported
from reelbatch.pipeline.settle_report import SettleReport
from reelbatch.settle.options import SettleReason


def print_settle_report(report: SettleReport, hints: Iterable[str]) -> None:
    """What became of the videos, which of them failed, what comes next."""
    render.print_settled(report.stats)
    if report.export_problem:
        is_complete = report.stats.reason is not SettleReason.LEDGER_FAILED
        render.fail(not_exported(report.export_problem, is_complete=is_complete))
    if report.failed:
        render.out.print(render.failed_table(report.failed))
    for text in hints:
        render.out.print(f"→ {render.cell(text)}")
