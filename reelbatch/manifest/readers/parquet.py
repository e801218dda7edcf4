"""Manifests in Parquet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
from pyarrow import parquet as pq

from reelbatch.domain import Issue
from reelbatch.errors import ManifestError
from reelbatch.manifest.readers.arrow_cells import refuse_nested, texts_of
from reelbatch.manifest.readers.base import BATCH_ROWS, RawRows, unique_names
from reelbatch.manifest.text_file import open_file

_CAREFUL: dict[str, Any] = {
    "pre_buffer": False,
    "buffer_size": 1 << 20,
    "coerce_int96_timestamp_unit": "us",  # in nanoseconds the years before 1678 and after 2261 would be others
}


class ParquetSource:
    """A Parquet file, opened by reading its schema. Only the wanted columns are read, page by page."""

    warnings: Sequence[Issue] = ()

    def __init__(self, path: str) -> None:
        self._path = path
        with _opened(path) as file:
            self._schema = file.schema_arrow
        self.columns: Sequence[str] = unique_names(self._schema.names)

    def read(self, wanted: Sequence[str]) -> Iterator[RawRows]:
        """Read the rows; a wanted column that holds lists or structs is refused."""
        places = {column: self.columns.index(column) for column in wanted}
        refuse_nested(self._path, self._schema, places.items())
        names = self._schema.names
        asked = list(dict.fromkeys(names[place] for place in places.values()))
        with _opened(self._path) as file:
            start = 1
            for batch in file.iter_batches(BATCH_ROWS, columns=asked):
                given = batch.schema.names
                columns = {
                    column: texts_of(self._path, column, batch.column(_index(given, names, place)))
                    for column, place in places.items()
                }
                yield RawRows(range(start, start + batch.num_rows), columns)
                start += batch.num_rows


def _index(given: Sequence[str], names: Sequence[str], place: int) -> int:
    """Where the file's column at `place` stands among those that came: all of a name do, in the file's order.

    And more than were asked for: with `image.src` also a struct `image` that has a `src`.
    """
    same = [index for index, name in enumerate(given) if name == names[place]]
    return same[names[:place].count(names[place])]


@contextmanager
def _opened(path: str) -> Iterator[pq.ParquetFile]:
    """Open the file without reading ahead: a row group may be larger than memory allows."""
    with open_file(path, scattered=True) as stream:
        try:
            with pq.ParquetFile(stream, **_CAREFUL) as file:
                yield file
        except UnicodeDecodeError as error:
            raise ManifestError(f"{path}: the name of a column is not UTF-8. Rename it, or export again.") from error
        except (pa.ArrowException, OSError) as error:
            remedy = "It may be cut off or damaged: fetch or export it again."
            what = str(error).rstrip(".")
            raise ManifestError(f"{path}: can't be read as Parquet: {what}. {remedy}") from error
