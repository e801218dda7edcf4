"""Quotation marks read strictly: two rows never become one, and none is lost."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reelbatch.errors import ManifestError
from reelbatch.manifest import text_file
from reelbatch.manifest.options import ManifestOptions
from reelbatch.manifest.readers import csv as delimited
from reelbatch.manifest.readers.csv import DelimitedSource

HEAD = "row_key,image_path,prompt,end_seconds\n"
A = "a,https://x.test/a.png,Pan,5\n"
FILL = "".join(f"f{number},https://x.test/f.png,Fill,5\n" for number in range(20_000))


def row(key: str, prompt: str) -> str:
    """One row with its prompt as it stands in the file."""
    return f"{key},https://x.test/{key}.png,{prompt},5\n"


def _prompts(outcome: Any) -> dict[str, str | None]:
    return {each.row_key: None if each.problem else each.request.prompt for each in outcome.rows}


@pytest.mark.parametrize("around", ["", FILL])
def test_an_open_mark_costs_its_own_row_only(read: Any, csv_file: Any, around: str) -> None:
    """Two cells open with a mark that is never closed: the rows between and behind them are all there."""
    outcome = read(csv_file(HEAD + around + row("A", '"Slow pan') + row("B", '"Sway') + row("C", "Drift")))
    prompts = _prompts(outcome)
    assert [prompts[key] for key in "ABC"] == [None, None, "Drift"]
    assert [what for _, _, what in outcome.whats] == [
        "a quotation mark ends a cell, and more text follows",
        "a quotation mark is opened and not closed",
    ]
    line = 2 + around.count("\n")
    assert [problem.value.split(": ")[0] for problem in outcome.problems] == [f"line {line:,}", f"line {line + 1:,}"]
    assert 'manifest.quoting to "none"' in outcome.problems[0].remedy


def test_marks_that_happen_to_match_do_not_merge_rows(read: Any, csv_file: Any) -> None:
    """One stray mark in each of two rows, so that both would pass for one; a line alone is a row."""
    outcome = read(csv_file(HEAD + row("A", '"Best of') + row("B", 'Monitor 24"') + A))
    assert _prompts(outcome) == {"A": None, "B": 'Monitor 24"', "a": "Pan"}
    assert outcome.whats == [(1, None, "a quoted cell has line ends, and one of its lines alone could be a row")]
    assert "manifest.multiline to allow" in outcome.problems[0].remedy


@pytest.mark.parametrize("around", ["", FILL])
def test_a_damaged_line_is_not_swallowed_either(read: Any, csv_file: Any, around: str) -> None:
    """How many cells it was meant to have, its own stray marks hide: it stays a row, and an invalid one."""
    text = HEAD + around + row("A", '"Slow pan') + row("B", '""Sway"", slowly, left') + 'rest of a line",5\n' + A
    outcome = read(csv_file(text))
    prompts = _prompts(outcome)
    assert (prompts["A"], prompts["B"], prompts["a"]) == (None, None, "Pan")
    assert [what for _, _, what in outcome.whats][:2] == [
        "a quoted cell has line ends, and one of its lines alone could be a row",
        "a quotation mark ends a cell, and more text follows",
    ]


@pytest.mark.parametrize("around", ["", FILL])
@pytest.mark.parametrize(("end", "stray"), [("\r\n", "\n"), ("\r\n", "\r"), ("\n", "\r"), ("\r", "\n")])
def test_a_row_that_is_cut_in_two_is_not_swallowed(
    read: Any, csv_file: Any, around: str, end: str, stray: str
) -> None:
    """Two marks that happen to match, and within the second row a line end that is not like those of the rows."""
    text = HEAD + around + row("A", '"Slow pan') + row("B", f'Sl{stray}ow pan"') + A
    outcome = read(csv_file(text.replace("\n", end).replace(f"Sl{end}ow", f"Sl{stray}ow").encode()))
    prompts = _prompts(outcome)
    assert (prompts["A"], prompts["a"]) == (None, "Pan")
    assert not any("B,https" in (prompt or "") for prompt in prompts.values())
    assert outcome.whats[0][2] == "a quoted cell has line ends, and one of its lines alone could be a row"


@pytest.mark.parametrize("around", ["", FILL])
def test_line_feeds_of_a_spreadsheet_within_a_cell_are_no_damage(read: Any, csv_file: Any, around: str) -> None:
    """Excel ends rows with both signs and lines of a cell with one: commas there make no rows."""
    told = "Slow, then\nleft, then\nright, then up"
    text = (HEAD + around + A).replace("\n", "\r\n") + f'B,https://x.test/b.png,"{told}",5\r\n'
    outcome = read(csv_file(text.encode()))
    assert outcome.problems == []
    assert _prompts(outcome)["B"] == told


def test_cells_with_line_ends_can_be_allowed(read: Any, csv_file: Any) -> None:
    """Who means such a cell says so, and gets it whole."""
    text = HEAD + row("A", '"first\none, two, three, four\nlast"') + A
    assert _prompts(read(csv_file(text)))["A"] is None
    allowed = read(csv_file(text), multiline="allow")
    assert _prompts(allowed) == {"A": "first\none, two, three, four\nlast", "a": "Pan"}
    assert [each.row_number for each in allowed.rows] == [1, 2]


@pytest.mark.parametrize("around", ["", FILL])
def test_cells_with_line_ends_that_can_be_no_rows_need_no_word(read: Any, csv_file: Any, around: str) -> None:
    """A paragraph is a cell, also beside twenty thousand rows."""
    outcome = read(csv_file(HEAD + around + row("A", '"<p>one,\r\n\r\ntwo</p>"') + around.replace("f", "g") + A))
    assert outcome.problems == []
    assert _prompts(outcome)["A"] == "<p>one,\r\n\r\ntwo</p>"


@pytest.mark.parametrize(
    ("prompt", "read_as"),
    [('24" wide', '24" wide'), ('the "best" pot', 'the "best" pot'), ('5"', '5"'), (' "a"', '"a"'), ('""', None)],
)
def test_marks_inside_a_cell_are_text(read: Any, csv_file: Any, prompt: str, read_as: str | None) -> None:
    """A cell that does not begin with a mark has none but text; tabs or commas."""
    for sign in (",", "\t"):
        text = (HEAD + row("A", prompt) + A).replace(",", sign)
        assert _prompts(read(csv_file(text, "c.tsv"))) == {"A": read_as, "a": "Pan"}


def test_words_in_marks_that_go_on_are_named(read: Any, csv_file: Any) -> None:
    """`"Wide" shelf` is damaged where marks are strict, and text where the file knows no quoting."""
    text = (HEAD + row("A", '"Wide" shelf') + row("B", '24"') + row("C", '"open') + A).replace(",", "\t")
    assert _prompts(read(csv_file(text, "c.tsv"))) == {"A": None, "B": '24"', "C": None, "a": "Pan"}
    plain = read(csv_file(text, "c.tsv"), quoting="none")
    assert _prompts(plain) == {"A": '"Wide" shelf', "B": '24"', "C": '"open', "a": "Pan"}


def test_backslashes_can_be_set_and_are_recognised(read: Any, csv_file: Any) -> None:
    """The remedy names the setting; with it marks, delimiters and backslashes are what was meant."""
    text = HEAD + row("A", r'"Table, round 48\"').replace(",5\n", ',"5"\n') + row("B", r'"a \\ \"b\", c"') + A
    broken = read(csv_file(text))
    assert "set manifest.escape to backslash" in broken.problems[0].remedy
    text = HEAD + row("A", r'"Table, 48\""') + row("B", r'"a \\ \"b\", c"') + row("C", r"d\,e") + row("D", '"x""y"')
    assert _prompts(read(csv_file(text), escape="backslash")) == {
        "A": 'Table, 48"',
        "B": r'a \ "b", c',
        "C": "d,e",
        "D": 'x"y',
    }
    nothing = read(csv_file(HEAD + row("A", r"\N")), escape="backslash", defaults={"prompt": "Default"})
    assert _prompts(nothing) == {"A": "Default"}


@pytest.mark.parametrize("end", ["", "\n"])
def test_a_cell_cut_off_by_the_end_of_the_file_is_damaged(read: Any, csv_file: Any, end: str) -> None:
    """A download that broke off sends no half prompt."""
    outcome = read(csv_file(HEAD + A + 'B,https://x.test/b.png,"Slow pan ov' + end))
    assert outcome.whats == [(2, None, "a quotation mark is opened and not closed")]
    assert [each.row_key for each in outcome.rows] == ["a", "B"]


def test_a_short_last_row_without_a_line_end_is_damaged(read: Any, csv_file: Any) -> None:
    """Without a line end it may be cut off; with one, Excel has left out empty cells."""
    half = "B,https://x.test/b.png,Slow"
    cut = read(csv_file(HEAD + A + half))
    assert cut.whats == [(2, None, "3 cells where the header has 4, at the end of the file without a line end")]
    assert _prompts(read(csv_file(HEAD + A + half + "\n"))) == {"a": "Pan", "B": "Slow"}


def test_cells_left_out_or_added_at_the_end_are_empty(read: Any, csv_file: Any) -> None:
    """Short rows, trailing delimiters and rows of delimiters are what spreadsheets make of empty cells."""
    text = HEAD.strip() + ",name\n" + A + row("B", "Sway").strip() + ",,,\n,,,\n\n" + row("C", '"Tilt"')
    outcome = read(csv_file(text))
    assert outcome.problems == []
    assert [(each.row_number, each.row_key) for each in outcome.rows] == [(1, "a"), (2, "B"), (5, "C")]


def test_rows_of_another_delimiter_are_named_as_such(read: Any, csv_file: Any) -> None:
    """A header with commas above rows with semicolons."""
    outcome = read(csv_file(HEAD + A.replace(",", ";")))
    assert outcome.whats == [(1, None, 'its cells are set apart by ";", those of the header by ","')]


@pytest.mark.parametrize("name", ['Size 10""', 'Size 10"', 'the "size"'])
def test_marks_inside_a_column_name_are_text(read: Any, csv_file: Any, name: str) -> None:
    """They swallow no rows."""
    text = HEAD.strip() + f",{name}\n" + A + row("B", "Sway")
    assert _prompts(read(csv_file(text))) == {"a": "Pan", "B": "Sway"}


@pytest.mark.parametrize("name", ['"prompt', '"prompt" x'])
def test_damaged_marks_in_the_header_are_an_error(read: Any, csv_file: Any, name: str) -> None:
    """Names that can't be told apart are none; rows are not taken for names."""
    with pytest.raises(ManifestError, match=r"line 1: the line of column names does not end: .*manifest\.quoting"):
        read(csv_file(f"row_key,image_path,{name}\n" + A))


