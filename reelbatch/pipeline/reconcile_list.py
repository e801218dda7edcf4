"""What someone found out about rows in doubt, as a CSV: written to be filled in, and read back."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from reelbatch.domain import Batch, RowKey, Token, VideoId
from reelbatch.errors import ManifestError, SettingsError
from reelbatch.failpoints import point
from reelbatch.ledger.in_doubt import Doubt, Verdict
from reelbatch.manifest.parsing import trimmed, visible
from reelbatch.manifest.readers.base import bare_name
from reelbatch.manifest.readers.csv_header import DELIMITERS, LONGEST, Header, read_header
from reelbatch.manifest.text_file import TextFile, open_file
from reelbatch.pipeline.spreadsheets import inert, meant
from reelbatch.storage.private_files import give_name, owner_only

COLUMNS = (
    "batch",
    "row_key",
    "row_number",
    "since",
    "credits",
    "name_ends_in",
    "image_path",
    "prompt",
    "video_id",
)
_KEY, _ID = "row_key", "video_id"
_MARKS = ("name_ends_in", "token")
"""Columns that say which request is meant: of the list, and of an export."""
_NOT_TEXT = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"PAR1")
_PROBLEMS_SHOWN = 20
_REMEDY = f"Write a video's id, {Verdict.NOT_CREATED}, or nothing: then the row stays in doubt."


@dataclass(frozen=True, slots=True)
class ListEntry:
    """What someone says about one row: the video's id, or None for "not created"."""

    row_key: RowKey
    video_id: VideoId | None
    where: str = ""  # for messages: the file's line it comes from
    batch: Batch | None = None  # None: the one that is named beside it
    token: Token | None = None  # of the request in doubt; None: not said


@dataclass(frozen=True, slots=True)
class FoundFile:
    """What a file says. `blank`: rows about which it says nothing."""

    findings: list[ListEntry]
    blank: int


def write_list(file: Path, doubts: Iterable[Doubt]) -> None:
    """Rows in doubt as a CSV whose column `video_id` is to be filled in. It is there whole, or not at all.

    Raises:
        SettingsError: the file exists already (someone may have filled it in), or can't be written.
    """
    if not file.name:
        raise SettingsError(f"--csv {file}: is a folder; name a file in it")
    part = file.with_name(f".{file.name}.part")
    try:
        point("list.open")
        file.parent.mkdir(parents=True, exist_ok=True)
        part.unlink(missing_ok=True)  # of a run that was killed
        with open(part, "x", encoding="utf-8-sig", newline="", opener=owner_only) as text:  # with a mark, for Excel
            writer = csv.writer(text)
            writer.writerow(COLUMNS)
            point("list.write")
            writer.writerows(_cells(doubt) for doubt in doubts)
        _place(part, file)
    except OSError as error:
        if isinstance(error, FileExistsError) and file.parent.is_dir():
            raise SettingsError(
                f"--csv {file}: exists already, and may be filled in. Choose another name."
            ) from error
        raise SettingsError(f"--csv {file}: can't be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _place(part: Path, file: Path) -> None:
    """Give a whole list its name, where that is free."""
    point("list.link")
    give_name(part, file)
    point("list.linked")


def _cells(doubt: Doubt) -> tuple[object, ...]:
    since = doubt.since.isoformat(timespec="seconds")
    known = (doubt.batch, doubt.row_key, doubt.row_number, since, doubt.credits_reserved, doubt.token)
    cells = (*known, doubt.image_path, doubt.prompt, "")
    return tuple(inert(cell) if isinstance(cell, str) else cell for cell in cells)


def findings_of(file: Path) -> FoundFile:
    """A CSV with the columns `row_key` and `video_id`, perhaps `batch` and `name_ends_in`; others are not looked at.

    Delimiter, encoding and marks are found out as for manifests; what is not UTF-8 is taken as cp1252. Only the word
    `not_created` says that there is no video; an empty cell says nothing.

    Raises:
        SettingsError: the file can't be read, lacks a column, or says something that can't be meant.
    """
    try:
        return _found(file, _lines(file))
    except (ManifestError, OSError, csv.Error) as error:
        raise SettingsError(f"--from {error}") from error


@dataclass(frozen=True, slots=True)
class _Line:
    """One line of the file, by its number."""

    number: int
    cells: list[str]


def _lines(file: Path) -> list[_Line]:
    """The column names first."""
    name = str(file)
    with open_file(name) as stream:
        if stream.read(8).startswith(_NOT_TEXT):
            raise ManifestError(f'{name}: is no text. Save the sheet as "CSV UTF-8" and give that file.')
    source = TextFile.look_at(name, None)
    try:
        source.verify()
    except ManifestError:
        if source.encoding != "utf-8":
            raise
        source = source._replace(encoding="cp1252", mark=0)
    with source.open() as stream:
        text = stream.read()
    header = read_header(name, text[:LONGEST], None, (_KEY, _ID))
    first = 1 + text[: header.size].count(b"\n")
    return [_Line(first, list(header.columns)), *_rows(name, header, text[header.size :].decode(), first)]


def _rows(name: str, header: Header, text: str, first: int) -> Iterator[_Line]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=header.delimiter, strict=True)
    line = first
    try:
        for cells in reader:
            yield _Line(line, cells)
            line = first + reader.line_num
    except csv.Error as error:
        raise ManifestError(f"{name}, line {line}: {error}. Look at its quotation marks.") from error


