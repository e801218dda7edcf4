"""The results table as a file or a DataFrame, with the same columns and types whatever the rows hold."""

from __future__ import annotations

import glob
import hashlib
import os
import shutil
import tempfile
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from reelbatch.domain import Batch
from reelbatch.errors import LedgerUnusable, ReelbatchError, UsageError
from reelbatch.extras import require
from reelbatch.failpoints import point
from reelbatch.home_folder import at_home
from reelbatch.ledger import Ledger, csv_stream, manifest_lock, queries
from reelbatch.ledger.columns import EXPORTED, ColumnKind
from reelbatch.ledger.csv_stream import ALL, Lines, Wanted
from reelbatch.ledger.process_liveness import this_machine
from reelbatch.memory import memory_given_back
from reelbatch.pipeline.export_formats import ExcelCsv, JsonLines, Workbook, check_rows
from reelbatch.pipeline.python_words import in_errors
from reelbatch.pipeline.replaced_files import refuse_to_replace
from reelbatch.pipeline.resources import batches_named
from reelbatch.settings.table_urls import as_url
from reelbatch.storage.files import CloudProblem, check, file_part, put, redact_url, scheme_of
from reelbatch.storage.private_files import replacing

if TYPE_CHECKING:  # most of the program gets by without it, and it takes a while to import
    import pandas as pd

    from reelbatch.pipeline.run_context import RunContext

ROWS_AT_ONCE = 10_000

_ARROW_TYPES = {
    ColumnKind.WORD: pa.string(),
    ColumnKind.TEXT: pa.string(),
    ColumnKind.INTEGER: pa.int64(),
    ColumnKind.LARGE_INTEGER: pa.int64(),
    ColumnKind.FLOAT: pa.float64(),
    ColumnKind.BOOLEAN: pa.bool_(),
    ColumnKind.TIME: pa.timestamp("us", tz="UTC"),
}
SCHEMA = pa.schema(
    [pa.field(column.name, _ARROW_TYPES[column.kind], nullable=column.nullable) for column in EXPORTED]
)
"""Of every export. A column whose values are all null keeps its type."""

_OFTEN_THE_SAME = [
    name
    for name in SCHEMA.names
    if name not in {"row_key", "row_number", "image_path", "prompt", "name", "video_id", "token", "video_path"}
]
"""Columns that are worth a dictionary in Parquet."""


def export(ledger: Ledger, target: str, wanted: Wanted = ALL, *, excel: bool = False) -> int:
    """Write the table (what is `wanted` of it) to `target`: .parquet, .csv, .jsonl or .xlsx, local or any fsspec URL.

    One line for each row; with `all_videos` one for every video that a row was, or is to be, made into.

    It appears whole or not at all: when anything fails, what was there before is still there. A new file is its
    owner's to read; one that is replaced keeps its mode. With `excel` a CSV has the mark by which Excel knows UTF-8,
    and no cell of it is a formula.

    Returns:
        Rows written.

    Raises:
        UsageError: the extension is none of the four (`excel`: not .csv), a worksheet can't hold the rows, the file
            can't be written, or what would be replaced is no earlier export.
    """
    suffix = format_of(target)
    if (path := _local(target)) is not None:
        refuse_to_replace(target, path, partial(ledger.read, manifest_lock.manifests))
    if excel and suffix != ".csv":
        raise UsageError(
            f"{redact_url(target)}: --excel writes a CSV for spreadsheets; give it a name that ends in .csv"
        )
    try:
        if suffix == ".xlsx":  # told before the first million rows are written
            check_rows(ledger.read(partial(csv_stream.count, wanted=wanted)))
        with _file(target) as file, closing(record_batches(ledger, wanted)) as found:
            return _write(found, (ExcelCsv if excel else _OPENERS[suffix])(file, SCHEMA))
    except CloudProblem as problem:
        raise UsageError(f"{redact_url(target)}: can't be written: {problem}") from problem
    except OSError as error:
        raise UsageError(f"{redact_url(target)}: can't be written: {error.strerror or error}") from error


def export_to(ledger: Ledger, stream: BinaryIO, suffix: str, wanted: Wanted) -> int:
    """The same to a stream: nothing of it before all of it has been read from the table."""
    with tempfile.TemporaryFile() as file:
        with closing(record_batches(ledger, wanted)) as found:
            rows = _write(found, _OPENERS[suffix](file, SCHEMA))
        file.seek(0)
        shutil.copyfileobj(file, stream)
    return rows