def test_a_header_that_could_have_swallowed_a_row_is_an_error(read: Any, csv_file: Any) -> None:
    """The same where the marks happen to match."""
    text = 'row_key,image_path,"prompt\na,https://x.test/a.png,Pan"\nb,https://x.test/b.png,Tilt\n'
    with pytest.raises(ManifestError, match="its lines could be rows themselves"):
        read(csv_file(text))


def test_columns_that_share_a_name_matter_only_where_it_is_used(read: Any, csv_file: Any) -> None:
    """Two unused columns of one name are left alone; used, the name is not there, but those by their places are."""
    text = HEAD.strip() + ",label,label\n" + A.strip() + ",x,y\n"
    assert _prompts(read(csv_file(text))) == {"a": "Pan"}
    assert read(csv_file(text), columns={"name": "label (column 6)"}).rows[0].request.name == "y"
    with pytest.raises(ManifestError, match=r'no column "label".*label \(column 5\)'):
        read(csv_file(text), columns={"name": "label"})


def test_equal_damaged_lines_are_two_rows(read: Any, csv_file: Any) -> None:
    """They are told apart, so that they do not stop the rows beside them."""
    outcome = read(csv_file("image_path,prompt\n" + "x,a,b\n" * 3))
    assert len({each.row_key for each in outcome.rows}) == 3