def _found(file: Path, lines: Sequence[_Line]) -> FoundFile:
    names = [bare_name(name) for name in lines[0].cells]
    if missing := [column for column in (_KEY, _ID) if column not in names]:
        has = ", ".join(lines[0].cells)
        raise SettingsError(f"--from {file}: lacks the column {' and '.join(missing)}. It has: {has}")
    findings, problems, blank = [], [], 0
    for line in lines[1:]:
        cells = line.cells
        row = dict(zip(names, map(trimmed, cells), strict=False))
        where, said = f"{file}, line {line.number}", row.get(_ID, "")
        problem = _shape(cells, len(names)) or _problem(row.get(_KEY, ""), said)
        if problem:
            problems.append(f"{where}{problem}")
        elif not said:
            blank += bool(row.get(_KEY))
        else:
            video_id = None if said == Verdict.NOT_CREATED else VideoId(said)
            batch = Batch(meant(row["batch"])) if row.get("batch") else None
            token = next((Token(row[name]) for name in _MARKS if row.get(name)), None)
            findings.append(ListEntry(RowKey(meant(row[_KEY])), video_id, f"{where}: ", batch, token))
    problems += _contradictions(findings)
    if problems:
        more = [f"and {len(problems) - _PROBLEMS_SHOWN} more"] if len(problems) > _PROBLEMS_SHOWN else []
        raise SettingsError("--from: nothing was decided.", *problems[:_PROBLEMS_SHOWN], *more)
    once = {_about(finding): finding for finding in reversed(findings)}
    return FoundFile([*reversed(once.values())], blank)


def _about(finding: ListEntry) -> tuple[Batch | None, RowKey, Token | None]:
    """A row may have more than one request in doubt."""
    return finding.batch, finding.row_key, finding.token


def _shape(cells: Sequence[str], width: int) -> str | None:
    """What is wrong with how a line is set apart, and what to do."""
    if any(cells[width:]):
        return ": more cells than column names. Put quotation marks around values that contain the delimiter."
    if 0 < len(cells) < width and any(cells[0].count(sign) >= width - 1 for sign in DELIMITERS):
        return ": its cells are set apart by another sign than the column names. Use one delimiter in the whole file."
    return None


def _problem(key: str, said: str) -> str | None:
    """What is wrong with what a line says, and what to do."""
    if said and not key:
        return f', column "{_KEY}": is empty. Write the key of the row that has the video.'
    like_the_word = "".join(filter(str.isalpha, said.lower())) == "notcreated" and said != Verdict.NOT_CREATED
    if like_the_word or any(character.isspace() for character in said):
        return f', column "{_ID}" (value "{visible(said)}"): no video has this id. {_REMEDY}'
    return None


def _contradictions(findings: Iterable[ListEntry]) -> Iterator[str]:
    """Lines that can't both be meant."""
    rows: dict[tuple[Batch | None, RowKey, Token | None], ListEntry] = {}
    videos: dict[VideoId, ListEntry] = {}
    for finding in findings:
        before = rows.setdefault(_about(finding), finding)
        if before.video_id != finding.video_id:
            yield f'{finding.where}column "{_KEY}": {before.where}says something else of this row. Keep one of them.'
        if finding.video_id is None:
            continue
        owner = videos.setdefault(finding.video_id, finding)
        if _about(owner) != _about(finding):
            yield (
                f'{finding.where}column "{_ID}" (value "{finding.video_id}"): {owner.where}gives this video to row '
                f"{owner.row_key}. Look for each row's own."
            )
