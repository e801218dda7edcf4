"""Tables in memory as manifests, by Arrow's C stream interface: polars, Arrow itself, DuckDB."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa

from reelbatch.domain import Issue
from reelbatch.errors import ManifestError
from reelbatch.manifest.readers.arrow_cells import refuse_nested, texts_of
from reelbatch.manifest.readers.base import BATCH_ROWS, ArrowStream, RawRows, unique_names

_NAME = "<DataFrame>"


class ArrowStreamSource:
    """A table that hands out its rows as often as it is asked; none of it is copied as a whole."""

    warnings: Sequence[Issue] = ()

    def __init__(self, table: ArrowStream) -> None:
        """Read the schema.

        Raises:
            ManifestError: it is a stream of its own, whose rows can be read only once.
        """
        if isinstance(table, pa.RecordBatchReader):
            raise ManifestError("A RecordBatchReader can be read only once. Pass the table: reader.read_all().")
        self._table = table
        with self._opened() as stream:
            self._schema = stream.schema
        self.columns: Sequence[str] = unique_names(self._schema.names)

    def read(self, wanted: Sequence[str]) -> Iterator[RawRows]:
        """Read the rows; a wanted column that holds lists or structs is refused."""
        places = {column: self.columns.index(column) for column in wanted}
        refuse_nested(_NAME, self._schema, places.items())
        start = 1
        with self._opened() as stream:
            for batch in stream:
                for first in range(0, batch.num_rows, BATCH_ROWS):
                    part = batch.slice(first, BATCH_ROWS)
                    columns = {
                        column: texts_of(_NAME, column, part.column(place)) for column, place in places.items()
                    }
                    yield RawRows(range(start, start + part.num_rows), columns)
                    start += part.num_rows

    @contextmanager
    def _opened(self) -> Iterator[pa.RecordBatchReader]:
        try:
            with pa.RecordBatchReader.from_stream(self._table) as stream:
                yield stream
        except pa.ArrowException as error:
            raise ManifestError(f"The table's rows can't be read as Arrow: {error}") from error