soup = st.lists(
    st.sampled_from(['"', ",", "\n", "\r", "\r\n", "a", '""', "\\", ",a,", '"a",', " "]), max_size=60
).map("".join)


def _cells(path: Any, **options: Any) -> list[Any]:
    source = DelimitedSource(str(path), ManifestOptions(**options), ["x", "y", "z"])
    batches = list(source.read(source.columns))
    rows = [
        (number, *cells)
        for batch in batches
        for number, *cells in zip(batch.numbers, *batch.columns.values(), strict=True)
    ]
    return sorted([*rows, *((each.number, each) for batch in batches for each in batch.broken)], key=lambda r: r[0])


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=soup,
    options=st.fixed_dictionaries(
        {
            "quoting": st.sampled_from(["strict", "none"]),
            "escape": st.sampled_from(["none", "backslash"]),
            "multiline": st.sampled_from(["refuse", "allow"]),
        }
    ),
    chunk=st.integers(1, 20),
)
def test_rows_do_not_depend_on_how_they_are_read(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, text: str, options: dict[str, str], chunk: int
) -> None:
    """In one piece by Arrow, one by one by the grammar, or a few bytes at a time: always the same rows."""
    path = tmp_path / "soup.csv"
    path.write_bytes(b"x,y,z\n" + text.encode())
    rows = _cells(path, **options)
    with monkeypatch.context() as patch:
        patch.setattr(text_file, "CHUNK", chunk)
        assert _cells(path, **options) == rows
    with monkeypatch.context() as patch:
        patch.setattr(delimited, "sound_end", lambda *_, **__: 0)
        assert _cells(path, **options) == rows


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(st.lists(st.sampled_from(['"', "a", '""', " ", 'b"', '"c"', "d"]), max_size=3), max_size=8))
def test_no_two_lines_with_a_whole_row_each_become_one(tmp_path: Any, lines: list[list[str]]) -> None:
    """Whatever marks stray in them, as many rows come out as lines with a key went in."""
    path = tmp_path / "stray.csv"
    text = "".join(f"k{index},{''.join(marks)},z\n" for index, marks in enumerate(lines))
    path.write_text("x,y,z\n" + text, encoding="utf-8")
    assert len(_cells(path)) == len(lines)


