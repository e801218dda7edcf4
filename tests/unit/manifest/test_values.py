"""Values that are no values: named, with what to do, before anything is paid for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from reelbatch.errors import ManifestError

URL = "https://x.test/a.png"


def frame(*images: str, **columns: Any) -> pd.DataFrame:
    """A manifest of these images."""
    return pd.DataFrame({"image_path": images, "prompt": "Pan", **columns}, dtype=object)


@pytest.mark.parametrize("value", ["#N/A", "#REF!", "#NAME?", "#VALUE!", "#DIV/0!", " #N/A "])
@pytest.mark.parametrize("column", ["row_key", "image_path", "prompt", "name", "model", "end_seconds"])
def test_an_error_value_of_a_spreadsheet_is_refused(read: Any, column: str, value: str) -> None:
    """In every column that is used; the row beside it goes on."""
    table = frame(URL, URL).assign(row_key=["a", "b"], name="n", model="ltx-2.3", end_seconds="5")
    table.loc[1, column] = value
    outcome = read(table, defaults={})
    assert [(number, where) for number, where, _ in outcome.whats] == [(2, column)]
    unused = read(table.rename(columns={column: "unused"}).assign(**{column: table[column][0]}), defaults={})
    assert [what for _, _, what in unused.whats] == []


@pytest.mark.parametrize("value", ["#NV", "#WERT!", "#VALEUR!", "#¿NOMBRE?", "#ССЫЛКА!", "#ERROR!", "Err:502"])
def test_error_values_of_other_languages_and_programs_are_refused(read: Any, value: str) -> None:
    """Excel writes them in the user's language, LibreOffice and Google have some of their own; a hashtag is text."""
    outcome = read(frame(URL, URL, prompt=[value, "#SLOW!"], row_key=["a", "b"]))
    assert outcome.whats == [(1, "prompt", "an error value of a spreadsheet")]


@pytest.mark.parametrize("value", ["<NA>", "NaT", "\\N", "(null)", "undefined", "[object Object]", "N/A"])
def test_other_words_for_nothing_are_warned_of(read: Any, value: str) -> None:
    """What pandas, databases, JavaScript and Google Sheets leave in a cell that has nothing."""
    outcome = read(frame(URL, prompt=[value]))
    assert outcome.problems == []
    assert [warning.what for warning in outcome.warnings] == ["a word that scripts write where there is nothing"]


def test_error_values_as_keys_do_not_make_the_manifest_unusable(read: Any) -> None:
    """Two rows without a key that can be taken are two invalid rows."""
    outcome = read(frame(URL, "https://x.test/b.png", row_key=["#N/A", "#N/A"]))
    assert len({row.row_key for row in outcome.rows} - {"#N/A"}) == 2


def test_error_values_in_a_template_are_refused(read: Any) -> None:
    """They would become part of the prompt."""
    outcome = read(frame(URL, URL, title=["#N/A", "Pot"]).drop(columns="prompt"), prompt_template="Pan over {title}")
    assert outcome.whats == [(1, "title", "an error value of a spreadsheet")]


def test_words_for_nothing_are_warned_of(read: Any) -> None:
    """`nan`, `None`, `NULL` alone may be meant; within a sentence they surely are."""
    prompts = ["nan", "None", "NULL", "NaN", "None of them moves", "nan"]
    outcome = read(frame(*[URL] * 6, prompt=prompts, row_key=list("abcdef")))
    assert outcome.problems == []
    assert [(warning.row_number, warning.value) for warning in outcome.warnings] == [
        (1, "nan"),
        (2, "None"),
        (3, "NULL"),
        (4, "NaN"),
    ]
    assert outcome.warnings[0].what.endswith("(so in 2 rows)")


def test_words_for_nothing_in_a_template_are_warned_of(read: Any) -> None:
    """They would become part of the prompt; not where the row has one of its own."""
    table = frame(
        *[URL] * 4, row_key=list("abcd"), title=["Pot", "nan", "NULL", "nan"], colour=["None", "red", "", "nan"]
    )
    table["prompt"] = ["", "", "Slow pan", ""]
    outcome = read(table, prompt_template="Pan over {title}[, {colour}]")
    assert outcome.problems == []
    assert [(warning.row_number, warning.column, warning.value) for warning in outcome.warnings] == [
        (2, "title", "nan"),
        (1, "colour", "None"),
        (4, "colour", "nan"),
    ]
    assert outcome.warnings[0].what == "a word that scripts write where there is nothing (so in 2 rows)"


def test_invisible_characters_at_the_ends_are_taken_off(read: Any) -> None:
    """Keys, addresses, prompts and numbers mean the same with and without them."""
    signs = "\u200b", "\ufeff", "\u202a", "\u2060 ", "\u00a0", "\u3164", "\u2800"
    for sign in signs:
        plain = frame(URL, row_key=["a"], prompt=["Slow"], end_seconds=["5"], name=["n"])
        marked = plain.map(lambda text, sign=sign: f"{sign}{text}{sign}")
        outcome = read(marked, defaults={})
        assert outcome.problems == []
        assert outcome.rows == read(plain, defaults={}).rows


