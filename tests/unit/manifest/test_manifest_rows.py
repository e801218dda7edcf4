"""Rows: what cells, defaults, templates and the table of models make of them."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reelbatch.domain import Request
from reelbatch.errors import ManifestError
from reelbatch.manifest import Checks, ManifestOptions, open_manifest
from reelbatch.manifest.parsing import kind_fault, trimmed
from reelbatch.model_table import load_models

URL = "https://x.test/a.png"


@pytest.fixture
def one(read: Any) -> Any:
    """Read a single row given as keyword arguments."""

    def read_one(**cells: Any) -> Any:
        row = {"image_path": URL, "prompt": "Pan", **cells}
        return read(pd.DataFrame([row], dtype=object))

    return read_one


def _whats(outcome: Any) -> list[Any]:
    return [(problem.column, problem.what) for problem in outcome.problems]


@pytest.mark.parametrize(("cell", "seconds"), [("5", 5.0), ("5.0", 5.0), (" 5 ", 5.0), (5, 5.0), ("+7.", 7.0)])
def test_durations_are_numbers(one: Any, cell: str, seconds: Any) -> None:
    """Blanks and fractions of nothing don't matter."""
    assert one(end_seconds=cell).rows[0].request.end_seconds == seconds


@pytest.mark.parametrize(
    ("cell", "what"),
    [
        ("5,0", "has a decimal comma"),
        ("five", "not a number"),
        ("1_0", "not a number"),
        ("nan", "not a number"),
        (float("inf"), "not a number"),
        (True, "not a number"),
        ("5s", "not a number"),
        ("9" * 400, "too large"),
        ("99", "outside the API's range"),
        ("-5", "outside the API's range"),
        ([5], "not one plain value"),
    ],
)
def test_bad_durations_are_problems(one: Any, cell: str, what: Any) -> None:
    """Anything else is a problem of its row; the row keeps what could be read."""
    outcome = one(end_seconds=cell)
    assert _whats(outcome) == [("end_seconds", what)]
    row = outcome.rows[0]
    assert row.request.image_path == URL
    assert row.credits_estimated is None
    assert what in row.problem


def test_a_decimal_comma_has_a_remedy(one: Any) -> None:
    """The message gives the number as it should be written."""
    assert one(end_seconds="7,5").problems[0].remedy == "Write 7.5."


def test_a_missing_duration_is_a_problem(read: Any) -> None:
    """Without a default each row has to state its length."""
    outcome = read(pd.DataFrame({"image_path": [URL], "prompt": ["Pan"]}), defaults={})
    assert _whats(outcome) == [("end_seconds", "missing")]
    assert "defaults" in outcome.problems[0].remedy


@pytest.mark.parametrize(
    ("cell", "audio"),
    [
        ("true", True),
        ("YES", True),
        ("1", True),
        (1.0, True),
        (True, True),
        ("False", False),
        ("no", False),
        (0, False),
        ("", None),
    ],
)
def test_flags_are_read(one: Any, cell: str, audio: Any) -> None:
    """Yes and no in the ways that files write them."""
    assert one(audio=cell).rows[0].request.audio is audio


def test_other_flags_are_problems(one: Any) -> None:
    """A word that is neither yes nor no is not guessed at."""
    assert _whats(one(audio="maybe")) == [("audio", "neither yes nor no")]


@pytest.mark.parametrize("cell", ["0", "-1", "1.5", "1000000", "wide"])
def test_bad_sizes_are_problems(one: Any, cell: str) -> None:
    """Width and height have no effect, but they have to be numbers."""
    assert [column for column, _ in _whats(one(width=cell))] == ["width"]


def test_sizes_are_a_warning_once(read: Any) -> None:
    """However many rows and batches state a size, one warning says that it has no effect."""
    count = 25_000
    frame = pd.DataFrame({"image_path": [URL] * count, "prompt": "Pan", "width": "640", "height": 480.0})
    outcome = read(frame)
    assert [(warning.row_number, warning.column) for warning in outcome.warnings] == [(1, "width")]
    assert "25,000 rows" in outcome.warnings[0].what
    assert outcome.rows[-1].request[-2:] == (640, 480)


def test_unknown_models_are_a_warning_each(read: Any) -> None:
    """One warning for each unknown model of the file, with how many rows name it; the rows are sent."""
    models = ["nova-1", "nova-2", "nova-1", "Kling-3.0", "DEFAULT"]
    outcome = read(pd.DataFrame({"image_path": [URL] * 5, "prompt": "Pan", "model": models}))
    assert outcome.problems == []
    assert [(warning.row_number, warning.value) for warning in outcome.warnings] == [(1, "nova-1"), (2, "nova-2")]
    assert "2 rows" in outcome.warnings[0].what
    assert [row.credits_estimated for row in outcome.rows] == [None, None, None, 240, 240]
    assert [row.request.model for row in outcome.rows][3:] == ["kling-3.0", "default"]


