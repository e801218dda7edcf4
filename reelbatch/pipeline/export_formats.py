"""What an export's lines are written as: JSON Lines, a CSV for spreadsheets, an Excel workbook.

Each is made of an open file and the schema, takes record batches, and is closed before its file is.
"""

from __future__ import annotations

import codecs
import json
import math
import re
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from reelbatch.errors import UsageError
from reelbatch.pipeline.spreadsheets import FORMULA

WORKBOOK_ROWS = 1_048_575
"""Of a worksheet, without its header."""
_CELL_LENGTH = 32_767  # UTF-16 units in a cell
_OTHER_FORMATS = "use .parquet, .csv or .jsonl"


class JsonLines:
    """An object on each line; times in ISO 8601."""

    def __init__(self, file: Any, schema: pa.Schema) -> None:
        del schema
        self._file = file

    def write_batch(self, batch: pa.RecordBatch) -> None:
        """One line for each row."""
        lines = (json.dumps(row, ensure_ascii=False, default=datetime.isoformat) for row in batch.to_pylist())
        self._file.write("".join(f"{line}\n" for line in lines).encode())

    def close(self) -> None:
        """The file is closed by its opener."""


class ExcelCsv:
    """With a byte order mark; numbers, times and truth values are what they were."""

    def __init__(self, file: Any, schema: pa.Schema) -> None:
        file.write(codecs.BOM_UTF8)
        self._writer = pa_csv.CSVWriter(file, schema)

    def write_batch(self, batch: pa.RecordBatch) -> None:
        """No text is a formula."""
        columns = [_inert(column) if pa.types.is_string(column.type) else column for column in batch.columns]
        self._writer.write_batch(pa.record_batch(columns, schema=batch.schema))

    def close(self) -> None:
        """Write what is left; the file is closed by its opener."""
        self._writer.close()


def _inert(texts: pa.Array) -> pa.Array:
    marked = pc.binary_join_element_wise("'", texts, "")
    return pc.if_else(pc.match_substring_regex(texts, FORMULA), marked, texts)


class Workbook:
    """One worksheet, written row by row: texts stay texts (`007`, `=1+1`), times are UTC without a zone."""

    def __init__(self, file: Any, schema: pa.Schema) -> None:
        import openpyxl

        self._file = file
        self._book = openpyxl.Workbook(write_only=True)
        self._sheet = self._book.create_sheet("results")
        self._sheet.freeze_panes = "A2"  # before the first row, or it is not written
        self._sheet.append(schema.names)
        self._rows = 0

    def write_batch(self, batch: pa.RecordBatch) -> None:
        """The next rows.

        Raises:
            UsageError: a worksheet can't hold them.
        """
        self._rows += batch.num_rows
        check_rows(self._rows)
        for row in batch.to_pylist():
            self._sheet.append([self._cell(name, value) for name, value in row.items()])

    def close(self) -> None:
        """Write the file, which is closed by its opener."""
        self._book.save(self._file)

    def _cell(self, column: str, value: Any) -> Any:
        if isinstance(value, str):
            return self._text(column, value)
        if isinstance(value, datetime):
            return value.astimezone(UTC).replace(tzinfo=None)
        if isinstance(value, float) and not math.isfinite(value):
            return str(value)
        return value

    def _text(self, column: str, value: str) -> Any:
        """A text as it is; by itself openpyxl makes a formula of `=1+1`, and an error of `#N/A`."""
        from openpyxl.cell import WriteOnlyCell

        text = _NOT_IN_XML.sub(lambda found: f"_x{ord(found[0]):04X}_", value)
        if len(text) > _CELL_LENGTH // 2 and len(text.encode("utf-16-le")) // 2 > _CELL_LENGTH:
            raise UsageError(
                f'a text of the column "{column}" has more than the {_CELL_LENGTH:,} characters that a cell of a '
                f"workbook can hold ({value[:40]!r}…); {_OTHER_FORMATS}"
            )
        if not text.startswith(("=", "#")):
            return text
        cell = WriteOnlyCell(self._sheet, value=text)
        cell.data_type = "s"
        cell.quotePrefix = True  # stays a text when it is edited
        return cell


_NOT_IN_XML = re.compile(r"[\x00-\x08\x0b-\x1f\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}_)")
"""Characters that a workbook writes as `_x000D_`, and what would be taken for one that is written so."""


def check_rows(rows: int) -> None:
    """Whether a worksheet holds that many.

    Raises:
        UsageError: it does not.
    """
    if rows > WORKBOOK_ROWS:
        raise UsageError(
            f"a worksheet holds {WORKBOOK_ROWS:,} rows, and these are more: choose some with --batch or --state, "
            f"or {_OTHER_FORMATS}"
        )
