"""A shop's export: keys of several columns, rows filled from above or left out, HTML, several addresses in a cell."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reelbatch.errors import ManifestError
from reelbatch.manifest import Checks, ManifestOptions, open_manifest
from reelbatch.manifest.html_text import text_of
from reelbatch.manifest.image_cells import ImageCells
from reelbatch.manifest.readers.base import BATCH_ROWS, BrokenRow, RawRows
from reelbatch.manifest.row_shaping import Condition, RowShaper, RowShaping
from reelbatch.pipeline.plan import GenerateOptions
from reelbatch.pipeline.plan import plan as make_plan
from reelbatch.settings import Settings

URL = "https://x.test/a.png"


@pytest.fixture
def keys(read: Any) -> Any:
    """The keys of a table's rows."""
    return lambda source, **options: [row.row_key for row in read(source, **options).rows]


def _shop(*rows: str) -> str:
    """Rows of a handle, a title, a status and an image's number, as Shopify has them."""
    lines = (f"{row},https://x.test/{number}.png" for number, row in enumerate(rows))
    return "\n".join(["Handle,Title,Status,Position,image_path", *lines, ""])


def test_a_column_that_is_switched_off_is_not_ours(read: Any) -> None:
    """OpenCart's `model` and `width` are a product's own: nothing of them reaches the request, nor a warning."""
    frame = pd.DataFrame(
        {"image_path": [URL], "prompt": ["x"], "model": ["LT-200"], "Models": ["x"], "width": ["12.50"]}
    )
    options = {"columns": {"model": None, "width": None, "prompt": None}, "prompt_template": "Pan over {model}"}
    outcome = read(frame, **options)
    assert outcome.rows[0].request[:5] == (URL, "Pan over LT-200", 5.0, None, None)
    assert (outcome.problems, outcome.warnings) == ([], [])


def test_a_switched_off_key_leaves_the_fingerprint(keys: Any) -> None:
    """As if the manifest had no such column."""
    key = keys(pd.DataFrame({"image_path": [URL], "prompt": ["x"], "row_key": ["7"]}), columns={"row_key": None})[0]
    assert len(key) == 64


def test_a_switched_off_column_that_is_needed_is_missing(read: Any) -> None:
    """Unless a default or a template stands in."""
    frame = pd.DataFrame({"image_path": [URL], "prompt": ["x"]})
    with pytest.raises(ManifestError, match="prompt is switched off by columns"):
        read(frame, columns={"prompt": None})


def test_a_key_of_several_columns(read: Any) -> None:
    """Joined with a hyphen; a row in which one of them is empty has none, and is named by that column."""
    frame = pd.DataFrame(
        {"image_path": URL, "prompt": ["a", "b", "c"], "Handle": ["tea", "mug ", "pot"], "Pos": [1, 2, ""]},
        dtype=object,
    )
    outcome = read(frame, row_key=["handle", "Pos"])
    assert [row.row_key for row in outcome.rows][:2] == ["tea-1", "mug-2"]
    assert outcome.whats == [(3, "Pos", "empty, and a part of the key")]


def test_a_key_column_comes_before_one_called_row_key(keys: Any) -> None:
    """What is stated counts."""
    frame = pd.DataFrame({"image_path": [URL], "prompt": ["a"], "row_key": ["old"], "SKU": ["new"], "n": ["1"]})
    assert keys(frame, row_key=["SKU"]) == ["new"]
    assert keys(frame, row_key=["SKU", "n"]) == ["new-1"]


def test_a_joined_key_is_no_longer_than_others(read: Any) -> None:
    """A database's index can't hold more, whatever it is made of."""
    frame = pd.DataFrame({"image_path": [URL], "prompt": ["a"], "a": ["x" * 300], "b": ["y" * 300]})
    assert read(frame, row_key=["a", "b"]).whats == [(1, "a + b", "601 characters long, more than 500")]


SHOP = {"row_key": ["Handle", "Position"], "fill_down": ["Title", "Status"], "prompt_template": "Pan over {Title}"}


def test_cells_are_filled_from_above(read: Any, csv_file: Callable[..., Path]) -> None:
    """Within a product; the next one does not inherit its title."""
    path = csv_file(_shop("tea,Teapot,active,1", "tea,,,2", "tea,New,,3", "tea,,,4", "mug,,active,1", "mug,Mug,,2"))
    outcome = read(path, **SHOP)
    assert [row.request.prompt for row in outcome.rows][:4] == ["Pan over Teapot"] * 2 + ["Pan over New"] * 2
    assert outcome.whats == [(5, "Title", "empty, and the prompt template needs it")]