def test_a_rate_prices_unknown_models(read: Any) -> None:
    """The user's own rate stands in."""
    frame = pd.DataFrame({"image_path": [URL], "prompt": "Pan", "model": "nova-1"})
    assert read(frame, change={"rate": 10}).rows[0].credits_estimated == 50


def test_models_are_checked(one: Any) -> None:
    """What the model does not offer is a problem, named after the manifest's column."""
    outcome = one(model="wan-2.2", resolution="4K", end_image_path=URL, audio="yes", end_seconds="12")
    assert {column for column, _ in _whats(outcome)} == {"resolution", "end_seconds", "audio", "end_image_path"}
    assert [problem.value for problem in outcome.problems if problem.column == "end_image_path"] == [URL]


def test_the_profile_replaces_the_model(read: Any) -> None:
    """The older table has its own durations and prices."""
    frame = pd.DataFrame({"image_path": [URL] * 2, "prompt": "Pan", "resolution": "480p", "end_seconds": [5, 7]})
    outcome = read(frame, change={"profile": "legacy"})
    assert outcome.rows[0].credits_estimated == 120
    assert [number for number, _, _ in outcome.whats] == [2]


def test_the_plan_is_checked(read: Any) -> None:
    """1080p of the older table is not for everyone."""
    frame = pd.DataFrame({"image_path": [URL], "prompt": "Pan", "resolution": "1080p"})
    outcome = read(frame, change={"profile": "legacy", "tier": "creator"})
    assert "not included in the tier creator" in outcome.problems[0].what


def test_a_resolution_is_a_short_word(one: Any) -> None:
    """A paragraph in the wrong column is a problem, not a resolution."""
    assert _whats(one(resolution="x" * 300)) == [("resolution", "not a name")]
    assert _whats(one(model="a\nb")) == [("model", "not a name")]


def test_keys_are_kept(read: Any) -> None:
    """A key column is the identity, without blanks around it; an empty key is a problem."""
    frame = pd.DataFrame({"image_path": URL, "prompt": ["a", "b", "c"], "row_key": [" k1 ", "", None]})
    outcome = read(frame)
    assert outcome.rows[0].row_key == "k1"
    assert [(number, column, what) for number, column, what in outcome.whats] == [
        (2, "row_key", "missing"),
        (3, "row_key", "missing"),
    ]
    assert outcome.rows[1].row_key != outcome.rows[2].row_key


@pytest.mark.parametrize("key", ["k" * 501, "a\0b"])
def test_keys_that_no_database_takes_are_problems(read: Any, key: Any) -> None:
    """Too long, or with a NUL."""
    outcome = read(pd.DataFrame({"image_path": [URL], "prompt": ["a"], "row_key": [key]}, dtype=object))
    assert [column for _, column, _ in outcome.whats] == ["row_key"]
    assert "\0" not in outcome.rows[0].row_key


def test_different_bad_rows_have_different_keys(read: Any) -> None:
    """Rows that make no request are told apart by their cells, and keep their key as long as these stay."""
    frame = pd.DataFrame({"image_path": URL, "prompt": "Pan", "end_seconds": ["x", "y", "x"]})
    keys = [row.row_key for row in read(frame).rows]
    assert keys[0] == keys[2] != keys[1]
    assert [row.row_key for row in read(frame).rows] == keys


def test_a_row_that_fails_a_check_keeps_its_fingerprint(read: Any) -> None:
    """The image may be put in its place later: it is the same request then."""
    frame = pd.DataFrame({"image_path": ["nope.png"], "prompt": ["Pan"]})
    row = read(frame).rows[0]
    assert row.problem is not None
    assert row.row_key == row.fingerprint == row.request.fingerprint()


@pytest.mark.parametrize(("prompt", "what"), [("a\0b", "NUL"), ("x" * 100_001, "100,001 characters")])
def test_bad_prompts_are_problems(one: Any, prompt: Any, what: Any) -> None:
    """What can't be stored or is absurdly long is a problem; the row holds something that can be."""
    outcome = one(prompt=prompt)
    assert what in outcome.problems[0].what
    assert "\0" not in str(outcome.rows[0]) + str(outcome.problems[0])
    assert len(outcome.rows[0].request.prompt) <= 100_000
    assert len(outcome.problems[0].value) <= 200


def test_an_empty_prompt_is_a_problem(one: Any) -> None:
    """Nothing is sent without saying what is to happen."""
    assert _whats(one(prompt=" ")) == [("prompt", "missing")]


