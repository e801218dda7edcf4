"""Files as shops, spreadsheets and notebooks leave them: read as they were meant, or refused in one line."""

from __future__ import annotations

import json
import re
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from openpyxl import Workbook
from pyarrow import parquet as pq

from reelbatch.errors import ManifestError
from reelbatch.manifest.readers import excel

URL = "https://x.test/a.png"
HEAD = ["row_key", "image_path", "prompt"]


def workbook(path: Path, **sheets: list[list[Any]]) -> Path:
    """Write a workbook with a sheet for each argument."""
    book = Workbook()
    book.remove(book.worksheets[0])
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        ("<!DOCTYPE html>\n<html><body>Log in, please</body></html>\n", r"a web page \(HTML\)"),
        ("\n  <html lang=en>" + "x, y; " * 30_000, r"a web page \(HTML\)"),
        ('\ufeff<?xml version="1.0"?>\n<rss><channel/></rss>\n', "XML"),
    ],
)
def test_a_page_that_came_in_place_of_the_file_is_named(read: Any, csv_file: Any, start: str, kind: str) -> None:
    """A login page saved as CSV is refused in one line, however long its own lines are."""
    with pytest.raises(ManifestError, match=f"is {kind}, not a table") as error:
        read(csv_file(start))
    assert "\n" not in str(error.value)


def test_a_feed_called_txt_is_read(read: Any, csv_file: Any) -> None:
    """Merchant feeds are tab-separated, with any mark in their titles."""
    outcome = read(csv_file(f'row_key\timage_path\tprompt\nA\t{URL}\t24" pan, slow\n', "feed.txt"))
    assert [row.request.prompt for row in outcome.rows] == ['24" pan, slow']


def test_a_byte_order_mark_outranks_the_setting(read: Any, csv_file: Any) -> None:
    """It says what the bytes are; the setting may be of another file."""
    text = f"image_path,prompt\n{URL},Gemächlich\n"
    for encoding in ("utf-8-sig", "utf-16"):
        outcome = read(csv_file(text.encode(encoding)), encoding="cp1252")
        assert (outcome.rows[0].request.prompt, outcome.warnings) == ("Gemächlich", [])


def test_utf8_read_as_another_encoding_is_warned_of(read: Any, csv_file: Any) -> None:
    """Letters would be two odd ones each; text that really is cp1252 gets no warning."""
    text = f"image_path,prompt\n{URL},Gemächlich\n"
    outcome = read(csv_file(text.encode()), encoding="cp1252")
    assert [warning.what for warning in outcome.warnings] == [
        "is UTF-8 by its bytes, but is read as cp1252, as the setting encoding says"
    ]
    assert read(csv_file(text.encode("cp1252")), encoding="cp1252").warnings == []


def test_a_key_may_come_first_on_any_line(read: Any, csv_file: Any) -> None:
    """Also behind thousands of lines without it."""
    line = {"image_path": URL, "prompt": "Pan"}
    lines = [line] * 12_000 + [line | {"model": "ltx-2.5"}]
    outcome = read(csv_file("\n".join(map(json.dumps, lines)), "c.jsonl"))
    assert [row.request.model for row in outcome.rows[-2:]] == [None, "ltx-2.5"]


def test_equal_damaged_json_lines_are_two_rows(read: Any, csv_file: Any) -> None:
    """They do not make the manifest unusable."""
    outcome = read(csv_file(json.dumps({"image_path": URL, "prompt": "Pan"}) + "\noops\noops\n", "c.jsonl"))
    assert len({row.row_key for row in outcome.rows}) == 3


def test_a_workbook_is_read(read: Any, tmp_path: Path) -> None:
    """Whole numbers without a fraction, blank rows counted, cells left out at the end empty."""
    rows: list[list[Any]] = [[], HEAD, [7, URL, "Pan"], [], [4006381333931, URL, "Tilt"], ["x", URL]]
    outcome = read(workbook(tmp_path / "c.xlsx", Sheet=rows), defaults={"end_seconds": 5, "prompt": "Default"})
    assert outcome.problems == outcome.warnings == []
    assert [(row.row_number, row.row_key, row.request.prompt) for row in outcome.rows] == [
        (1, "7", "Pan"),
        (3, "4006381333931", "Tilt"),
        (4, "x", "Default"),
    ]


def rewritten(path: Path, part: str, *changes: tuple[str, str]) -> Path:
    """A workbook with other text in the parts whose names begin so."""
    other = path.with_name(f"other {path.name}")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(other, "w") as new:
        for name in old.namelist():
            text = old.read(name).decode()
            for before, after in changes if name.startswith(part) else ():
                text = re.sub(before, after, text)
            new.writestr(name, text)
    return other


def test_signs_that_a_workbook_states_by_number_are_themselves(read: Any, tmp_path: Path) -> None:
    """Text from Windows has `_x000D_` before its line ends, in cells and in headers."""
    rows = [["row_key", "image_path", "Prompt_x000D_"], ["a_x0041_", URL, "Pan_x000D_\nslowly _xD83D__xDE00_ _x1_"]]
    (row,) = read(workbook(tmp_path / "c.xlsx", A=rows)).rows
    assert (row.row_key, row.request.prompt) == ("aA", "Pan\r\nslowly \U0001f600 _x1_")