def test_a_blank_key_goes_on_with_the_product_above(keys: Any, csv_file: Callable[..., Path]) -> None:
    """It is filled as well, where it is listed."""
    path = csv_file(_shop("tea,Teapot,active,1", ",,,2", "mug,Mug,active,1", " ,,,2"))
    assert keys(path, **SHOP | {"fill_down": ["Handle", "Title"]}) == ["tea-1", "tea-2", "mug-1", "mug-2"]


def test_nothing_is_filled_across_a_row_that_can_not_be_read(read: Any, csv_file: Callable[..., Path]) -> None:
    """It may have been the next product: a blank key after it belongs to none that is known."""
    path = csv_file(_shop("tea,Teapot,active,1", "mug,Mug,too,many,cells", ",,,2", "tea,,,3", "pot,Pot,,1", ",,,2"))
    outcome = read(path, **SHOP | {"fill_down": ["Handle", "Title"]})
    assert [number for number, column, _ in outcome.whats if column == "Handle"] == [3]
    assert [row.row_key for row in outcome.rows][-2:] == ["pot-1", "pot-2"]


@given(
    rows=st.lists(st.tuples(st.sampled_from(["", "a", "b"]), st.sampled_from(["", " ", "x", "y"]), st.booleans())),
    cuts=st.sets(st.integers(0, 12)),
)
@example(rows=[("a", "x", False), ("", "", True), ("", "", False)], cuts={2})
@settings(deadline=None)
def test_filling_does_not_depend_on_batches(rows: list[tuple[str, str, bool]], cuts: set[int]) -> None:
    """However the rows are cut into batches, it comes to what one look at row after row gives."""
    expected, key, last, lost = [], "", "", False
    for cell_key, cell, broken in rows:
        if broken:
            lost = True
            continue
        new = cell_key != key if cell_key else lost
        key = cell_key if cell_key or lost else key
        last, lost = cell if new or cell.strip() else last, False
        expected.append(last)
    shaper = RowShaper(RowShaping(fill_down=("title",), group="key"))
    filled = []
    for first, end in pairwise([0, *sorted(cut for cut in cuts if 0 < cut < len(rows)), len(rows)]):
        part = list(enumerate(rows[first:end], start=first + 1))
        sound = [(number, *cells) for number, (*cells, broken) in part if not broken]
        columns = {"key": [row[1] for row in sound], "title": [row[2] for row in sound]}
        broken_rows = [BrokenRow(number, "", "", "") for number, (*_, broken) in part if broken]
        filled += shaper.shape(RawRows([row[0] for row in sound], columns, broken_rows)).columns["title"]
    assert filled == expected


def test_filling_goes_on_from_batch_to_batch(read: Any, csv_file: Callable[..., Path]) -> None:
    """A product's rows may lie in two of them."""
    rows = [f"tea,{'' if number else 'Teapot'},,{number}" for number in range(BATCH_ROWS + 3)]
    outcome = read(csv_file(_shop(*rows)), **SHOP)
    assert {row.request.prompt for row in outcome.rows} == {"Pan over Teapot"}
    assert not outcome.problems


def test_where_leaves_other_rows_out(checks: Checks, csv_file: Callable[..., Path]) -> None:
    """After the filling; they are counted, and keep their numbers."""
    path = csv_file(_shop("tea,Teapot,Active,1", "tea,,,2", "mug,Mug,draft,1", "mug,,,2", "pot,Pot,active,"))
    options = ManifestOptions(
        **SHOP, where={"Status": "active", "Position": "not empty"}, defaults={"end_seconds": 5}
    )
    *_, last = open_manifest(path, options, checks).batches()
    assert ([row.row_number for row in last.rows], last.left_out, last.problems) == ([1, 2], 3, [])


