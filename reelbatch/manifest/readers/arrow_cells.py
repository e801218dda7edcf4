"""Columns of Arrow as texts, wherever they come from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from reelbatch.errors import ManifestError
from reelbatch.manifest.parsing import plain
from reelbatch.manifest.readers.base import texts


def refuse_nested(name: str, schema: Any, columns: Iterable[tuple[str, int]]) -> None:
    """Look at the types of `columns` (name and place) of the manifest `name`.

    Raises:
        ManifestError: one holds lists or structs.
    """
    for column, place in columns:
        kind = schema.field(place).type
        if pa.types.is_nested(kind) or pa.types.is_nested(getattr(kind, "value_type", kind)):
            raise ManifestError(f'{name}: the column "{column}" holds {kind}. Write text or numbers.')


def texts_of(name: str, column: str, cells: Any) -> list[str]:
    """The cells as text; whole columns at a time where their type allows it.

    Raises:
        ManifestError: they are bytes, and no text.
    """
    kind = cells.type
    if pa.types.is_dictionary(kind):
        cells = _decoded(cells)
        kind = cells.type
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
        raise ManifestError(f'{name}: the column "{column}" holds bytes that are no text.') from error


def _decoded(cells: Any) -> Any:
    """A dictionary's cells; Arrow itself can't look texts up that are views, as a categorical of polars has them."""
    if pa.types.is_string_view(cells.type.value_type):
        cells = pa.DictionaryArray.from_arrays(cells.indices, cells.dictionary.cast(pa.large_string()))
    return cells.dictionary_decode()


def _values(cells: Any) -> list[Any]:
    """The cells as Python has them; a time that Python does not know, as Arrow writes it.

    Numbers of fewer bits than Python's stay NumPy's, since these know their own last digit.
    """
    if pa.types.is_float32(cells.type) or pa.types.is_float16(cells.type):
        return list(cells.to_numpy(zero_copy_only=False))
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