def test_a_formula_without_its_value_is_no_empty_cell(read: Any, tmp_path: Path) -> None:
    """Wherever it counts: sheet, cell, row, column and remedy; what is not used, or was calculated, is no matter."""
    head = [*HEAD, "end_seconds", "Notes", "Titel"]
    rows = [
        ["a", URL, "Pan", 5, "=1+1", "Cup"],
        ["b", '="https://x.test/"&A3&".png"', "Pan", 5, None, "Cup"],
        ["c", URL, "=A4", 5, None, "Cup"],
        ["d", URL, "Pan", "=2+3", None, "Cup"],
        ["=1+5", URL, "Pan", 5, None, "Cup"],
        ["f", URL, None, 5, None, "=A7"],
    ]
    path = workbook(tmp_path / "c.xlsx", Notes=[["about"]], Shots=[head, *rows])
    outcome = read(path, prompt_template="Orbit of {Titel}", strip_html=["Titel"])
    what = 'a formula whose value is not saved in the workbook, in {} of sheet "Shots"'
    assert [(each.row_number, each.column, each.what) for each in outcome.problems] == [
        (2, "image_path", what.format("B3")),
        (3, "prompt", what.format("C4")),
        (4, "end_seconds", what.format("D5")),
        (5, "row_key", what.format("A6")),
        (6, "Titel", what.format("F7")),
    ]
    assert {each.remedy for each in outcome.problems} == {
        "Open the workbook in Excel and save it there, or paste the values in place of the formulas."
    }
    path = rewritten(path, "xl/worksheets/", ("<f>[^<]*</f><v ?/>", "<f>A1</f><v>7</v>"))
    (problem,) = read(path, prompt_template="Orbit of {Titel}").problems
    assert (problem.column, problem.value, problem.what) == ("image_path", "7", "no such file")


def test_a_formula_that_came_to_an_empty_text_is_an_empty_cell(read: Any, tmp_path: Path) -> None:
    """Excel says so by the kind of the cell."""
    rows = [["a", URL, "=A1"], ["b", URL, "=A1"]]
    path = workbook(tmp_path / "c.xlsx", A=[HEAD, *rows])
    path = rewritten(path, "xl/worksheets/", ('<c r="C([0-9])"[^>]*><f>', r'<c r="C\1" t="str"><f>'))
    outcome = read(path, defaults={"prompt": "Pan", "end_seconds": 5})
    assert [row.request.prompt for row in outcome.rows] == ["Pan", "Pan"]
    assert outcome.problems == []


def test_a_row_whose_condition_is_not_known_is_not_left_out(read: Any, tmp_path: Path) -> None:
    """It is a problem of its own, and neither sent nor forgotten."""
    rows = [["a", URL, "Pan", "active"], ["b", URL, "Pan", "=D2"], ["c", URL, "Pan", "draft"]]
    path = workbook(tmp_path / "c.xlsx", A=[[*HEAD, "Status"], *rows])
    outcome = read(path, where={"Status": "active"}, defaults={"end_seconds": 5})
    (problem,) = outcome.problems
    assert (problem.row_number, problem.what.partition(":")[0]) == (2, 'column "Status"')
    assert [row.problem is None for row in outcome.rows] == [True, False]


def test_what_a_workbook_has_for_excel_alone_is_not_complained_about(read: Any, tmp_path: Path) -> None:
    """Rules for cells and styles that openpyxl does not know reach no terminal; here a warning would be an error."""
    rule = '<extLst><ext uri="{CCE6A557-97BC-4b89-ADB6-D9C93CAAB3DF}"/></extLst></worksheet>'
    path = workbook(tmp_path / "c.xlsx", A=[HEAD, ["a", URL, "Pan"]])
    path = rewritten(path, "xl/worksheets/", ("</worksheet>", rule))
    path = rewritten(
        path, "xl/styles.xml", ("<cellStyles.*</cellStyles>", ""), ("<cellStyleXfs.*</cellStyleXfs>", "")
    )
    assert [row.row_key for row in read(path).rows] == ["a"]


def test_a_strict_workbook_is_named(read: Any, tmp_path: Path) -> None:
    """It has the same ending, and would look empty."""
    strict = (
        (
            "http://schemas.openxmlformats.org/spreadsheetml/2006/main",
            "http://purl.oclc.org/ooxml/spreadsheetml/main",
        ),
        ("http://schemas.openxmlformats.org/officeDocument/2006/", "http://purl.oclc.org/ooxml/officeDocument/"),
    )
    path = rewritten(workbook(tmp_path / "c.xlsx", A=[HEAD, ["a", URL, "Pan"]]), "", *strict)
    with pytest.raises(ManifestError, match=r'"Strict Open XML", which is not read\. Save it as "Excel Workbook'):
        read(path)