def test_invisible_characters_inside_keys_and_addresses_are_shown(read: Any) -> None:
    """They make another key, and another file, that looks the same. In a prompt they may join letters."""
    outcome = read(frame("https://x.test/a\u200b.png", URL, URL, row_key=["a", "b\u200bc", "d"], prompt="क्\u200dष"))
    assert outcome.whats == [
        (1, "image_path", "contains an invisible character (U+200B)"),
        (2, "row_key", "contains an invisible character (U+200B)"),
    ]
    assert [problem.value for problem in outcome.problems] == ["https://x.test/a<U+200B>.png", "b<U+200B>c"]


def test_names_of_columns_match_as_they_look(read: Any) -> None:
    """Signs that can't be seen, other blanks and accents set apart make no other name: a key is not lost by one."""
    marked = {"row_key\u200b": ["k"], "image\u2060_path": [URL], "Titel\u00a0DE": ["Vase"], "cafe\u0301": ["rot"]}
    outcome = read(pd.DataFrame(marked), prompt_template="{Titel DE}, {caf\u00e9}")
    assert [(row.row_key, row.request.prompt) for row in outcome.rows] == [("k", "Vase, rot")]


def test_conditions_take_no_notice_of_invisible_characters(read: Any) -> None:
    """Neither for what counts, nor for what is empty and filled from above."""
    table = frame(*[URL] * 3, Status=["active\u200b", "\u200b", "draft"], SKU=["a", "\u200b", "b"], N=["1", "2", "1"])
    outcome = read(table, where={"Status": "active"}, fill_down=["SKU", "Status"], row_key=["SKU", "N"])
    assert [row.row_key for row in outcome.rows] == ["a-1", "a-2"]


def test_columns_are_listed_in_a_line_that_can_be_read(csv_file: Any, read: Any) -> None:
    """However many there are, and however long their names: it may be no table at all."""
    for line in ("x," * 50_000, "<p>" + "y" * 100_000):
        with pytest.raises(ManifestError, match="image_path") as error:
            read(csv_file(f"{line}\n1,2\n"))
        assert len(str(error.value)) < 6_000


def test_a_prompt_of_invisible_characters_is_missing(read: Any) -> None:
    """It looks empty because it is."""
    assert read(frame(URL, prompt=["\u200b"])).whats == [(1, "prompt", "missing")]


@pytest.mark.parametrize(
    ("cell", "what"),
    [
        ("//cdn.shopify.com/s/a.jpg?v=1", "a web address without its scheme"),
        ("www.example.com/x.jpg", "a web address without its scheme"),
        ("https:/shop.example.com/x.jpg", "a web address with slashes missing"),
        ("C:\\Users\\jo\\x.jpg", "a path of a Windows machine"),
        ("C:/Users/jo/x.jpg", "a path of a Windows machine"),
        ("\\\\nas\\share\\x.jpg", "a path of a Windows network"),
        ("data:image/png;base64,iVBORw0KGgo=", "the image itself in place of its address"),
        ('<img src="https://shop.example.com/x.jpg">', "HTML in place of an address"),
        ("'images/teapot.jpg'", "in quotation marks of its own"),
        ("https://drive.google.com/file/d/1abc/view?usp=sharing", "a share link of Google Drive"),
        ("https://www.dropbox.com/s/abc/x.jpg?dl=0", "a share link of Dropbox"),
        ("https://x.test/a.jpg, https://x.test/b.jpg", "several addresses in one cell"),
        ("https://x.test/a.jpg,https://x.test/b.jpg", "several addresses in one cell"),
        ("https://x.test/a.jpg|https://x.test/b.jpg", "several addresses in one cell"),
        ("a.jpg;https://x.test/b.jpg", "several addresses in one cell"),
        ("https://x.test/a.jpg https://x.test/b.jpg", "several addresses in one cell"),
        ("https://x.test/a.jpg::https://x.test/b.jpg", "several addresses in one cell"),
        ("https://x.test/a.jpghttps://x.test/b.jpg", "several addresses in one cell"),
        ("https://x.test/a.jpg?v=1^https://x.test/b.jpg", "several addresses in one cell"),
        ("https://x.test/a.jpg;b.jpg", "several images in one cell"),
        ("https//x.test/a.jpg", "a web address whose beginning is misspelt"),
        ('=IMAGE("https://x.test/a.jpg")', "a formula in place of an address"),
        ('["https://x.test/a.jpg", "https://x.test/b.jpg"]', "a list or object in place of an address"),
        ("blob:https://x.test/1-2", "an address that only one program knows"),
        ("pot.jpg (https://x.test/v3/pot.jpg)", "a name with an address in brackets"),
        (
            "pot.jpg (https://x.test/v3/pot.jpg),lid.jpg (https://x.test/v3/lid.jpg)",
            "a name with an address in brackets",
        ),
    ],
)
def test_what_is_no_address_is_called_what_it_is(read: Any, cell: str, what: str) -> None:
    """Each with its own remedy, alone and among many sound ones."""
    for images in ([cell], [URL] * 40 + [cell]):
        (problem,) = read(frame(*images, row_key=range(len(images)))).problems
        assert problem.what.startswith(what)


