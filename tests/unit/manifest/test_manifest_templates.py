"""Prompt templates: optional parts, names with signs in them, and what is said where a column is missing."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelbatch.errors import ManifestError
from reelbatch.manifest.readers.base import unbroken
from reelbatch.manifest.template import field, parse_template

URL = "https://x.test/a.png"


@pytest.fixture
def prompts(read: Any) -> Any:
    """The prompts that a template makes of a table."""

    def made(template: str, **columns: Any) -> list[str | None]:
        frame = pd.DataFrame({"image_path": URL, **columns})
        return [row.request.prompt for row in read(frame, prompt_template=template).rows]

    return made


def test_an_optional_part_needs_its_columns(prompts: Any) -> None:
    """It is left out where one of its columns is empty, with the words around it; the rest stays."""
    template = "Pan over {title}[, {colour}][ in {room} at {time}]."
    columns = {"title": ["Vase"] * 4, "colour": ["red", " ", "", "red"], "room": ["", "hall", "hall", "hall"]}
    assert prompts(template, **columns, time=["noon", "", "noon", "noon"]) == [
        "Pan over Vase, red.",
        "Pan over Vase.",
        "Pan over Vase in hall at noon.",
        "Pan over Vase, red in hall at noon.",
    ]


def test_a_column_of_an_optional_part_may_be_needed_elsewhere(read: Any) -> None:
    """Then the row is invalid without it, as ever."""
    frame = pd.DataFrame({"image_path": [URL], "title": [""]})
    outcome = read(frame, prompt_template="Pan over {title}[, {title}]")
    assert outcome.whats == [(1, "title", "empty, and the prompt template needs it")]


def test_a_cell_that_is_name_and_part_of_the_prompt_is_one_problem(read: Any) -> None:
    """What is wrong with it is counted once, and said once of its row."""
    frame = pd.DataFrame({"image_path": [URL] * 2, "Titel": ["#N/A", "Vase"]})
    outcome = read(frame, columns={"name": "Titel"}, prompt_template="Pan over {Titel}")
    assert outcome.whats == [(1, "Titel", "an error value of a spreadsheet")]
    assert outcome.rows[0].problem.count("an error value of a spreadsheet") == 1


@pytest.mark.parametrize(
    ("column", "template"),
    [
        ("Meta: short_title", '{"Meta: short_title"}'),
        ("Meta: short_title", "{Meta: short_title}"),
        ("g:title", '{ "g:title" }'),
        ("Price!", '{"Price!"}'),
        ('Size "in"', '{"Size ""in"""}'),
        ("{odd}", '{"{odd}"}'),
        ("a [b]", '{"a [b]"}'),
        ("a.b[0]", "{a.b[0]}"),
    ],
)
def test_any_column_can_be_named(prompts: Any, column: str, template: str) -> None:
    """In quotation marks whatever signs its name has; without them, where it has no braces."""
    assert prompts(f"Pan over {template}, slowly", **{column: ["Tea"]}) == ["Pan over Tea, slowly"]


def test_brackets_and_braces_are_doubled_in_the_text(prompts: Any) -> None:
    """As in Python's format strings."""
    assert prompts("[[wide]] {{x}} {a}[, [[{b}]]]", a=["1", "2"], b=["3", ""]) == [
        "[wide] {x} 1, [3]",
        "[wide] {x} 2",
    ]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{a}[, {b}", "a [ is not closed"),
        ("{a}], {b}", "a ] has no other end"),
        ("{a}[, {b}[, {b}]]", "stands within another"),
        ("{a}[, wide]", "no column between [ and ]"),
        ("{a", "a { stands by itself"),
        ('{""}', "more or less than a column's name"),
    ],
)
def test_signs_without_their_other_end_are_errors(prompts: Any, template: str, message: str) -> None:
    """With how such a sign is written where it is text."""
    with pytest.raises(ManifestError) as caught:
        prompts(template, a=["1"], b=["2"])
    assert message in str(caught.value)
    assert "Write" in str(caught.value)


@pytest.mark.parametrize(
    ("column", "template", "hint"),
    [
        ("Title", "{title}", "Did you mean {Title}?"),
        ("Meta: Title", '{"meta: title"}', 'Did you mean {"Meta: Title"}?'),
        ("Colour", "{color}", "Did you mean {Colour}?"),
    ],
)
def test_a_name_in_other_letters_is_a_hint(prompts: Any, column: str, template: str, hint: str) -> None:
    """`{title}` for `Title`: it is said how the template has to name it."""
    with pytest.raises(ManifestError) as caught:
        prompts(template, **{column: ["x"]})
    assert hint in str(caught.value)


def test_a_default_stands_in_for_a_template_without_its_columns(read: Any) -> None:
    """Own prompt, then template, then default."""
    frame = pd.DataFrame({"image_path": URL, "prompt": ["Own", "", ""], "colour": ["", "", "teal"]})
    outcome = read(frame, prompt_template="Pan, {colour}", defaults={"prompt": "Zoom", "end_seconds": 5})
    assert [row.request.prompt for row in outcome.rows] == ["Own", "Zoom", "Pan, teal"]
    assert not outcome.problems


@given(st.text(st.characters(blacklist_categories=["Cs"]), min_size=1).map(unbroken).filter(bool))
def test_a_hint_can_be_pasted(column: str) -> None:
    """What a hint writes names that very column."""
    assert parse_template(field(column)).columns == (column,)


def test_what_can_not_be_taken_in_a_template_is_said_of_its_row(read: Any) -> None:
    """Only there, whatever rows have prompts of their own; the other rows are sent."""
    frame = pd.DataFrame(
        {
            "image_path": URL,
            "prompt": ["", "Own", ""],
            "title": ["Tea\0", "Mug\0", "Pot"],
            "colour": ["", "red", "red"],
        }
    )
    outcome = read(frame, prompt_template="{title}[, {colour}]")
    assert outcome.whats == [(1, "title", "contains a NUL character")]
    assert [row.request.prompt for row in outcome.rows[1:]] == ["Own", "Pot, red"]


@pytest.mark.parametrize("sign", ["\0", "\ud800"])
def test_what_can_t_be_stored_in_a_column_is_in_no_prompt(read: Any, sign: str) -> None:
    """Its row is invalid, and can be written down all the same: no table takes such a sign."""
    titles = pd.Series([f"a{sign}b", "Pot"], dtype=object)
    frame = pd.DataFrame({"image_path": URL, "title": titles})
    outcome = read(frame, prompt_template="Pan over {title}")
    assert [(row.problem is None, row.request.prompt) for row in outcome.rows] == [
        (False, "Pan over a\ufffdb"),
        (True, "Pan over Pot"),
    ]
