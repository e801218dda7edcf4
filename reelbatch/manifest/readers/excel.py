"""Manifests in Excel's workbooks (.xlsx): read row by row, with the values that its formulas last had."""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from typing import IO, Any

from reelbatch.domain import Issue
from reelbatch.errors import ManifestError
from reelbatch.manifest.parsing import plain, unsaved_formula
from reelbatch.manifest.readers.base import BATCH_ROWS, RawRows, bare_name, unique_names
from reelbatch.manifest.text_file import damaged, open_file

LARGEST_WORKBOOK = 1 << 30
"""Bytes of XML that a workbook may unpack to."""
_TOO_WIDE = 2_000
"""Columns of a header; a stray cell at a sheet's far end makes more."""
_HEADER_WITHIN = 100
"""Rows in which the names have to come."""
_RELATIONS = "_rels/.rels"  # begins every workbook
_STRICT = b"http://purl.oclc.org/ooxml/officeDocument/relationships/officeDocument"
_ESCAPED = re.compile("_x([0-9A-Fa-f]{4})_")
"""How a cell's text states a character that XML does not take as it is, such as `_x000D_` for a carriage return."""
_FORMULA = re.compile(rb"<(?:\w+:)?f[\s/>]")
_LONGEST_TAG = 100
_Cells = tuple[Any, ...]


class ExcelSource:
    """A workbook: of its visible sheets the one with most known columns, the first of several."""

    def __init__(self, path: str, known: Collection[str]) -> None:
        self._path = path
        with _workbook(path) as book:
            headers = {
                sheet.title: _header(sheet)
                for sheet in book.worksheets
                if sheet.sheet_state == "visible" and _header(sheet)[1]
            }
        if not headers:
            raise ManifestError(f"{path}: is empty. A manifest begins with a row of column names.")
        bare = {bare_name(name) for name in known}
        self._sheet = max(headers, key=lambda title: sum(bare_name(name) in bare for name in headers[title][1]))
        self._above, names = headers[self._sheet]
        self.columns: Sequence[str] = unique_names(names)
        self.warnings: Sequence[Issue] = ()
        if len(headers) > 1:
            others = ", ".join(f'"{title}"' for title in headers if title != self._sheet)
            what = f'of several sheets "{self._sheet}" is read; others are {others}'
            self.warnings = (Issue(None, None, "", what, "If another is meant, put it into a file of its own."),)

    def read(self, wanted: Sequence[str]) -> Iterator[RawRows]:
        """Read the rows below the names; one without any content is left out, and counted."""
        places = {column: self.columns.index(column) for column in wanted}
        with _workbook(self._path) as book:
            rows = enumerate(islice(_rows(book[self._sheet]), self._above, None), start=1)
            while batch := list(islice(rows, BATCH_ROWS)):
                filled = [(number, row) for number, row in batch if any(plain(cell).strip() for cell in row)]
                columns = {
                    column: [plain(row[place]) if place < len(row) else "" for _, row in filled]
                    for column, place in places.items()
                }
                yield RawRows([number for number, _ in filled], columns)


def _header(sheet: Any) -> tuple[int, list[str]]:
    """How many rows the first data row comes behind, and the names; none: there are none."""
    for number, row in enumerate(islice(_rows(sheet), _HEADER_WITHIN), start=1):
        names = [plain(cell).strip() for cell in row[:_TOO_WIDE]]
        while names and not names[-1]:
            names.pop()
        if names:
            return number, names
    return 0, []


def _rows(sheet: Any) -> Iterator[_Cells]:
    sheet.reset_dimensions()  # what a sheet says of its size is often wrong
    formulas = _unsaved(sheet)
    formula = next(formulas, None)
    for number, values in enumerate(sheet.iter_rows(values_only=True), start=1):
        row = [_unescaped(cell) if isinstance(cell, str) and "_x" in cell else cell for cell in values]
        while formula and formula[0] <= number:
            row[formula[1] - 1] = unsaved_formula(sheet.title, *formula)
            formula = next(formulas, None)
        yield tuple(row)


def _unsaved(sheet: Any) -> Iterator[tuple[int, int]]:
    """Row and column, from 1 on, of each formula whose value the workbook does not have: openpyxl shows it as empty.

    A program that wrote it has not calculated it. An empty text that was calculated says that it is a text.
    """
    from openpyxl.utils.cell import coordinate_to_tuple
    from openpyxl.xml.constants import SHEET_MAIN_NS as NS
    from openpyxl.xml.functions import iterparse

    with sheet._get_source() as part:  # noqa: SLF001 - it has no public way to a sheet's XML
        if not _has_formula(part):
            return
    row = 0
    with sheet._get_source() as part:  # noqa: SLF001 - as above
        for _, element in iterparse(part):
            if element.tag != f"{{{NS}}}row":
                continue
            row = int(float(element.get("r") or row + 1))
            column = 0
            for cell in element:
                column = coordinate_to_tuple(cell.get("r"))[1] if cell.get("r") else column + 1
                is_open = not cell.findtext(f"{{{NS}}}v") and cell.get("t") != "str"
                if is_open and cell.find(f"{{{NS}}}f") is not None:
                    yield row, column
            element.clear()


def _has_formula(part: IO[bytes]) -> bool:
    end = b""
    while chunk := part.read(1 << 20):
        if _FORMULA.search(end + chunk):
            return True
        end = chunk[-_LONGEST_TAG:]
    return False


def _unescaped(text: str) -> str:
    """With the characters that `text` states by their numbers; two halves of one are joined."""
    found = _ESCAPED.sub(lambda code: chr(int(code[1], 16)), text)
    return found.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


@contextmanager
def _workbook(path: str) -> Iterator[Any]:
    try:
        from openpyxl import load_workbook
    except ImportError as error:
        remedy = 'Install it (pip install "reelbatch[excel]"), or save the sheet as "CSV UTF-8" and give that file.'
        raise ManifestError(f"{path}: an Excel workbook needs the package openpyxl. {remedy}") from error
    warnings.filterwarnings("ignore", module=r"openpyxl\.")  # about styles and rules for cells, which are not read
    with open_file(path, scattered=True) as file:
        try:
            _measure(path, file)
            with closing(load_workbook(file, read_only=True, data_only=True)) as book:
                yield book
        except ManifestError:
            raise
        except Exception as error:  # on damaged ones openpyxl raises what its parsers raise
            raise damaged(path, error) from error


def _measure(path: str, file: IO[bytes]) -> None:
    with zipfile.ZipFile(file) as archive:
        if sum(part.file_size for part in archive.infolist()) > LARGEST_WORKBOOK:
            raise ManifestError(
                f"{path}: unpacks to more than {LARGEST_WORKBOOK:,} bytes. Split it, or save it as CSV."
            )
        if _RELATIONS in archive.namelist() and _STRICT in archive.read(_RELATIONS):
            remedy = 'Save it as "Excel Workbook (*.xlsx)", or as "CSV UTF-8".'
            raise ManifestError(f'{path}: is a workbook of the kind "Strict Open XML", which is not read. {remedy}')
    file.seek(0)
