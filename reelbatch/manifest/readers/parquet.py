"""Manifests in Parquet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
from pyarrow import parquet as pq

from reelbatch.errors import ManifestError
from reelbatch.manifest.parsing import plain
from reelbatch.manifest.readers.base import BATCH_ROWS, RawRows, texts, unique_names
from reelbatch.manifest.text_file import open_file


class ParquetSource:
    """A Parquet file, opened by reading its schema. Only the wanted columns are read, page by page."""

    def __init__(self, path: str) -> None:
        self._path = path
        with _opened(path) as file:
            self._schema = file.schema_arrow
        self.columns: Sequence[str] = unique_names(path, self._schema.names)

    def read(self, wanted: Sequence[str]) -> Iterator[RawRows]:
        """Read the rows; a wanted column that holds lists or structs is refused."""
        names = {column: self._schema.names[self.columns.index(column)] for column in wanted}
        for column, name in names.items():
            kind = self._schema.field(name).type
            if pa.types.is_nested(kind) or pa.types.is_nested(getattr(kind, "value_type", kind)):
                raise ManifestError(f'{self._path}: the column "{column}" holds {kind}. Write text or numbers.')
        with _opened(self._path) as file:
            start = 1
            for batch in file.iter_batches(BATCH_ROWS, columns=list(names.values())):
                columns = {column: self._texts(column, batch.column(name)) for column, name in names.items()}
                yield RawRows(range(start, start + batch.num_rows), columns)
                start += batch.num_rows

    def _texts(self, column: str, cells: Any) -> list[str]:
        """The cells as text; whole columns at a time where their type allows it."""
        kind = cells.type
        if pa.types.is_dictionary(kind):
            cells, kind = cells.dictionary_decode(), kind.value_type
        if pa.types.is_null(kind):
            return [""] * len(cells)
        if not _turns_into_text(kind):
            return [plain(cell) for cell in cells.to_pylist()]
        try:
            return texts(cells)
        except pa.ArrowInvalid as error:
            raise ManifestError(f'{self._path}: the column "{column}" holds bytes that are no text.') from error


def _turns_into_text(kind: Any) -> bool:
    types = pa.types
    return any(
        test(kind)
        for test in (
            types.is_string,
            types.is_large_string,
            types.is_string_view,
            types.is_binary,
            types.is_large_binary,
            types.is_integer,
            types.is_boolean,
        )
    )


@contextmanager
def _opened(path: str) -> Iterator[pq.ParquetFile]:
    """Open the file without reading ahead: a row group may be larger than memory allows."""
    with open_file(path, scattered=True) as stream:
        try:
            with pq.ParquetFile(stream, pre_buffer=False, buffer_size=1 << 20) as file:
                yield file
        except (pa.ArrowException, OSError) as error:
            remedy = "It may be cut off or damaged: fetch or export it again."
            raise ManifestError(f"{path}: can't be read as Parquet: {error}. {remedy}") from error
