"""DataFrames as manifests."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from reelbatch.domain import Issue
from reelbatch.manifest.parsing import plain
from reelbatch.manifest.readers.base import BATCH_ROWS, RawRows, unique_names

if TYPE_CHECKING:
    import pandas as pd


class FrameSource:
    """A pandas DataFrame. Named index levels count as columns."""

    warnings: Sequence[Issue] = ()

    def __init__(self, frame: pd.DataFrame) -> None:
        levels = [name for name in frame.index.names if name is not None and name not in frame.columns]
        self._frame = frame.reset_index(levels) if levels else frame
        self.columns: Sequence[str] = unique_names(map(str, self._frame.columns))

    def read(self, wanted: Sequence[str]) -> Iterator[RawRows]:
        """Read the rows; the first one has number 1, whatever the index says."""
        places = {column: self.columns.index(column) for column in wanted}
        for start in range(0, len(self._frame), BATCH_ROWS):
            part = self._frame.iloc[start : start + BATCH_ROWS]
            columns = {
                column: [plain(cell) for cell in _cells(part.iloc[:, place])] for column, place in places.items()
            }
            yield RawRows(range(start + 1, start + 1 + len(part)), columns)


def _cells(column: pd.Series[Any]) -> Iterable[Any]:
    """Pandas would hand out numbers of 32 bits as Python's, with digits that they do not have."""
    if str(column.dtype).lower() in {"float32", "float[pyarrow]"}:
        return column.to_numpy("float32", na_value=math.nan)
    return column
