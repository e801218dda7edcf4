"""What the checks of a manifest said: equal problems together, however many rows have them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from reelbatch.domain import Issue, Row
from reelbatch.manifest import Manifest
from reelbatch.printable import counted

MOST_CAUSES = 1000
"""Causes that are listed; rows with further ones are only counted."""
_FIRST_ROWS = 5
_FIRST_VALUES = 3
_FIRST_REMEDIES = 3
_FIGURES = re.compile(r"\d[\d,.]*")


@dataclass(slots=True)
class Cause:
    """One thing that is wrong in a column, and the rows in which it is.

    Where only the figures in its words differ (`1 x 1 pixels`), the first row's stand for all.
    `remedies`: where they differ, the first ones, each with its first row; `other_remedies`: rows with further ones.
    """

    column: str | None
    what: str
    remedy: str
    rows: int = 0
    first_rows: list[int] = field(default_factory=list)
    values: list[str] = field(default_factory=list)  # the first ones that differ
    remedies: list[tuple[int | None, str]] = field(default_factory=list)
    other_remedies: int = 0

    def add(self, issue: Issue) -> None:
        """Another row."""
        self.rows += 1
        if issue.row_number is not None and len(self.first_rows) < _FIRST_ROWS:
            self.first_rows.append(issue.row_number)
        if issue.value and len(self.values) < _FIRST_VALUES and issue.value not in self.values:
            self.values.append(issue.value)
        if issue.remedy != self.remedy:
            self._add_remedy(issue)

    def _add_remedy(self, issue: Issue) -> None:
        if not self.remedies:
            self.remedies = [(next(iter(self.first_rows), None), self.remedy)]
        if all(remedy != issue.remedy for _, remedy in self.remedies):
            if len(self.remedies) < _FIRST_REMEDIES:
                self.remedies.append((issue.row_number, issue.remedy))
            else:
                self.other_remedies += 1

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)

    def __str__(self) -> str:
        """`rows 3, 4 and 120 more, column "end_seconds" (value "99"): …`; of one row as its issue says it."""
        if self.rows == 1:
            number = self.first_rows[0] if self.first_rows else None
            return str(Issue(number, self.column, "".join(self.values), self.what, self.remedy))
        column = f', column "{self.column}"' if self.column else ""
        return f"{self._where()}{column}{self._values()}: {self.what}. {self._remedy()}"

    def _where(self) -> str:
        rows = ", ".join(f"{number:,}" for number in self.first_rows)
        more = self.rows - len(self.first_rows)
        return f"rows {rows} and {more:,} more" if more else f"rows {rows}"

    def _remedy(self) -> str:
        said = [f"{'The file' if row is None else f'Row {row:,}'}: {remedy}" for row, remedy in self.remedies]
        if self.other_remedies:
            said.append(f"And others for {counted(self.other_remedies, 'more row')}.")
        return " ".join(said) or self.remedy

    def _values(self) -> str:
        shown = ", ".join(json.dumps(value, ensure_ascii=False) for value in self.values)
        if not shown:
            return ""
        return f" (value {shown})" if len(self.values) == 1 else f" (such as {shown})"


class Causes:
    """Problems by their causes, in the order in which these were first met; memory does not grow with the rows."""

    def __init__(self) -> None:
        self._known: dict[tuple[str | None, str], Cause] = {}
        self.count = 0  # of problems
        self.unlisted = 0  # of which no cause is kept

    def add(self, issues: Iterable[Issue]) -> None:
        """More problems."""
        for issue in issues:
            self.count += 1
            key = issue.column, _FIGURES.sub("0", issue.what)
            if key not in self._known and len(self._known) >= MOST_CAUSES:
                self.unlisted += 1
                continue
            self._known.setdefault(key, Cause(issue.column, issue.what, issue.remedy)).add(issue)

    def __iter__(self) -> Iterator[Cause]:
        return iter(self._known.values())

    def lines(self) -> list[str]:
        """For people, indented."""
        listed = [f"  {cause}" for cause in self]
        return [*listed, f"  and {self.unlisted:,} more"] if self.unlisted else listed


@dataclass(slots=True)
class Findings:
    """What the checks said, gathered while the manifest streams by. `told` hears how many rows were read so far."""

    told: Callable[[int], None] | None = None
    rows: int = 0
    problems: Causes = field(default_factory=Causes)
    warning_count: int = 0
    warnings: list[Issue] = field(default_factory=list)
    assumed: list[str] = field(default_factory=list)  # models that estimates of rows without a model took
    left_out: int = 0  # rows that `where` did not let through

    def gather(self, manifest: Manifest) -> Iterator[Sequence[Row]]:
        """Pass the manifest's rows on, and keep what was found."""
        for checked in manifest.batches():
            self.rows += len(checked.rows)
            self.problems.add(checked.problems)
            self.warning_count += len(checked.warnings)
            self.warnings += checked.warnings[: MOST_CAUSES - len(self.warnings)]
            self.assumed += checked.assumed
            self.left_out += checked.left_out
            if self.told is not None:
                self.told(self.rows)
            yield checked.rows


def same_request(rows: int, first: int, last: int) -> str:
    """What is said of a request that `rows` rows make; variants come from `first` and `last` of the file."""
    pair = rows == 2  # noqa: PLR2004 - both can be named
    if first == last:
        which = f"two variants of row {first}" if pair else f"{rows:,} variants of row {first}"
    else:
        which = f"rows {first} and {last}" if pair else f"{rows:,} requests, of rows {first} to {last},"
    apart = "" if first == last else " under different keys"
    return f"{which} ask for the same video{apart}; {'both are' if pair else 'each is'} sent and paid for"