def _write(found: Iterable[pa.RecordBatch], writer: Any) -> int:
    """All of it through `writer`, which is closed; gives the number of rows."""
    rows = 0
    with memory_given_back(), closing(writer):
        for record_batch in found:
            point("export.write")
            writer.write_batch(record_batch)
            rows += record_batch.num_rows
    return rows


def is_behind(ledger: Ledger, target: str, batch: Batch) -> bool:
    """Whether a local export lacks what was settled since: a run that is killed before its export leaves it so."""
    settled_at = ledger.read(partial(queries.last_settled, batch=batch))
    path = Path(target)
    return settled_at is not None and (not path.exists() or path.stat().st_mtime < settled_at.timestamp())


@dataclass(frozen=True, slots=True)
class Exported:
    """What became of the export after a run. `problem` None: the file is written."""

    target: str
    rows: int = 0
    problem: str | None = None


def export_target(context: RunContext) -> str:
    """Where the table is exported to after the run.

    Raises:
        UsageError: the ending says no format.
    """
    if context.settings.export:
        format_of(context.settings.export)
        return context.settings.export
    return beside_table(context.ledger, context.batch)


def refuse_export(stated: str | None, source: object) -> None:
    """Before anything is sent: a file that a run could not export to, or that is its manifest. None: there is none.

    Raises:
        UsageError: the ending says no format, or what would be replaced is no earlier export.
    """
    if not stated:
        return
    format_of(stated)
    if (path := _local(stated)) is not None:
        refuse_to_replace(f"--export {stated}", path)
    if scheme_of(stated) is None and isinstance(source, str | os.PathLike) and scheme_of(os.fspath(source)) is None:
        paths = [Path(at_home(os.fspath(path))) for path in (stated, source)]
        if all(os.path.exists(path) for path in paths) and paths[0].samefile(paths[1]):  # noqa: PTH110 - Path's raises
            raise UsageError(f"--export {stated}: is the manifest, which would be replaced; choose another name")


def export_results(context: RunContext, target: str) -> Exported:
    """Write the run's batch to `target`; where that fails, the run goes on, and its end says why."""
    try:
        exported = Exported(target, export(context.ledger, target, Wanted(context.batch)))
    except ReelbatchError as error:
        exported = Exported(target, problem=str(error))
    context.listener.exported(exported)
    return exported


def export_settled(ledger: Ledger, batches: Iterable[Batch]) -> str | None:
    """Bring the files that earlier runs left beside the table up to date; returns what stood in the way."""
    try:
        for batch in batches:
            export(ledger, beside_table(ledger, batch), Wanted(batch))
    except ReelbatchError as error:
        return str(error)
    return None


def behind(ledger: Ledger, batches: Iterable[Batch]) -> list[Batch]:
    """The batches whose files beside the table lack what was settled since."""
    return [batch for batch in batches if is_behind(ledger, beside_table(ledger, batch), batch)]


def beside_table(ledger: Ledger, batch: Batch) -> str:
    """Where a batch is exported to by itself: beside a table that is a file."""
    folder = ledger.path.parent if ledger.path else Path("results")
    return str(folder / f"{batch}.parquet")


def format_of(target: str) -> str:
    """The format that the target's ending says.

    Raises:
        UsageError: it is none of the four, or what writes it is missing: openpyxl, a driver for the kind of URL.
    """
    suffix = PurePosixPath(file_part(target)).suffix.lower()
    if suffix not in _OPENERS:
        raise UsageError(f"{redact_url(target)}: the ending says the format; use .parquet, .csv, .jsonl or .xlsx")
    if suffix == ".xlsx":
        require("excel", "An Excel workbook")
    if scheme_of(target) is not None:
        try:
            check(target)
        except CloudProblem as problem:
            raise UsageError(f"{redact_url(target)}: can't be written: {problem}") from problem
    return suffix


def record_batches(ledger: Ledger, wanted: Wanted = ALL) -> Generator[pa.RecordBatch, None, None]:
    """The exported columns of the rows, in bounded memory.

    Raises:
        LedgerUnusable: something in the table is not what its column should hold.
    """
    with ledger.connection() as connection, closing(csv_stream.lines(connection, wanted, ROWS_AT_ONCE)) as found:
        for lines in found:
            try:
                yield _record_batch(lines)
            except pa.ArrowInvalid as error:
                raise LedgerUnusable(f"{ledger.shown_url}: holds a value that can't be exported: {error}") from error


