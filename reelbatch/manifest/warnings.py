"""Warnings, each once for the whole file however many rows it concerns."""

from __future__ import annotations

from dataclasses import dataclass

from reelbatch.domain import Issue
from reelbatch.manifest.column_mapping import Layout
from reelbatch.model_table import RequestIssue

_MOST = 1000


@dataclass(slots=True)
class _Warning:
    finding: RequestIssue
    first_row: int
    rows: int = 0


class FileWarnings:
    """Counts the rows of every warning."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._notices: dict[tuple[str, str, str], _Warning] = {}

    def add(self, finding: RequestIssue, row: int, *, per_value: bool = False) -> None:
        """Note `finding` for a row; `per_value`: a warning of its own for each value."""
        key = (finding.column, finding.what, finding.value if per_value else "")
        if key not in self._notices:
            if len(self._notices) >= _MOST:
                return
            self._notices[key] = _Warning(finding, row)
        self._notices[key].rows += 1

    def problems(self) -> list[Issue]:
        """The warnings about columns, then those about rows, with how many rows each concerns."""
        return [*self._layout.warnings, *map(self._problem, self._notices.values())]

    def _problem(self, notice: _Warning) -> Issue:
        column, value, what, remedy, *_ = notice.finding
        if notice.rows > 1:
            what = f"{what} (so in {notice.rows:,} rows)"
        return Issue(notice.first_row, self._layout.shown(column), value, what, remedy)