def test_of_several_sheets_the_one_with_our_columns_is_read(read: Any, tmp_path: Path) -> None:
    """It is said which one."""
    path = workbook(tmp_path / "c.xlsx", Notes=[["about"], ["this"]], Shots=[HEAD, ["a", URL, "Pan"]], Empty=[])
    outcome = read(path)
    assert [row.row_key for row in outcome.rows] == ["a"]
    assert [warning.what for warning in outcome.warnings] == ['of several sheets "Shots" is read; others are "Notes"']


def test_many_rows_of_a_workbook_come_in_batches(read: Any, tmp_path: Path) -> None:
    """Their numbers go on."""
    rows = [HEAD, *([f"k{number}", URL, "Pan"] for number in range(12_000))]
    assert [row.row_number for row in read(workbook(tmp_path / "c.xlsx", A=rows)).rows] == list(range(1, 12_001))


def test_a_workbook_that_unpacks_to_a_flood_is_refused(
    read: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before any of it is unpacked."""
    path = workbook(tmp_path / "c.xlsx", A=[HEAD, ["a", URL, "x" * 30_000]])
    monkeypatch.setattr(excel, "LARGEST_WORKBOOK", 20_000)
    with pytest.raises(ManifestError, match=r"c\.xlsx: unpacks to more than 20,000 bytes"):
        read(path)


def test_a_cut_off_workbook_is_an_error(read: Any, tmp_path: Path) -> None:
    """One line, and no traceback."""
    path = workbook(tmp_path / "c.xlsx", A=[HEAD, ["a", URL, "Pan"]])
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ManifestError, match=r"c\.xlsx: is damaged or cut off"):
        read(path)


def test_parquet_text_that_is_no_text_makes_its_row_invalid(read: Any, tmp_path: Path) -> None:
    """A writer that stored cp1252 as text: the rows beside it go on."""
    lie = pa.Array.from_buffers(pa.string(), 3, pa.array([b"Pan", b"Gem\xe4chlich", b"Tilt"]).buffers())
    pq.write_table(pa.table({"image_path": [URL] * 3, "prompt": lie}), tmp_path / "c.parquet")
    outcome = read(tmp_path / "c.parquet")
    assert [(number, column) for number, column, _ in outcome.whats] == [(2, "prompt")]
    assert [row.problem is None for row in outcome.rows] == [True, False, True]
    str(outcome.problems[0]).encode()


def test_a_parquet_column_name_that_is_no_text_is_an_error(read: Any, tmp_path: Path) -> None:
    """One line, and no traceback."""
    pq.write_table(pa.table({"image_path": [URL], "prompt": ["a"], "groesse": [1]}), tmp_path / "c.parquet")
    content = (tmp_path / "c.parquet").read_bytes()
    (tmp_path / "c.parquet").write_bytes(content.replace(b"groesse", b"gr\xf6\xdfe!!"))
    with pytest.raises(ManifestError, match=r"c\.parquet: .*(column is not UTF-8|can't be read as Parquet)"):
        read(tmp_path / "c.parquet")


def test_parquet_columns_without_a_name_are_told_apart(read: Any, tmp_path: Path) -> None:
    """Two of them can be used by their places."""
    table = pa.Table.from_arrays([pa.array([URL]), pa.array(["Pan"]), pa.array([7])], ["image_path", "", ""])
    pq.write_table(table, tmp_path / "c.parquet")
    options = {"columns": {"prompt": "(column 2)", "end_seconds": "(column 3)"}, "defaults": {}}
    assert read(tmp_path / "c.parquet", **options).rows[0].request[1:3] == ("Pan", 7.0)


def test_old_parquet_times_are_the_times_that_were_written(read: Any, tmp_path: Path) -> None:
    """INT96 holds years that nanoseconds do not; they come out as they went in."""
    times = pa.array([datetime(1500, 1, 2), datetime(2500, 1, 2)], pa.timestamp("us"))  # noqa: DTZ001 - as written
    table = pa.table({"image_path": [URL] * 2, "prompt": ["a", "b"], "row_key": times})
    pq.write_table(table, tmp_path / "c.parquet", use_deprecated_int96_timestamps=True)
    assert [row.row_key for row in read(tmp_path / "c.parquet").rows] == [
        "1500-01-02T00:00:00",
        "2500-01-02T00:00:00",
    ]


def test_keys_that_floating_point_has_rounded_are_refused(read: Any, tmp_path: Path) -> None:
    """From 2 to the 53rd on a float is not the number that was meant; below it is, without a fraction."""
    keys = [1002.0, 2.0**53 - 1, 2.0**53, 12345678901234567890.0]
    frame = pd.DataFrame({"image_path": [URL] * 4, "prompt": list("abcd"), "row_key": keys})
    frame.to_parquet(tmp_path / "c.parquet")
    for source in (frame, tmp_path / "c.parquet"):
        outcome = read(source)
        assert [row.row_key for row in outcome.rows[:2]] == ["1002", "9007199254740991"]
        lost = "a number so long that its last digits are lost"
        assert outcome.whats == [(3, "row_key", lost), (4, "row_key", lost)]