_PARSING = pa_csv.ParseOptions(quote_char="'", double_quote=True, newlines_in_values=True)
_CONVERTING = {
    "null_values": csv_stream.NULLS,
    "strings_can_be_null": True,
    "quoted_strings_can_be_null": False,
    "true_values": csv_stream.TRUE,
    "false_values": csv_stream.FALSE,
}


def _record_batch(lines: Lines) -> pa.RecordBatch:
    types = {name: _zoneless(SCHEMA.field(name).type) for name in lines.columns}
    table = pa_csv.read_csv(
        pa.BufferReader(lines.text),
        # As one block: where texts have line breaks, finding the ends of several would be work done twice.
        pa_csv.ReadOptions(column_names=lines.columns, block_size=len(lines.text) + 1),
        _PARSING,
        pa_csv.ConvertOptions(column_types=types, **_CONVERTING),
    ).combine_chunks()
    arrays = [
        _floats(lines.apart[field.name]) if field.name in lines.apart else table[field.name].chunk(0).view(field.type)
        for field in SCHEMA
    ]
    return pa.record_batch(arrays, schema=SCHEMA)


def _floats(values: Sequence[float | None]) -> pa.Array:
    """A column for Arrow; `pa.array` would import pandas, which takes half as long as all else of a short run."""
    numbers = np.array(values, dtype="float64")  # None becomes NaN, which no database here holds
    known = np.packbits(~np.isnan(numbers), bitorder="little")
    return pa.Array.from_buffers(pa.float64(), len(numbers), [pa.py_buffer(known), pa.py_buffer(numbers)])


def _zoneless(kind: pa.DataType) -> pa.DataType:
    return pa.timestamp(kind.unit) if pa.types.is_timestamp(kind) else kind


@in_errors(results="url")
def results(url: str | Path, batch: str | None = None) -> pd.DataFrame:
    """The results table as a DataFrame with nullable dtypes: Int64, Float64, boolean, string, UTC times.

    Args:
        url: of the table, for example `sqlite:///results/reelbatch.db`; or a SQLite table's file.
        batch: only this batch; None: all. Of a table that has no batch yet: a frame without rows.

    Raises:
        LedgerUnusable: there is no such table, or it can't be opened.
        SettingsError: the table has batches, and none of this name.
    """
    import pandas as pd

    url = as_url(str(url))
    if not Ledger.exists(url):
        raise LedgerUnusable(f"{url}: there is no results table here")
    with Ledger.to_read(url) as ledger:
        if batch is not None and ledger.read(queries.batch_names):
            batches_named(ledger, batch)
        found = list(record_batches(ledger, Wanted(Batch(batch) if batch is not None else None)))
    types = {
        pa.int64(): pd.Int64Dtype(),
        pa.float64(): pd.Float64Dtype(),
        pa.bool_(): pd.BooleanDtype(),
        pa.string(): pd.StringDtype(),
    }
    frame: pd.DataFrame = pa.Table.from_batches(found, schema=SCHEMA).to_pandas(types_mapper=types.get)
    return frame


@contextmanager
def _file(target: str) -> Iterator[Any]:
    path = _local(target)
    if path is None:
        with tempfile.TemporaryDirectory(prefix="reelbatch-export-") as folder:
            whole = Path(folder) / PurePosixPath(file_part(target)).name
            with whole.open("wb") as file:
                yield file
            put(whole, target)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, _mark(path)) as file:
        yield file


def _local(target: str) -> Path | None:
    """The file of this machine; None where it is behind a URL."""
    scheme = scheme_of(target)
    if scheme is None:
        return Path(at_home(target))
    return Path(target.partition("://")[2]) if scheme in {"file", "local"} else None


def _mark(path: Path) -> str:
    """This process, for the name of what it writes; what killed processes of this machine left of `path` goes."""
    machine = hashlib.sha256(this_machine().encode()).hexdigest()[:8]
    for left in path.parent.glob(f".{glob.escape(path.name)}.{machine}-*.part"):
        pid = left.stem.rpartition(f".{machine}-")[2].partition("-")[0]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            left.unlink(missing_ok=True)
    return f"{machine}-{os.getpid()}-"


_OPENERS: dict[str, Any] = {
    ".parquet": partial(pq.ParquetWriter, compression="zstd", use_dictionary=_OFTEN_THE_SAME),
    ".csv": pa_csv.CSVWriter,
    ".jsonl": JsonLines,
    ".xlsx": Workbook,
}
