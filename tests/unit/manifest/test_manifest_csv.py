"""Delimited text: what spreadsheets, editors and scripts write is read as it was meant."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reelbatch.domain import Fingerprint
from reelbatch.errors import ManifestError
from reelbatch.manifest.options import ManifestOptions
from reelbatch.manifest.parsing import ERROR_VALUES, trimmed
from reelbatch.manifest.readers.csv_grammar import LONGEST_ROW

HEAD = "image_path,prompt\n"
ROW = "https://x.test/a.png,Pan\n"


def _prompts(outcome: Any) -> list[Any]:
    return [row.request.prompt for row in outcome.rows]


def test_a_plain_file_is_read(read: Any, csv_file: Any) -> None:
    """Every row comes out with its number, its request and a key that is its fingerprint."""
    outcome = read(csv_file(HEAD + ROW + "https://x.test/b.png,Tilt\n"))
    assert outcome.problems == outcome.warnings == []
    assert [row.row_number for row in outcome.rows] == [1, 2]
    assert outcome.rows[1].request[:3] == ("https://x.test/b.png", "Tilt", 5.0)
    assert all(row.row_key == row.fingerprint == row.request.fingerprint() for row in outcome.rows)
    assert outcome.rows[0].credits_estimated == 240


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_detected(read: Any, csv_file: Any, delimiter: str) -> None:
    """Each of four delimiters is found, also if another one is inside a quoted column name."""
    text = f'image_path{delimiter}prompt{delimiter}"a,b;c"\nhttps://x.test/a.png{delimiter}"one,two;three|four"{delimiter}x\n'
    assert _prompts(read(csv_file(text))) == ["one,two;three|four"]


def test_the_delimiter_that_yields_known_columns_wins(read: Any, csv_file: Any) -> None:
    """More columns alone do not make a delimiter: they have to be ours."""
    text = "image_path;prompt;a, b, c, d\nhttps://x.test/a.png;Pan;1\n"
    assert _prompts(read(csv_file(text))) == ["Pan"]


def test_a_given_delimiter_is_used(read: Any, csv_file: Any) -> None:
    """An unusual delimiter can be stated."""
    assert _prompts(read(csv_file("image_path^prompt\nhttps://x.test/a.png^Pan\n"), delimiter="^")) == ["Pan"]


@pytest.mark.parametrize("delimiter", ["::", "", "§", '"', "\n"])
def test_an_impossible_delimiter_is_refused(read: Any, csv_file: Any, delimiter: str) -> None:
    """A delimiter that can separate nothing is an error, not a crash."""
    with pytest.raises(ManifestError, match="can't be used"):
        read(csv_file(HEAD + ROW), delimiter=delimiter)


def test_excels_delimiter_line_is_obeyed(read: Any, csv_file: Any) -> None:
    """`sep=;` in the first line is no column name."""
    text = "sep=;\r\nimage_path;prompt\r\nhttps://x.test/a.png;Pan\r\n"
    outcome = read(csv_file(text))
    assert _prompts(outcome) == ["Pan"]
    assert outcome.rows[0].row_number == 1


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_encodings_are_found_by_their_mark(read: Any, csv_file: Any, encoding: str) -> None:
    """UTF-8 with or without a mark, UTF-16 and UTF-32 by theirs."""
    text = HEAD + "https://x.test/a.png,ゆっくり café 🌸\n"
    assert _prompts(read(csv_file(text.encode(encoding)))) == ["ゆっくり café 🌸"]


@pytest.mark.parametrize("encoding", ["cp1252", "shift_jis", "utf-16-le", "UTF8"])
def test_a_stated_encoding_is_used(read: Any, csv_file: Any, encoding: str) -> None:
    """Whatever Python can decode can be stated."""
    word = "café" if encoding == "cp1252" else "花瓶"
    text = HEAD + f"https://x.test/a.png,{word}\n"
    assert _prompts(read(csv_file(text.encode(encoding)), encoding=encoding)) == [word]


def test_a_windows_file_is_named_with_its_line(read: Any, csv_file: Any) -> None:
    """Text that is not UTF-8 gives an error with the line, the place and the remedy."""
    content = (HEAD + ROW * 3 + "https://x.test/a.png,A café at dawn\n").encode("cp1252")
    with pytest.raises(ManifestError, match=r"line 5: not in the encoding utf-8, near .*café.*CSV UTF-8"):
        read(csv_file(content))


def test_a_windows_header_is_named_too(read: Any, csv_file: Any) -> None:
    """The same in the line of column names."""
    with pytest.raises(ManifestError, match="line 1: not in the encoding"):
        read(csv_file("image_path,prompt,größe\n".encode("cp1252")))


@pytest.mark.parametrize("encoding", ["klingon", "base64"])
def test_an_unknown_encoding_is_refused(read: Any, csv_file: Any, encoding: str) -> None:
    """An encoding that Python does not know, or that is not about text, is an error."""
    with pytest.raises(ManifestError, match=f'encoding "{encoding}" is not known'):
        read(csv_file(HEAD + ROW), encoding=encoding)


def test_utf16_without_a_mark_is_recognised(read: Any, csv_file: Any) -> None:
    """The message says which encoding to set."""
    with pytest.raises(ManifestError, match='Set encoding to "utf-16-le"'):
        read(csv_file((HEAD + ROW).encode("utf-16-le")))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_all_line_ends_are_read(read: Any, csv_file: Any, end: str) -> None:
    """Unix, Windows and old Mac line ends."""
    assert _prompts(read(csv_file((HEAD + ROW + ROW).replace("\n", end)))) == ["Pan", "Pan"]


def test_a_missing_last_line_end_is_no_fault(read: Any, csv_file: Any) -> None:
    """The last row counts without a line end."""
    assert _prompts(read(csv_file(HEAD + ROW.strip()))) == ["Pan"]


def test_quoted_values_may_hold_anything(read: Any, csv_file: Any) -> None:
    """Line breaks, delimiters and doubled quotation marks inside quotes belong to the value."""
    text = HEAD + 'https://x.test/a.png,"Slow, ""very"" slow\nthen stop"\n' + ROW
    outcome = read(csv_file(text))
    assert _prompts(outcome) == ['Slow, "very" slow\nthen stop', "Pan"]
    assert [row.row_number for row in outcome.rows] == [1, 2]


def test_blank_rows_are_skipped_and_counted(read: Any, csv_file: Any) -> None:
    """Empty lines and rows of nothing but delimiters are not sent; row numbers stay those of a spreadsheet."""
    outcome = read(csv_file(HEAD + "\n" + ROW + ",\n  , \n" + ROW + "\n\n"))
    assert [row.row_number for row in outcome.rows] == [2, 5]
    assert outcome.problems == []


def test_a_row_with_only_a_remark_is_not_blank(read: Any, csv_file: Any) -> None:
    """A row that has content somewhere is reported, not dropped."""
    outcome = read(csv_file("image_path,prompt,note\nhttps://x.test/a.png,Pan,\n,,call Ann\n"))
    assert [(number, column) for number, column, _ in outcome.whats] == [(2, "image_path"), (2, "prompt")]


def test_blank_lines_above_the_header_are_skipped(read: Any, csv_file: Any) -> None:
    """The first line with content holds the names."""
    assert _prompts(read(csv_file("\n\r\n" + HEAD + ROW))) == ["Pan"]


def test_ragged_rows_do_not_stop_the_others(read: Any, csv_file: Any) -> None:
    """Too many or too few cells make that row invalid, with its number; the others go on."""
    bad = "https://x.test/b.png,Slow, please\n" * 2
    outcome = read(csv_file(HEAD + ROW + bad + ROW))
    assert [row.row_number for row in outcome.rows] == [1, 2, 3, 4]
    assert [(number, what) for number, _, what in outcome.whats] == [
        (2, "3 cells where the header has 2"),
        (3, "3 cells where the header has 2"),
    ]
    assert [row.problem is None for row in outcome.rows] == [True, False, False, True]
    assert outcome.rows[1].request.image_path == "https://x.test/b.png"
    assert outcome.rows[1].row_key != outcome.rows[2].row_key


def test_a_ragged_row_keeps_the_key_in_its_first_cell(read: Any, csv_file: Any) -> None:
    """Nothing can have moved the first cell, so the row keeps its identity until it is corrected."""
    outcome = read(csv_file("row_key," + HEAD + "k1,https://x.test/a.png,a,b\n"))
    assert outcome.rows[0].row_key == "k1"
    assert read(csv_file(HEAD.strip() + ",row_key\na,b\n")).rows[0].row_key not in {"a", "b"}


def test_ragged_rows_keep_their_numbers_across_blocks(read: Any, csv_file: Any) -> None:
    """Numbers are right however far into the file a bad row is."""
    long = "x" * 500
    lines = [f"https://x.test/{n}.png,{long}\n" if n % 1000 else "bad,,x\n" for n in range(1, 12_001)]
    outcome = read(csv_file(HEAD + "".join(lines)))
    assert [number for number, _, _ in outcome.whats] == list(range(1000, 12_001, 1000))
    assert [row.row_number for row in outcome.rows] == list(range(1, 12_001))
    assert all(row.request.image_path in {"bad", f"https://x.test/{row.row_number}.png"} for row in outcome.rows)


def test_an_open_quotation_mark_is_explained(read: Any, csv_file: Any) -> None:
    """A row that swallows the rest of the file is a problem that says why."""
    outcome = read(csv_file(HEAD + ROW + '"https://x.test/b.png,Pan\n' + ROW * 3))
    assert outcome.whats[0][0] == 2
    assert "quotation mark is opened and not closed" in outcome.whats[0][2]


def test_an_open_quotation_mark_in_the_last_column_is_explained(read: Any, csv_file: Any) -> None:
    """The same where the number of cells happens to be right."""
    outcome = read(csv_file(HEAD + ROW + 'https://x.test/b.png,"Pan\n' + ROW * 3))
    assert [number for number, _, _ in outcome.whats] == [2]
    assert "quotation mark is opened and not closed" in outcome.whats[0][2]


def test_an_endless_row_is_one_row(read: Any, csv_file: Any) -> None:
    """A mark that stays open for megabytes costs its own line, and no line behind it."""
    count = 2 * LONGEST_ROW // len(ROW)
    outcome = read(csv_file(HEAD + ROW + 'https://x.test/b.png,"Pan\n' + ROW * count))
    assert len(outcome.rows) == 2 + count
    assert outcome.whats == [(2, None, "a quotation mark is opened and not closed")]


def test_an_endless_line_is_one_row(read: Any, csv_file: Any) -> None:
    """A line of any length is invalid and named by its beginning; the next line is the next row."""
    for end in ("\n", "\r\n", "\r"):
        text = HEAD + ROW + "x" * (3 * LONGEST_ROW) + "\n" + ROW + "https://x.test/c.png,a,b\n"
        outcome = read(csv_file(text.replace("\n", end)))
        assert [number for number, _, _ in outcome.whats] == [2, 4]
        assert outcome.whats[0][2] == "a line of more than 4,194,304 bytes"
        assert [problem.value.split(":")[0] for problem in outcome.problems] == ["line 3", "line 5"]
        assert _prompts(outcome) == ["Pan", None, "Pan", None]


def test_a_long_row_is_read_like_any_other(read: Any, csv_file: Any) -> None:
    """A row longer than what is parsed at a time; every row still comes once, and every broken one."""
    rows = [f"https://x.test/{number}.png,Pan,\n" for number in range(1, 60_001)]
    rows[9::10_000] = ["too,many,cells,here\n"] * 6
    rows[40_000] = f"https://x.test/40001.png,Pan,{'x' * (3 << 20)}\n"
    outcome = read(csv_file("image_path,prompt,note\n" + "".join(rows)))
    assert [row.row_number for row in outcome.rows] == list(range(1, 60_001))
    assert [number for number, _, _ in outcome.whats] == list(range(10, 60_001, 10_000))
    assert all(row.request.image_path.endswith(f"/{row.row_number}.png") for row in outcome.rows if not row.problem)


def test_an_endless_header_is_an_error(read: Any, csv_file: Any) -> None:
    """A quotation mark that stays open in the names is found."""
    with pytest.raises(ManifestError, match="line of column names does not end"):
        read(csv_file('image_path,"prompt\n' + ROW))


def test_a_header_may_hold_line_breaks(read: Any, csv_file: Any) -> None:
    """Names in quotes may span lines, as spreadsheets write them."""
    assert _prompts(read(csv_file('image_path,"prompt","two\nlines"\nhttps://x.test/a.png,Pan,x\n'))) == ["Pan"]


def test_a_header_alone_is_a_warning(read: Any, csv_file: Any) -> None:
    """A file without rows is readable and says so."""
    for text in (HEAD, HEAD.strip(), HEAD + "\n\n"):
        outcome = read(csv_file(text))
        assert outcome.rows == []
        assert [warning.what for warning in outcome.warnings] == ["has no rows"]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf", b"   "])
def test_an_empty_file_is_an_error(read: Any, csv_file: Any, content: Any) -> None:
    """Nothing at all is not a manifest."""
    with pytest.raises(ManifestError, match="is empty"):
        read(csv_file(content))


def test_columns_of_our_names_that_stand_twice_are_told_apart_by_their_places(read: Any, csv_file: Any) -> None:
    """Until it is said which is meant, or that none is, neither is taken."""
    path = csv_file("image_path,model,prompt, prompt ,Model\nhttps://x.test/a.png,ltx-2.3,Pan,Tilt,x\n")
    with pytest.raises(
        ManifestError, match=r'called prompt: "prompt \(column 3\)" and "prompt \(column 4\)"\. Rename'
    ):
        read(path)
    assert _prompts(read(path, columns={"prompt": "prompt (column 4)"})) == ["Tilt"]
    none = read(path, columns={"prompt": None}, defaults={"prompt": "Zoom", "end_seconds": 5})
    assert _prompts(none) == ["Zoom"]


def test_a_header_of_several_lines_is_one_name(read: Any, csv_file: Any) -> None:
    """With a blank where the line ends: so settings and templates name it, and so messages show it."""
    path = csv_file('image_path,"prompt\r\n","end\nseconds","Main \n title"\nhttps://x.test/a.png,,soon,Pot\n')
    stated: dict[str, Any] = {"columns": {"end_seconds": "End seconds"}, "prompt_template": "Pan over {Main title}"}
    outcome = read(path, **stated)
    assert _prompts(outcome) == ["Pan over Pot"]
    assert [problem.column for problem in outcome.problems] == ["end seconds"]
    with pytest.raises(ManifestError, match=r"Found: image_path, prompt, end seconds, Main title\."):
        read(path, columns={"end_seconds": "seconds"})


def test_columns_without_a_name_are_ignored(read: Any, csv_file: Any) -> None:
    """Spreadsheets leave empty columns behind."""
    assert _prompts(read(csv_file("image_path,prompt,,\nhttps://x.test/a.png,Pan,,\n"))) == ["Pan"]


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [
        (".csv.gz", gzip.compress),
        (".csv.bz2", bz2.compress),
        (".csv.zst", lambda data: pa.compress(data, "zstd", asbytes=True)),
    ],
)
def test_packed_files_are_read(read: Any, csv_file: Any, suffix: str, pack: Any) -> None:
    """gzip, bzip2 and Zstandard are unpacked on the way."""
    assert _prompts(read(csv_file(pack((HEAD + ROW * 3).encode("utf-8-sig")), "c" + suffix))) == ["Pan"] * 3


def test_a_cut_off_archive_is_an_error(read: Any, csv_file: Any) -> None:
    """A truncated download is found, not read as a shorter manifest."""
    rows = "".join(f"https://x.test/{n * 7919 % 10007}.png,Pan {n}\n" for n in range(50_000))
    packed = gzip.compress((HEAD + rows).encode())
    with pytest.raises(ManifestError, match="damaged or cut off"):
        read(csv_file(packed[: len(packed) // 2], "c.csv.gz"))


def test_a_name_that_promises_an_archive_is_checked(read: Any, csv_file: Any) -> None:
    """Plain text called .gz is said to be plain."""
    with pytest.raises(ManifestError, match="is not compressed"):
        read(csv_file(HEAD + ROW, "c.csv.gz"))


def test_a_manifest_may_be_anywhere(read: Any) -> None:
    """Any fsspec URL works."""
    with fsspec.open("memory://shop/catalogue.csv", "wb") as file:
        file.write((HEAD + ROW).encode("utf-8-sig"))
    assert _prompts(read("memory://shop/catalogue.csv")) == ["Pan"]


def test_a_tsv_is_read(read: Any, csv_file: Any) -> None:
    """Tabs, by suffix or not."""
    assert _prompts(read(csv_file(HEAD.replace(",", "\t") + ROW.replace(",", "\t"), "c.tsv"))) == ["Pan"]


cell = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), min_size=1, max_size=40).filter(
    lambda text: text.strip() not in ERROR_VALUES
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    prompts=st.lists(cell.filter(trimmed), min_size=1, max_size=8),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
)
def test_what_pythons_csv_writes_is_read_back(
    read: Any, tmp_path: Path, prompts: Any, quoting: Any, delimiter: str
) -> None:
    """Quotation marks, line breaks and any script survive, and give the fingerprint of the request itself."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=quoting, delimiter=delimiter)
    writer.writerow(["image_path", "prompt", "name"])
    writer.writerows(["https://x.test/a.png", prompt, "花瓶 é"] for prompt in prompts)
    path = tmp_path / "round.csv"
    path.write_text(text.getvalue(), encoding="utf-8", newline="")
    outcome = read(path, multiline="allow")
    assert outcome.problems == []
    assert _prompts(outcome) == [trimmed(prompt) for prompt in prompts]
    assert [row.fingerprint for row in outcome.rows] == [
        Fingerprint(row.request.fingerprint()) for row in outcome.rows
    ]


def test_batches_are_bounded(csv_file: Any, checks: Any) -> None:
    """A large file comes in batches of at most ten thousand rows, and can be read again."""
    from reelbatch.manifest import open_manifest

    manifest = open_manifest(csv_file(HEAD + ROW * 25_000), ManifestOptions(), checks)
    for _ in range(2):
        sizes = [len(batch.rows) for batch in manifest.batches()]
        assert sum(sizes) == 25_000
        assert max(sizes) <= 10_000
