"""Opening a manifest, and reading its rows as often as needed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, cast

from reelbatch.domain import Issue
from reelbatch.errors import ManifestError
from reelbatch.home_folder import at_home
from reelbatch.manifest.column_mapping import Layout, known_columns, plan_layout
from reelbatch.manifest.options import CheckedRows, Checks, ManifestOptions
from reelbatch.manifest.readers.base import ArrowStream, RawRows, Source
from reelbatch.manifest.row_shaping import RowShaper
from reelbatch.manifest.text_file import open_file
from reelbatch.manifest.validation import RowChecker
from reelbatch.storage.addresses import holds_password, what_instead, without_secrets
from reelbatch.storage.files import CloudProblem, file_part, redact_url

if TYPE_CHECKING:
    import pandas as pd

_TEXT = frozenset({".csv", ".tsv", ".txt"})
_JSON_LINES = frozenset({".jsonl", ".ndjson"})
_PARQUET = frozenset({".parquet"})
_EXCEL = frozenset({".xlsx", ".xlsm"})
_PACKED = frozenset({".gz", ".zst", ".bz2"})
_READABLE = ".csv, .tsv, .txt, .jsonl, .ndjson (each also .gz, .zst, .bz2), .parquet and .xlsx"
_SAVE_AS = 'Save the sheet as .xlsx without a password, or as "CSV UTF-8", and give that file.'


class Manifest:
    """A manifest whose columns are known; each call of `batches` reads it from the beginning.

    Attributes:
        name: for messages: the path, without what a URL has of secrets, or `<DataFrame>`.
        stem: the default name of its batch: the file's name without suffixes, or `dataframe`.
        base: the folder that relative image paths start from.
        is_export: whether it is an export of a results table.
    """

    def __init__(self, source: Source, layout: Layout, checks: Checks, name: str) -> None:
        self._source = source
        self._layout = layout
        self._checks = checks
        self._where = name
        self.name = redact_url(name)
        self.stem = _stem(name)
        self.base = _base(name)
        self.is_export = layout.is_export

    def batches(self) -> Iterator[CheckedRows]:
        """Read and check the rows, some thousand at a time; the last batch carries the file's warnings.

        Raises:
            ManifestError: the file turned out to be damaged on the way.
        """
        checker = RowChecker(self._layout, self._checks, self.base)
        shaper = RowShaper(self._layout.shaping)
        last, rows = CheckedRows([], [], []), 0
        with _naming(self._where, "read"):
            for raw in self._raw_rows(shaper):
                if last.rows:
                    yield last
                last = checker.check(raw)
                rows += len(last.rows)
        warnings = [*self._source.warnings, *checker.notices.problems()]
        if not rows:
            warnings.append(_no_rows(shaper.left_out))
        yield last._replace(warnings=warnings, assumed=checker.assumed, left_out=shaper.left_out)

    def _raw_rows(self, shaper: RowShaper) -> Iterator[RawRows]:
        """The rows as they are checked: shaped, and each as often as it has variants."""
        raw_rows = self._source.read(self._layout.wanted)
        if self._layout.shaping.columns:
            raw_rows = map(shaper.shape, raw_rows)
        variants = self._layout.variants
        return chain.from_iterable(map(variants.spread, raw_rows)) if variants else raw_rows

    def rows_in_file(self, numbers: Iterable[int]) -> list[int]:
        """The rows of the file that numbered rows come from; with variants, each becomes several."""
        variants = self._layout.variants
        return [variants.row_in_file(number) if variants else number for number in numbers]


def open_manifest(
    source: str | os.PathLike[str] | pd.DataFrame | ArrowStream, options: ManifestOptions, checks: Checks
) -> Manifest:
    """Open a manifest and match its columns.

    Args:
        source: a path, any fsspec URL, a DataFrame, or anything with `__arrow_c_stream__` (polars, Arrow, DuckDB).
        options: names of columns, defaults, the prompt's template.
        checks: what rows will be checked against.

    Raises:
        ManifestError: the file can't be used as a whole: not there, not readable, columns missing.
    """
    name, opened = open_source(source, options)
    return Manifest(opened, plan_layout(redact_url(name), opened.columns, options), checks, name)


def open_source(
    source: str | os.PathLike[str] | pd.DataFrame | ArrowStream, options: ManifestOptions
) -> tuple[str, Source]:
    """What a manifest is called, and its columns and cells before any of them is taken for one of ours.

    Raises:
        ManifestError: as `open_manifest`, but for columns that are missing.
    """
    if isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        _refuse_password(name)
        with _naming(name, "opened"):
            return name, _open_file(name, options)
    name = "<DataFrame>"
    if hasattr(source, "iloc") and hasattr(source, "columns"):  # pandas is not imported to find out
        from reelbatch.manifest.readers.dataframe import FrameSource

        return name, FrameSource(cast("pd.DataFrame", source))
    if hasattr(source, "__arrow_c_stream__"):
        from reelbatch.manifest.readers.arrow_stream import ArrowStreamSource

        return name, ArrowStreamSource(source)
    raise ManifestError(f"A {type(source).__name__} is neither a path nor a DataFrame nor an Arrow table.")


def _no_rows(left_out: int) -> Issue:
    if left_out:
        what = f"has no rows that `where` lets through, of {left_out:,}"
        return Issue(None, None, "", what, "Compare its values with the cells.")
    return Issue(None, None, "", "has no rows", "Add some below the column names.")


def _refuse_password(path: str) -> None:
    """The folder is kept in the results table, as the place where relative image paths start; a query is not.

    Raises:
        ManifestError: the address holds a password.
    """
    if holds_password(path):
        where = f"{without_secrets(path)}: credentials do not belong in an address"
        raise ManifestError(f"{where}: the results table would keep them. {what_instead(path)}")


@contextmanager
def _naming(path: str, done: str) -> Iterator[None]:
    """Say which file it is, and nothing of the secrets that its address may have.

    Raises:
        ManifestError: in place of what is raised inside.
    """
    try:
        yield
    except CloudProblem as problem:
        reason = str(problem) if problem.is_files_own else f"can't be {done}: {problem}"
        raise ManifestError(f"{redact_url(path)}: {reason}") from problem
    except ManifestError as error:
        if redact_url(path) == path:
            raise
        raise ManifestError(str(error).replace(path, redact_url(path))) from None


def _open_file(path: str, options: ManifestOptions) -> Source:
    suffix = _suffix(path)
    with open_file(path, scattered=True) as file:
        start = file.read(8)
    if start.startswith(b"PK\x03\x04") and suffix in _EXCEL:
        from reelbatch.manifest.readers.excel import ExcelSource

        return ExcelSource(path, known_columns(options))
    if suffix in _EXCEL | {".xls"} or start.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        kind = "no workbook of today's Excel" if suffix in _EXCEL | {".xls"} else "a zip or Office file, not text"
        raise ManifestError(f"{path}: is {kind}. {_SAVE_AS}")
    if suffix in _PARQUET or start.startswith(b"PAR1"):
        from reelbatch.manifest.readers.parquet import ParquetSource

        return ParquetSource(path)
    if suffix in _JSON_LINES:
        from reelbatch.manifest.readers.jsonl import JsonLinesSource

        return JsonLinesSource(path, options)
    if suffix not in _TEXT:
        raise ManifestError(f'{path}: "{suffix}" is no kind of manifest. Give the file one of {_READABLE}.')
    from reelbatch.manifest.readers.csv import DelimitedSource

    return DelimitedSource(path, options, known_columns(options))


def _suffix(path: str) -> str:
    suffixes = [suffix.lower() for suffix in PurePosixPath(file_part(path)).suffixes]
    if len(suffixes) > 1 and suffixes[-1] in _PACKED:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _stem(name: str) -> str:
    if name == "<DataFrame>":
        return "dataframe"
    stem = PurePosixPath(file_part(name).replace(os.sep, "/"))
    while stem.suffix.lower() in _TEXT | _JSON_LINES | _PARQUET | _EXCEL | _PACKED:
        stem = stem.with_suffix("")
    return stem.name


def _base(name: str) -> str:
    """The folder of the manifest `name`; of a DataFrame: the current one."""
    if name == "<DataFrame>":
        return str(Path.cwd())
    if name.startswith("file://"):
        name = name.removeprefix("file://")
    if "://" in name:
        return file_part(name).rpartition("/")[0]
    return str(Path(at_home(name)).absolute().parent)