def test_the_plan_counts_rows_that_are_left_out(csv_file: Callable[..., Path], tmp_path: Path) -> None:
    """Beside those that count."""
    stated = {**SHOP, "where": {"Status": "active"}, "defaults": {"end_seconds": 5}}
    used = Settings(results=f"sqlite:///{tmp_path}/x.db", manifest=stated)
    path = csv_file(_shop("tea,Teapot,active,1", "mug,Mug,draft,1", "pot,Pot,draft,1"))
    said = make_plan(GenerateOptions(source=path), used).as_json()
    assert (said["rows"], said["send"], said["left_out"]) == (1, 1, 2)


def test_rows_that_can_not_be_read_are_never_left_out(read: Any, csv_file: Callable[..., Path]) -> None:
    """It can't be known what they would be."""
    path = csv_file(_shop("tea,Teapot,draft,1", "mug,Mug,draft,x,y,z", "pot,Pot,active,1"))
    outcome = read(path, where={"Status": "active"}, **SHOP)
    assert [row.row_number for row in outcome.rows] == [2, 3]


def test_a_condition_that_no_row_meets_is_said(read: Any, csv_file: Callable[..., Path]) -> None:
    """A typing error must not look like a shop without products."""
    outcome = read(csv_file(_shop("tea,Teapot,active,1")), where={"Status": "actve"}, **SHOP)
    assert [warning.what for warning in outcome.warnings] == ["has no rows that `where` lets through, of 1"]


@pytest.mark.parametrize(
    ("stated", "cells", "others"),
    [
        ("active", ["active", " ACTIVE "], ["", "activ", "draft"]),
        (["active", "archived"], ["active", "Archived"], ["", "draft"]),
        ("not empty", ["active", "0", "no"], ["", " "]),
        ("empty", ["", " "], ["active", "0"]),
        (["empty", "active"], ["", " ", "active"], ["draft"]),
        (True, ["1", "true", "TRUE", "yes"], ["", "0", "no", "active"]),
        (False, ["0", "no", "FALSE"], ["", "1", "true"]),
        (1, ["1"], ["true", "10", ""]),
        (12.0, ["12"], ["1", ""]),
        (None, ["", " "], ["x"]),
    ],
)
def test_what_a_condition_means(stated: Any, cells: list[str], others: list[str]) -> None:
    """Whatever the case and the blanks around; YAML's true is what shops write for it."""
    condition = Condition.of(stated)
    assert condition.holds([*cells, *others]) == [True] * len(cells) + [False] * len(others)


def test_html_becomes_text(read: Any) -> None:
    """In a prompt as in a template, and before `where` looks for content."""
    frame = pd.DataFrame(
        {"image_path": URL, "Body (HTML)": ["<p>Stoneware,<br>1.1&nbsp;l</p>", "<p>&nbsp;</p>"]}, dtype=object
    )
    outcome = read(
        frame, prompt_template="Pan: {Body (HTML)}", strip_html=["Body (HTML)"], where={"Body (HTML)": "not empty"}
    )
    assert [row.request.prompt for row in outcome.rows] == ["Pan: Stoneware, 1.1 l"]


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("plain  text\n", "plain text"),
        ("a < b & c > d", "a < b & c > d"),
        ("<b>Tea</b>, <i>hot</i>", "Tea, hot"),
        ("<ul><li>one</li><li>two</li></ul>", "one two"),
        ('<img alt="a > b" src=x>Pot', "Pot"),
        ("<p title='it''s'>Don't</p>", "Don't"),
        ('<p class="x>Pot</p>', "Pot"),
        ("<style>p {color: red}</style>Pot<script>if (a<b) {}</script >!", "Pot!"),
        ("Pot<!-- <b>no</b> --> of tea", "Pot of tea"),
        ("Pot<!-- never closed", "Pot"),
        ("<p>5 &lt;b&gt; &amp;amp; &eacute;", "5 <b> &amp; é"),
        ("&lt;p&gt;Pot, 1.1&amp;nbsp;l&lt;/p&gt;", "Pot, 1.1 l"),
        ("5 &lt; 6 &amp; 7 &gt; 6", "5 < 6 & 7 > 6"),
        (r"<p>Pot</p>\n<p>of tea</p>\n", "Pot of tea"),
        ("<P>One</P><P>Two", "One Two"),
        ("Pot <b", "Pot <b"),
    ],
)
def test_html_as_it_comes(cell: str, text: str) -> None:
    """Tags go, words stay apart, and what is no tag stays."""
    assert text_of(cell) == text