def test_everything_wrong_with_a_row_is_listed(one: Any) -> None:
    """Not one error at a time."""
    outcome = one(image_path="", prompt="", end_seconds="x", audio="x", name="\0")
    assert {column for column, _ in _whats(outcome)} == {"image_path", "prompt", "end_seconds", "audio", "name"}
    assert outcome.rows[0].problem.count('column "') == 5


def test_columns_are_mapped(read: Any) -> None:
    """The manifest's own names are used, and named in messages."""
    frame = pd.DataFrame({"foto": [URL], "text": [""], "sekunden": ["x"]})
    outcome = read(frame, columns={"image_path": "foto", "prompt": "text", "end_seconds": "sekunden"}, defaults={})
    assert [column for _, column, _ in outcome.whats] == ["sekunden", "text"]
    assert outcome.rows[0].request.image_path == URL


def test_one_column_may_feed_two(read: Any) -> None:
    """A title can be prompt and name."""
    frame = pd.DataFrame({"image_path": [URL], "title": ["Vase"]})
    row = read(frame, columns={"prompt": "title", "name": "title"}).rows[0]
    assert (row.request.prompt, row.request.name) == ("Vase", "Vase")


def test_defaults_fill_empty_cells(read: Any) -> None:
    """A default stands where the cell is empty or the column missing, and is part of the fingerprint."""
    frame = pd.DataFrame({"image_path": [URL] * 2, "prompt": ["", "Pan"], "end_seconds": ["", "10"]})
    defaults = {"end_seconds": 6, "prompt": "Zoom", "audio": True, "model": "kling-3.0", "name": "n"}
    outcome = read(frame, defaults=defaults)
    assert [row.request[1:7] for row in outcome.rows] == [
        ("Zoom", 6.0, None, "kling-3.0", True, "n"),
        ("Pan", 10.0, None, "kling-3.0", True, "n"),
    ]
    assert [row.fingerprint for row in outcome.rows] == [row.request.fingerprint() for row in outcome.rows]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": {"imagepath": "x"}}, 'columns: "imagepath" can\'t be set. Did you mean "image_path"'),
        ({"columns": {"prompt": "Promt"}}, 'no column "Promt" to take prompt from. Did you mean "prompt"'),
        ({"defaults": {"row_key": "x"}}, 'defaults: "row_key" can\'t be set'),
        ({"defaults": {"end_seconds": "5,0"}}, 'defaults: end_seconds "5,0": has a decimal comma'),
        ({"defaults": {"audio": "perhaps"}}, 'defaults: audio "perhaps"'),
        (
            {"prompt_template": "{title}"},
            'no column "title", which the prompt template names. Found: image_path, prompt',
        ),
        ({"prompt_template": "{prompt!r}"}, "more or less than a column's name"),
        ({"prompt_template": "{prompt:>10}"}, "more or less than a column's name"),
        ({"prompt_template": "{prompt.__class__}"}, 'no column "prompt.__class__"'),
        ({"prompt_template": "{prompt[0]}"}, 'no column "prompt[0]"'),
        ({"prompt_template": "{}"}, "more or less than a column's name"),
        ({"prompt_template": "{prompt"}, "can't be used: "),
        ({"prompt_template": "prompt}"}, "can't be used: "),
    ],
)
def test_options_that_do_not_fit_are_errors(read: Any, options: Any, message: Any) -> None:
    """A typing error in the options is named before anything is read."""
    with pytest.raises(ManifestError) as caught:
        read(pd.DataFrame({"image_path": [URL], "prompt": ["Pan"]}), **options)
    assert message in str(caught.value)


def test_a_missing_image_column_is_an_error(read: Any) -> None:
    """The columns found are listed, with the likely one and how to map it."""
    with pytest.raises(ManifestError) as caught:
        read(pd.DataFrame({"Image Path": [URL], "prompt": ["Pan"]}))
    assert str(caught.value) == (
        '<DataFrame>: there is no column image_path. Did you mean "Image Path"? Found: Image Path, prompt. '
        "Rename one of them, or map it (columns: {image_path: Image Path})."
    )


@pytest.mark.parametrize("key", ["Row_Key", "ROW_KEY", " row_key ", "\ufeffrow_key", "\ufeff\ufeff Row_Key"])
def test_headers_match_whatever_their_case_blanks_and_marks(read: Any, key: str) -> None:
    """A key column that is not recognised would make every row a new one."""
    outcome = read(pd.DataFrame({key: ["007"], "IMAGE_PATH": [URL], "Prompt": ["Pan"], "end_seconds": [5]}))
    assert ([row.row_key for row in outcome.rows], outcome.warnings) == (["007"], [])