@pytest.mark.parametrize(
    ("sign", "named"),
    [(", ", '","'), ("|", '"|"'), (" ", '" "'), ("\n", r'"\n"'), (" ; ", '";"'), ("::", '"::"'), ("+", '"+"')],
)
def test_what_stands_between_addresses_is_named(read: Any, sign: str, named: str) -> None:
    """The setting that is suggested takes the first of them, as it is written."""
    cell = f"https://x.test/a.jpg{sign}https://x.test/b.jpg"
    (problem,) = read(frame(cell)).problems
    assert f"split: {{image_path: {named}}} takes the first" in problem.remedy
    split = yaml.safe_load(problem.remedy.partition("split: ")[2].partition(" takes")[0])
    assert read(frame(cell), split=split).problems == []


@pytest.mark.parametrize(
    "address",
    [
        "https://x.test/a.jpg?next=https://x.test/b.jpg",
        "https://x.test/fit=cover,width=80/https://x.test/a.jpg",
        "https://www.dropbox.com/s/abc/x.jpg?dl=1",
        "https://www.x.test/a,b.jpg",
        "https://x.test/fit(https://x.test/a.jpg)",
        "https://x.test/a.jpg?of=https://x.test/b.jpg",
        "https://x.test/a.jpg?next=b.jpg,c.jpg",
    ],
)
def test_odd_addresses_that_are_some_stay(read: Any, address: str) -> None:
    """An address within an address, as image services have them, is one."""
    assert read(frame(address)).problems == []


@pytest.mark.parametrize(
    ("cell", "remedy"),
    [
        ("Images/Brass+Lamp.JPG", 'Did you mean "images/brass lamp.jpg"?'),
        ("images/brass%20lamp.jpg?v=1", 'Did you mean "brass lamp.jpg"?'),
        ("/b/r/brass.jpg,/b/r/back.jpg", 'Name one image; split: {image_path: ","} takes the first of several.'),
        ("cdn.example.com/brass.jpg", "Write https:// before it, if it is a web address"),
        ("images/vase.jpg", "Check the path"),
        ("a/" * 1500 + "vase.jpg", "Check the path"),
    ],
)
def test_a_path_that_leads_nowhere_has_the_remedy_that_fits(read: Any, image: Any, cell: str, remedy: str) -> None:
    """A folder's case, a path out of an address, a list of paths or a host: what to do is another thing for each."""
    table = image("images/brass lamp.jpg").parent.parent / "spring.csv"
    table.write_text(f'image_path,prompt\n"{cell}",Pan\n', encoding="utf-8")
    (problem,) = read(table).problems
    assert (problem.what, remedy in problem.remedy) == ("no such file", True)


def test_a_cell_of_a_hundred_thousand_signs_is_looked_at_once(read: Any) -> None:
    """The time for it grows as it does: files side by side, blanks, brackets; it was more than a minute each."""
    files = "a.jpg," * 16_000 + "a.jpg"
    cells = [f"https://x.test/{files}", files, f"https://x.test/a.jpg{' ' * 99_000}b", "[" * 99_000]
    outcome = read(frame(*cells, row_key=list("abcd")))
    assert {number for number, _, _ in outcome.whats} == {1, 2, 3, 4}


@pytest.mark.parametrize("host", ["localhost:3000", "192.168.1.5", "10.0.0.7:80", "172.20.0.1", "nas", "shop.local"])
def test_an_address_that_the_api_cannot_reach_is_warned_of(read: Any, host: str) -> None:
    """It is the API that fetches the image, and not this machine."""
    for images in ([f"http://{host}/a.jpg"], [URL] * 40 + [f"http://{host}/a.jpg"]):
        outcome = read(frame(*images, row_key=range(len(images))))
        assert outcome.problems == []
        assert any("which the API can't reach" in warning.what for warning in outcome.warnings)


@pytest.mark.parametrize(
    ("size", "fine"), [((1, 1), False), ((31, 64), False), ((32, 32), True), ((32, 640), True), ((32, 641), False)]
)
def test_what_is_no_picture_to_animate_is_refused(read: Any, image: Any, size: Any, fine: bool) -> None:
    """A tracking pixel, an icon or a ruler: shorter side and ratio."""
    outcome = read(frame(str(image("a.png", size))))
    assert [what for _, _, what in outcome.whats] == (
        [] if fine else [f"{size[0]} x {size[1]} pixels, which is no picture to animate"]
    )


@pytest.mark.parametrize("stated", ["images/Teapot.JPG", "images/teapot%2Ejpg"])
def test_a_name_that_is_nearly_there_is_named(read: Any, image: Any, tmp_path: Path, stated: str) -> None:
    """Case and %20 are what differs between a Windows disk or the web and this machine."""
    image("images/teapot.jpg")
    (tmp_path / "c.csv").write_text(f"image_path,prompt\n{stated},Pan\n", encoding="utf-8")
    (problem,) = read(tmp_path / "c.csv").problems
    assert (problem.what, problem.remedy.split("?")[0]) == ("no such file", 'Did you mean "teapot.jpg"')