@pytest.mark.parametrize("piece", ["<a ", '<a "', "<!--", "<script>", "<p '", "</", "<a b='", "&", "<script></scrip"])
def test_damaged_html_takes_no_longer(piece: str) -> None:
    """Twenty thousand times an open end: the text is there before anyone could wait for it."""
    assert isinstance(text_of(piece * 20_000), str)


@pytest.mark.parametrize(
    ("separator", "cell", "first"),
    [
        (",", "https://x.test/a.jpg, https://x.test/b.jpg", "https://x.test/a.jpg"),
        (",", "https://x.test/a.jpg,https://x.test/b.jpg,", "https://x.test/a.jpg"),
        (",", "https://x.test/w_300,h_200/a.jpg", "https://x.test/w_300,h_200/a.jpg"),
        (",", "https://x.test/w_300,h_200/a.jpg, https://x.test/b.jpg", "https://x.test/w_300,h_200/a.jpg"),
        ("|", "https://x.test/a|https://x.test/b", "https://x.test/a"),
        (",", "/w/s/a.jpg,/w/s/b.jpg", "/w/s/a.jpg"),
        (",", "a.jpg , b.png", "a.jpg"),
        (",", "front, left.jpg", "front, left.jpg"),
        (",", "api-assets/a.png,api-assets/b.png", "api-assets/a.png"),
        (",", " , https://x.test/a.jpg, ", "https://x.test/a.jpg"),
        (",", "a.jpg", "a.jpg"),
        (",", ",", ""),
    ],
)
def test_of_several_addresses_the_first_is_taken(separator: str, cell: str, first: str) -> None:
    """Where another one begins behind the separator; one that is a part of an address stays."""
    assert list(ImageCells(separators={"image_path": separator}).addresses("image_path", [cell])) == [first]


@pytest.mark.parametrize(
    ("prefix", "cell", "image"),
    [
        ("https://shop.example/media/", "/w/s/a.jpg", "https://shop.example/media/w/s/a.jpg"),
        ("https://shop.example/media", "catalog/a b.jpg", "https://shop.example/media/catalog/a%20b.jpg"),
        ("photos", "a b.jpg", "photos/a b.jpg"),
        ("https://shop.example", "https://other.example/a.jpg", "https://other.example/a.jpg"),
        ("https://shop.example", "s3://shop/a.jpg", "s3://shop/a.jpg"),
        ("https://shop.example", "//cdn.example/a.jpg", "//cdn.example/a.jpg"),
        ("https://shop.example", "api-assets/a.jpg", "api-assets/a.jpg"),
        ("https://shop.example", r"C:\a.jpg", r"C:\a.jpg"),
        ("https://shop.example", "data:image/png;base64,x", "data:image/png;base64,x"),
        ("https://shop.example", "", ""),
    ],
)
def test_paths_get_the_prefix(prefix: str, cell: str, image: str) -> None:
    """Addresses that are whole, or mistaken, stay as they are."""
    assert list(ImageCells(prefix).addresses("image_path", [cell])) == [image]


def test_images_of_a_shop(read: Any) -> None:
    """Both settings together, for both images, each with what separates it; other uses of the cell see it whole."""
    frame = pd.DataFrame({"img": ["/a.jpg,/b.jpg"], "end": ["/c.jpg|/d.jpg"], "prompt": ["x"]})
    row = read(
        frame,
        columns={"image_path": "img", "end_image_path": "end", "name": "img"},
        split={"image_path": ",", "end_image_path": "|"},
        image_prefix="https://x.test",
    ).rows[0]
    assert (row.request.image_path, row.request.end_image_path, row.request.name) == (
        "https://x.test/a.jpg",
        "https://x.test/c.jpg",
        "/a.jpg,/b.jpg",
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": {"row_key": "sku"}, "row_key": ["sku"]}, "row_key: columns states it too"),
        ({"row_key": ["sku", "sku"]}, "row_key: names a column twice"),
        ({"fill_down": ["sku"]}, "fill_down: needs a key"),
        ({"split": {"prompt": ","}}, 'split: "prompt" can\'t be set'),
        ({"split": {"image_path": ""}}, "separates nothing"),
        ({"split": {"end_image_path": ","}}, "split: there is no column for end_image_path"),
        ({"image_prefix": " "}, "is no folder and no address"),
        ({"image_prefix": "https://jo:secret@shop.example"}, "image_prefix: holds a password"),
        ({"where": {"sku": []}}, "where: sku: is no value"),
        ({"where": {"Sku!": "x"}}, 'there is no column "Sku!", which where names. Did you mean "sku"?'),
        ({"strip_html": ["Body"]}, 'there is no column "Body", which strip_html names'),
        ({"row_key": ["Handle"]}, 'there is no column "Handle", which row_key names'),
        ({"columns": {"sku": "row_key"}}, "Did you mean {row_key: sku}?"),
        ({"columns": {"name": "prompt"}, "defaults": {"prompt": "x"}}, None),
    ],
)
def test_settings_that_can_not_be_meant_are_errors(read: Any, options: Any, message: str | None) -> None:
    """Named before anything is read, with what to do."""
    frame = pd.DataFrame({"image_path": [URL], "prompt": ["x"], "sku": ["A"], "end_seconds": ["5"]})
    if message is None:
        read(frame, **options)
        return
    with pytest.raises(ManifestError, match=re.escape(message)):
        read(frame, **options)