def test_of_two_headers_that_are_alike_the_exact_one_counts(read: Any) -> None:
    """And where none is exact, neither does: no one can tell which is meant."""
    frame = pd.DataFrame({"image_path": [URL], "prompt": ["Pan"], "PROMPT": ["x"], "end_seconds": [5]})
    assert read(frame).rows[0].request.prompt == "Pan"
    with pytest.raises(ManifestError, match='more than one column is called prompt: "Prompt" and "PROMPT"'):
        read(pd.DataFrame({"image_path": [URL], "Prompt": ["Pan"], "PROMPT": ["x"], "end_seconds": [5]}))


def test_a_missing_prompt_column_is_an_error(read: Any) -> None:
    """Unless a template or a default makes prompts."""
    frame = pd.DataFrame({"image_path": [URL], "title": ["Vase"]})
    with pytest.raises(ManifestError, match="A prompt template or a default is enough"):
        read(frame)
    assert read(frame, prompt_template="Pan over {title}").rows[0].request.prompt == "Pan over Vase"
    assert read(frame, defaults={"prompt": "Pan", "end_seconds": 5}).rows[0].request.prompt == "Pan"


def test_near_misses_are_warnings(read: Any) -> None:
    """A column that is nearly one of ours is not silently ignored; other columns are."""
    frame = pd.DataFrame({"image_path": [URL], "prompt": ["Pan"], "End Seconds": [9], "sku": [1], "Models": ["x"]})
    outcome = read(frame)
    assert [(warning.column, warning.what) for warning in outcome.warnings] == [
        ("End Seconds", "looks like end_seconds, but is not used under this name"),
        ("Models", "looks like model, but is not used under this name"),
    ]


def test_a_template_builds_prompts(read: Any) -> None:
    """Where a row has no prompt of its own; braces may be doubled; numbers have no spare fraction."""
    frame = pd.DataFrame({"image_path": URL, "prompt": ["", "Own"], "title": [" Vase ", "x"], "size.cm": [12.0, 1.0]})
    outcome = read(frame, prompt_template="Pan over {title}, {size.cm} cm {{slow}}")
    assert [row.request.prompt for row in outcome.rows] == ["Pan over Vase, 12 cm {slow}", "Own"]


def test_a_template_pastes_text_and_evaluates_nothing(read: Any) -> None:
    """Braces in the data stay braces."""
    frame = pd.DataFrame({"image_path": [URL], "title": ["{prompt.__class__}"]})
    assert read(frame, prompt_template="{title}").rows[0].request.prompt == "{prompt.__class__}"


def test_an_empty_value_in_a_template_is_a_problem(read: Any) -> None:
    """A prompt such as `Pan over , red` is not paid for; a row with its own prompt does not need the value."""
    frame = pd.DataFrame({"image_path": URL, "prompt": ["", "Own"], "title": ["", ""], "colour": "red"})
    outcome = read(frame, prompt_template="Pan over {title}, {colour}")
    assert outcome.whats == [(1, "title", "empty, and the prompt template needs it")]


def test_a_template_can_not_build_too_much(read: Any) -> None:
    """The limits of prompts hold for built ones."""
    frame = pd.DataFrame({"image_path": [URL], "title": ["x" * 60_000]})
    assert "120,000 characters" in read(frame, prompt_template="{title}{title}").problems[0].what


anything = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=30)
texts = anything.filter(lambda text: kind_fault(text) is None)  # `#N/A` and the like, of which there is no request


requests = st.builds(
    Request,
    image_path=texts.map(lambda text: trimmed(f"{URL}{text}")),
    prompt=texts.map(trimmed).filter(bool),
    end_seconds=st.sampled_from([3.0, 5.5, 10.0, 7.25]),
    resolution=st.sampled_from([None, "720p", 'odd",é', "a,b"]),
    model=st.sampled_from([None, "ltx-2.5", "nova\\1", "默认"]),
    audio=st.sampled_from([None, True, False]),
    name=texts.map(trimmed).map(lambda text: text or None),
    end_image_path=texts.map(trimmed).map(lambda text: text or None),
    width=st.sampled_from([None, 640]),
    height=st.sampled_from([None, 480]),
)


@settings(deadline=None, max_examples=80)
@given(request=requests)
def test_fingerprints_are_those_of_the_requests(request: Request) -> None:
    """The fast way of a million rows gives the same request and the same hash as `Request.fingerprint`."""
    frame = pd.DataFrame([list(request)], columns=list(Request._fields), dtype=object)
    checks = Checks(models=load_models(), images=False)
    row = next(open_manifest(frame, ManifestOptions(), checks).batches()).rows[0]
    assert row.request == request
    assert row.fingerprint == row.row_key == request.fingerprint()
