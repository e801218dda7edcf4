"""CSV files of what was found out about rows in doubt, as spreadsheets write them."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reelbatch import failpoints
from reelbatch.domain import Batch, RowKey, RunId, Token
from reelbatch.errors import SettingsError
from reelbatch.ledger.in_doubt import Doubt
from reelbatch.pipeline.reconcile_list import findings_of, write_list

PLAIN = "row_key,video_id\n007,not_created\nb,\n"
ODD_HEADERS = " Row_Key ;PROMPT;Video_ID\n007;a;not_created\nb;b;\n"


def said(file: Path) -> tuple[dict[str, str | None], int]:
    """Key to id, and how many rows nothing is said of."""
    found = findings_of(file)
    return {finding.row_key: finding.video_id for finding in found.findings}, found.blank


@pytest.mark.parametrize(
    "content",
    [
        PLAIN.encode(),
        PLAIN.replace(",", ";").encode("utf-8-sig"),
        PLAIN.replace(",", "\t").encode("utf-16"),
        b"\xef\xbb\xbf" + PLAIN.encode("utf-8-sig"),
        ODD_HEADERS.encode(),
        b"sep=;\r\n" + ODD_HEADERS.replace("\n", "\r\n").encode(),
        b'row_key,video_id,prompt\n007,not_created,"two\nlines, quoted"\nb\n',
        "row_key\u200b,video_id\n\u200b007,not_created\u200b\u00a0\nb,\u200b\n".encode(),
    ],
    ids=["plain", "semicolons", "utf-16", "two marks", "headers", "sep", "left out cells", "invisible"],
)
def test_however_a_spreadsheet_writes_it(tmp_path: Path, content: bytes) -> None:
    """Delimiter, marks, encoding, case of the headers, more columns, cells that were left out."""
    file = tmp_path / "found.csv"
    file.write_bytes(content)
    assert said(file) == ({"007": None}, 1)


def test_windows_own_encoding(tmp_path: Path) -> None:
    """Excel's plain CSV is cp1252; the key is the row's all the same."""
    file = tmp_path / "found.csv"
    file.write_bytes("row_key,video_id\nGr\u00f6\u00dfe 10,\nGr\u00f6\u00dfe 11,abc\n".encode("cp1252"))
    assert said(file) == ({"Gr\u00f6\u00dfe 11": "abc"}, 1)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("row_key,video_id\na,Not created\n", 'line 2, column "video_id" (value "Not created")'),
        ("row_key,video_id\na,NOT_CREATED\n", "not_created, or nothing"),
        ("row_key,video_id\na,two words\n", "no video has this id"),
        ("row_key,video_id\n,abc\n", 'line 2, column "row_key": is empty'),
        ("row_key,video_id\na,abc\nb,abc\n", "line 2: gives this video to row a"),
        ("row_key,video_id\na,abc\na,not_created\n", "line 3"),
        ("row_key,video_id\na,abc,more\n", "more cells than column names"),
        ("row_key,video_id\na;abc\n", "line 2: its cells are set apart by another sign than the column names"),
        ("row_key,video_id\na,not_cre\u200bated\n", 'value "not_cre<U+200B>ated"'),
        ('row_key,video_id\na,"abc\nb,not_created\n', "line 2: unexpected end of data"),
        ("key,video_id\na,b\n", "lacks the column row_key. It has: key, video_id"),
        ("", "is empty"),
        ("PK\x03\x04 a workbook", "CSV UTF-8"),
    ],
)
def test_what_can_t_be_meant_is_named(tmp_path: Path, content: str, says: str) -> None:
    """With file, line, column and what to do; nothing of such a file is carried out."""
    file = tmp_path / "found.csv"
    file.write_text(content)
    with pytest.raises(SettingsError) as raised:
        findings_of(file)
    assert says in str(raised.value)
    assert "found.csv" in str(raised.value)


def test_every_line_that_is_wrong_is_listed(tmp_path: Path) -> None:
    """One correction is enough."""
    file = tmp_path / "found.csv"
    file.write_text("row_key,video_id\na,x y\nb,not created\n")
    with pytest.raises(SettingsError, match=r"(?s)line 2.*line 3"):
        findings_of(file)


def test_the_same_twice_is_said_once(tmp_path: Path) -> None:
    """A line that was copied means nothing else."""
    file = tmp_path / "found.csv"
    file.write_text("row_key,video_id\na,abc\na,abc\n")
    assert [finding.row_key for finding in findings_of(file).findings] == ["a"]


def test_a_list_for_excel_has_no_live_formulas_and_is_read_as_it_was_meant(tmp_path: Path) -> None:
    """A key or a prompt that begins like one stands behind an apostrophe, which is taken away again."""
    keys = ["=1+1", "-12", "@x", "'=2", "'plain", "\t=3", "007"]
    doubts = [
        Doubt(
            batch=Batch("=b"),
            row_key=RowKey(key),
            row_number=number,
            token=Token("rb_1"),
            since=datetime.now(UTC),
            credits_reserved=1,
            name=None,
            message=None,
            run_id=RunId("r"),
            generation=1,
            image_path=f"+{key}",
            prompt="=HYPERLINK(1)",
        )
        for number, key in enumerate(keys)
    ]
    file = tmp_path / "doubts.csv"
    write_list(file, doubts)
    with file.open(encoding="utf-8-sig", newline="") as text:
        names, *lines = csv.reader(text)
    texts = [cell for line in lines for name, cell in zip(names, line, strict=True) if cell and name != "credits"]
    assert [cell for cell in texts if cell[0] in "=+-@\t\r"] == []
    filled = "\n".join(",".join(f'"{cell}"' for cell in [*line[:-1], "not_created"]) for line in lines)
    file.write_text(f"{','.join(names)}\n{filled}\n")
    found = findings_of(file).findings
    assert [(finding.batch, finding.row_key) for finding in found] == [("=b", key) for key in keys]


@pytest.fixture
def full_disk() -> Iterator[None]:
    """The disk is full when the list's rows are written, and only then."""
    failpoints.arm("ENOSPC@list.write")
    yield
    failpoints.arm(None)


@pytest.mark.usefixtures("full_disk")
def test_a_list_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    """Half a list would look like all of it, and would refuse the same command as filled in already."""
    file = tmp_path / "doubts.csv"
    with pytest.raises(SettingsError, match="No space left"):
        write_list(file, [])
    assert list(tmp_path.iterdir()) == []
    write_list(file, [])
    assert [path.name for path in tmp_path.iterdir()] == ["doubts.csv"]
    with pytest.raises(SettingsError, match="exists already"):
        write_list(file, [])
