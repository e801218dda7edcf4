"""Equal problems of a manifest stand together, with how many rows have them, in memory that is bounded."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from commands import run_here

from reelbatch.domain import Issue
from reelbatch.errors import ManifestError
from reelbatch.ledger import in_memory
from reelbatch.pipeline.findings import MOST_CAUSES, Causes, same_request
from reelbatch.pipeline.load_manifest import load
from reelbatch.pipeline.plan import GenerateOptions
from reelbatch.settings import load_settings


def causes_of(*issues: Issue) -> Causes:
    """What is made of these problems."""
    causes = Causes()
    causes.add(issues)
    return causes


def missing(number: int, value: str = "a.png", column: str = "image_path") -> Issue:
    """A row's problem."""
    return Issue(number, column, value, "no such file", "Check the path.")


def test_one_row_is_said_as_ever() -> None:
    """With its number, column and value."""
    assert [str(cause) for cause in causes_of(missing(7))] == [str(missing(7))]


def test_many_rows_with_one_cause_are_one_entry() -> None:
    """How many, the first of them, and what they say."""
    causes = causes_of(*(missing(number, f"{number}.png") for number in range(1, 200_001)))
    (line,) = causes.lines()
    assert causes.count == 200_000
    assert line == (
        '  rows 1, 2, 3, 4, 5 and 199,995 more, column "image_path" (such as "1.png", "2.png", "3.png"): '
        "no such file. Check the path."
    )


OF_TWO = [missing(1), missing(1, column="end_image_path")]


@pytest.mark.parametrize(
    ("issues", "lines"),
    [
        ([missing(1), missing(2)], [f"  {missing(1)}".replace("row 1", "rows 1, 2")]),
        ([Issue(n, None, "", "has 9 cells", "Look.") for n in (1, 2)], ["  rows 1, 2: has 9 cells. Look."]),
        (OF_TWO, [f"  {issue}" for issue in OF_TWO]),
    ],
)
def test_causes_are_told_apart_by_column_and_words(issues: list[Issue], lines: list[str]) -> None:
    """Two columns are two causes."""
    assert causes_of(*issues).lines() == lines


def test_figures_in_the_words_make_no_other_cause() -> None:
    """Ten thousand icons of ten thousand sizes are too small for one reason."""
    sizes = (Issue(n, "image_path", "a.png", f"{n} x 1,{n} pixels, which is too few", "Use one.") for n in range(9))
    (cause,) = causes_of(*sizes)
    assert (cause.rows, cause.what) == (9, "0 x 1,0 pixels, which is too few")


def test_remedies_that_differ_are_each_said_with_their_row() -> None:
    """The first row's name is not proposed for all; beyond three remedies the rows that have others are counted."""

    def said(*remedies: str) -> str:
        causes = causes_of(*(Issue(n, "image_path", "", "no such file", each) for n, each in enumerate(remedies, 1)))
        (line,) = causes.lines()
        return line.partition("no such file. ")[2]

    assert said("Check the path.", "Check the path.") == "Check the path."
    assert said("Check the path.", 'Did you mean "b.jpg"?', "Check the path.") == (
        'Row 1: Check the path. Row 2: Did you mean "b.jpg"?'
    )
    assert said(*"abcadd") == "Row 1: a Row 2: b Row 3: c And others for 2 more rows."


def test_no_file_has_more_causes_than_memory() -> None:
    """Beyond the first thousand their rows are counted."""
    causes = causes_of(*(Issue(n, f"column {'x' * n}", "", "odd", "Look.") for n in range(MOST_CAUSES + 5)))
    assert (len(list(causes)), causes.unlisted, causes.count) == (MOST_CAUSES, 5, MOST_CAUSES + 5)
    assert causes.lines()[-1] == "  and 5 more"


def test_plan_says_each_cause_once(tmp_path: Path) -> None:
    """In text and in JSON; the exit code is that of problems."""
    rows = pd.DataFrame({"image_path": [f"{n}.png" for n in range(300)], "prompt": "Pan", "end_seconds": 5})
    rows.loc[299, "end_seconds"] = 99
    rows.to_csv(tmp_path / "m.csv", index=False)
    said = run_here(tmp_path, "plan", "m.csv")
    assert said.code == 1
    assert said.err.count("no such file") == 1
    assert "301 problems in the manifest:" in said.err
    assert "rows 1, 2, 3, 4, 5 and 295 more" in said.err
    made = json.loads(run_here(tmp_path, "plan", "m.csv", "--json").out)
    assert (made["problem_count"], len(made["problems"])) == (301, 2)
    assert [(cause["column"], cause["rows"]) for cause in made["causes"]] == [("image_path", 300), ("end_seconds", 1)]


@pytest.mark.parametrize(("count", "said"), [(1, ": 1 problem, nothing is sent"), (300, ": 300 problems, nothing")])
def test_strict_refuses_with_each_cause_once(count: int, said: str, tmp_path: Path) -> None:
    """Nothing is sent, and the message is as short."""
    rows = pd.DataFrame({"image_path": [f"{n}.png" for n in range(count)], "prompt": "Pan", "end_seconds": 5})
    settings = load_settings(options={"results": f"sqlite:///{tmp_path / 'r.db'}"})
    with in_memory() as ledger, pytest.raises(ManifestError, match=said) as refused:
        load(GenerateOptions(source=rows, strict=True), settings, ledger)
    assert str(refused.value).count("no such file") == 1


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ((2, 1, 9), "rows 1 and 9 ask for the same video under different keys; both are sent and paid for"),
        (
            (12, 1, 9_000),
            "12 requests, of rows 1 to 9000, ask for the same video under different keys; each is sent and paid for",
        ),
        ((3, 1, 1), "3 variants of row 1 ask for the same video; each is sent and paid for"),
    ],
)
def test_a_warning_counts_the_rows_that_ask_for_the_same(rows: tuple[int, int, int], says: str) -> None:
    """Two are named, of more their number and the ends."""
    assert same_request(*rows) == says


def test_plan_says_the_whole_number_of_equal_requests(tmp_path: Path) -> None:
    """Also of those that it does not list."""
    keys = [f"k{number}" for number in range(180)]
    rows = pd.DataFrame({"row_key": keys, "image_path": "https://x.test/a.png", "prompt": sorted(keys[:60] * 3)})
    rows.assign(end_seconds=5).to_csv(tmp_path / "m.csv", index=False)
    said = run_here(tmp_path, "plan", "m.csv")
    assert "60 warnings in the manifest:" in said.err
    assert "3 requests, of rows 1 to 3, ask for the same video" in said.err
    assert "and 10 more; `reelbatch plan m.csv --batch m --json` lists them" in said.err


def test_keys_that_stand_twice_are_counted_beyond_those_that_are_listed(tmp_path: Path) -> None:
    """The first hundred keys and their first rows are named, and the rest has a number."""
    rows = pd.DataFrame({"row_key": ["same"] * 30 + [f"k{n // 2}" for n in range(300)], "prompt": "Pan"})
    rows.assign(image_path="https://x.test/a.png").to_csv(tmp_path / "m.csv", index=False)
    said = run_here(tmp_path, "plan", "m.csv")
    assert said.code == 2
    assert "19, 20 and 10 more" in said.err
    assert "and 51 more keys" in said.err