def test_everything_that_can_not_be_meant_is_named_at_once(read: Any) -> None:
    """Not one setting at a time."""
    frame = pd.DataFrame({"image_path": [URL], "prompt": ["x"]})
    with pytest.raises(ManifestError) as caught:
        read(frame, columns={"Foto": "image_path", "Text": "prompt"}, defaults={"audio": "perhaps"})
    said = str(caught.value)
    assert "{image_path: Foto}" in said
    assert "{prompt: Text}" in said
    assert "perhaps" in said


def test_a_mapping_the_wrong_way_round_is_a_hint(read: Any) -> None:
    """Also where both names are ours."""
    frame = pd.DataFrame({"image_path": [URL], "name": ["x"]})
    with pytest.raises(ManifestError, match=re.escape("Did you mean {prompt: name}?")):
        read(frame, columns={"name": "prompt"})


def test_a_title_in_place_of_the_names_is_said_to_be_one(read: Any) -> None:
    """A first line with a single name is a catalogue's title more often than all of its columns."""
    with pytest.raises(ManifestError, match='If "Spring 2027" is a title, take away what stands above'):
        read(pd.DataFrame({"Spring 2027": ["sku", "A"], "(column 2)": ["image_path", URL]}))


def test_facts_in_place_of_the_names_are_said_to_be_above_them(read: Any) -> None:
    """As marketplaces begin their files with versions of the template."""
    with pytest.raises(ManifestError, match=r'If "Version=1\.0\.0" is a title, take away what stands above'):
        read(pd.DataFrame({"Info": ["sku", "A"], "Version=1.0.0": ["image_path", URL], "Template=x": ["p", "q"]}))


def test_missing_columns_are_named_all_at_once(read: Any) -> None:
    """Those that we need, and those that the settings name, with the likely ones."""
    frame = pd.DataFrame({"Image Path": [URL], "Title": ["x"], "sku": ["A"]})
    with pytest.raises(ManifestError) as caught:
        read(
            frame, defaults={}, prompt_template="{title}, {colour}", columns={"row_key": "SKUs"}, where={"state": "x"}
        )
    first, *lines, last = str(caught.value).splitlines()
    assert first == "<DataFrame>: 6 columns are missing:"
    assert last == "Found: Image Path, Title, sku."
    said = "\n".join(lines)
    for part in ('"SKUs" to take row_key', '"title"', "{Title}", '"colour"', '"state"', "image_path", "end_seconds"):
        assert part in said


def test_a_shop_s_own_column_under_one_of_our_names_is_told_how_to_be_switched_off(read: Any, tmp_path: Path) -> None:
    """Of a model that no table has and of sound that is no yes or no; widths say so too."""
    file = tmp_path / "shop.csv"
    file.write_text(
        "sku,image_path,prompt,model,audio,width\nA,https://x.test/a.png,Pan,LT-200,,\n"
        "B,https://x.test/b.png,Pan,,MP3,12.5\n",
        encoding="utf-8",
    )
    outcome = read(file)
    assert [warning.column for warning in outcome.warnings if "{model: null}" in warning.remedy] == ["model"]
    assert [problem.column for problem in outcome.problems if "null}" in problem.remedy] == ["audio", "width"]
    off = read(file, columns={"model": None, "audio": None, "width": None})
    assert (off.problems, off.warnings) == ([], [])