def test_rows_whose_last_cells_were_left_out_do_not_merge_either(read: Any, csv_file: Any) -> None:
    """A row in which cells are left out may swallow another such row; that one has as few cells, and is found."""
    short = "row_key,image_path,prompt,end_seconds,name,note\n"
    outcome = read(csv_file(short + row("A", '"Slow') + row("B", "Sway") + row("C", 'Drift"') + A))
    assert _prompts(outcome) == {"A": None, "B": "Sway", "C": 'Drift"', "a": "Pan"}
    outcome = read(csv_file(short + 'A,https://x.test/A.png,"Slow,\nthen fast"\n'))
    assert _prompts(outcome) == {"A": "Slow,\nthen fast"}


@pytest.mark.parametrize("line", ["A;https://x.test/a.png;Slow, soft;5", "A\thttps://x.test/a.png\tSlow, soft\t5"])
def test_another_delimiter_is_named_where_the_text_has_the_headers_too(read: Any, csv_file: Any, line: str) -> None:
    """A comma in a prompt does not make a row of semicolons one of commas with cells missing."""
    outcome = read(csv_file(f"{HEAD}{line}\n"))
    other = "tab" if "\t" in line else ";"
    what = f'its cells are set apart by "{other}", those of the header by ","'
    assert outcome.whats == [(1, None, what)]


def test_lines_that_were_made_one_cell_each_are_named(read: Any, csv_file: Any) -> None:
    """A table that was opened with a wrong delimiter and saved has marks around each line."""
    whole = "stands in quotation marks as a whole, and so is one cell"
    lines = '"A,https://x.test/a.png,Slow,5"\n"B,https://x.test/b.png,""Slow, soft"",5"\n'
    outcome = read(csv_file(HEAD + lines + A))
    assert outcome.whats == [(1, None, whole), (2, None, whole)]
    with pytest.raises(ManifestError, match=f"the line of column names {whole}"):
        read(csv_file(f'"{HEAD.strip()}"\n"A,https://x.test/a.png,Slow,5"\n'))


@pytest.mark.parametrize("above", [",,,\n", "\r\n,,,\r\n , ,\t,\r\n", "sep=,\n,,,\n"])
def test_empty_cells_above_the_column_names_are_skipped(read: Any, csv_file: Any, above: str) -> None:
    """A sheet whose table begins further down is saved with lines of delimiters alone."""
    assert _prompts(read(csv_file(above + HEAD + A))) == {"a": "Pan"}


@pytest.mark.parametrize("start", ['{"image_path": "a.png"}\n', '[{"image_path": "a.png"}]', "[\n  {\n"])
def test_json_under_another_name_is_named(read: Any, csv_file: Any, start: str) -> None:
    """Its braces are no column names; what to do is said."""
    with pytest.raises(ManifestError, match=r"is JSON\. Write one object on each line, and call the file \.jsonl"):
        read(csv_file(start, "feed.txt"))
