"""Manifests in Parquet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
from pyarrow import parquet as pq

from reelbatch.domain import Issue
from reelbatch.errors import ManifestError
from reelbatch.manifest.parsing import plain
from reelbatch.manifest.readers.base import BATCH_ROWS, RawRows, texts, unique_names
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
        self.columns: Sequence[str] = unique_names(path, self._schema.names)

    def read(self, wanted: Sequence[str]) -> Iterator[RawRows]:
        """Read the rows; a wanted column that holds lists or structs is refused."""
        places = {column: self.columns.index(column) for column in wanted}
        for column, place in places.items():
            kind = self._schema.field(place).type
            if pa.types.is_nested(kind) or pa.types.is_nested(getattr(kind, "value_type", kind)):
                raise ManifestError(f'{self._path}: the column "{column}" holds {kind}. Write text or numbers.')
        names = self._schema.names
        asked = list(dict.fromkeys(names[place] for place in places.values()))
        given = [place for name in asked for place, own in enumerate(names) if own == name]  # all of one name come
        with _opened(self._path) as file:
            start = 1
            for batch in file.iter_batches(BATCH_ROWS, columns=asked):
                columns = {
                    column: self._texts(column, batch.column(given.index(place))) for column, place in places.items()
                }
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
            return [plain(cell) for cell in _values(cells)]
        try:
            return texts(cells)
        except UnicodeDecodeError:  # it says that it is text; the rows where it is not will be invalid
            blobs = cells.cast(pa.large_binary()).to_pylist()
            return ["" if blob is None else blob.decode(errors="surrogateescape") for blob in blobs]
        except pa.ArrowInvalid as error:
            raise ManifestError(f'{self._path}: the column "{column}" holds bytes that are no text.') from error


def _values(cells: Any) -> list[Any]:
    """The cells as Python has them; a time that Python does not know, as Arrow writes it."""
    try:
        values: list[Any] = cells.to_pylist()
    except (ValueError, OverflowError):
        values = cells.cast(pa.string()).to_pylist()
    return values


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
            with pq.ParquetFile(stream, **_CAREFUL) as file:
                yield file
        except UnicodeDecodeError as error:
            raise ManifestError(f"{path}: the name of a column is not UTF-8. Rename it, or export again.") from error
        except (pa.ArrowException, OSError) as error:
            remedy = "It may be cut off or damaged: fetch or export it again."
            raise ManifestError(f"{path}: can't be read as Parquet: {error}. {remedy}") from error
