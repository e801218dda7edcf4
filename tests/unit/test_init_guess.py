"""What `reelbatch init` takes columns for: by their names in some languages, and by their cells."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reelbatch.errors import ManifestError, SettingsError
from reelbatch.manifest import Checks, ManifestOptions, open_manifest
from reelbatch.model_table import load_models
from reelbatch.pipeline.init_columns import plain_name
from reelbatch.pipeline.init_config import config_text, write
from reelbatch.pipeline.init_guess import Guess, Stated, guess
from reelbatch.pipeline.init_photos import thing_in
from reelbatch.pipeline.init_shops import SHOPS
from reelbatch.pipeline.init_table import look_at
from reelbatch.settings.settings import ManifestSettings

DATA = Path(__file__).parents[2] / "data"
CATALOGUE = DATA / "catalogue.csv"
OURS = ("row_key", "image_path", "title", "prompt", "end_seconds", "resolution", "model", "name")
RENAMED: Mapping[str, str] = {
    "German": "Artikelnummer, Bild, Titel, Prompt, Sekunden, Auflösung, Modell, Name",
    "German, of a database": "ARTIKEL_NR, FOTO_URL, BEZEICHNUNG, KAMERABEWEGUNG, DAUER_S, QUALITAET, KI, KURZNAME",
    "German, in part": "Art.-Nr., Foto-URL, Titel, Text, Dauer, Format, Technik, Kurzname",
    "Spanish": "Código, Imagen, Título, Movimiento de cámara, Segundos, Resolución, Modelo, Nombre corto",
    "Spanish, of a shop": "Referencia, URL de la imagen, Nombre, Texto, Duración, Calidad, Modelo IA, Nombre corto",
    "French": "Référence, Chemin image, Titre, Consigne vidéo, Durée (s), Définition, Modèle, Nom court",
    "English": "SKU, Image Src, Product Title, Motion prompt, Duration, Resolution, AI model, Video name",
    "camel case": "productId, imageUrl, productName, videoPrompt, durationSeconds, quality, engine, shortName",
    "shouting": "ROW KEY, IMAGE PATH, TITLE, PROMPT, END SECONDS, RESOLUTION, MODEL, NAME",
    "no help": "A, B, C, D, seconds, F, G, name",
}


def _names(language: str) -> dict[str, str]:
    return dict(zip(OURS, RENAMED[language].split(", "), strict=True))


def _rows(source: Path, manifest: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Keys and requests, as a run would have them; none may have a problem."""
    options = ManifestOptions(**ManifestSettings(**manifest).model_dump())
    rows: list[tuple[str, Any]] = []
    for checked in open_manifest(str(source), options, Checks(models=load_models(), images=False)).batches():
        assert checked.problems == []
        rows += [(row.row_key, row.request) for row in checked.rows]
    return rows


def _guessed(path: Path, **stated: Any) -> Guess:
    return guess(look_at(str(path)), Stated(**stated))


@cache
def _of_the_catalogue() -> Guess:
    return _guessed(CATALOGUE)


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., Path]:
    """A CSV with these columns."""

    def write(columns: Mapping[str, Sequence[object]], name: str = "catalogue.csv", **how: Any) -> Path:
        path = tmp_path / name
        pd.DataFrame(dict(columns)).to_csv(path, index=False, **how)
        return path

    return write


@pytest.mark.parametrize("language", RENAMED)
def test_a_catalogue_under_other_names_yields_the_same_requests(language: str, table: Callable[..., Path]) -> None:
    """Keys, images, prompts, seconds, resolutions, models and names: each is found under what it is called there."""
    frame = pd.read_csv(CATALOGUE, dtype=str).rename(columns=_names(language))
    path = table(frame.to_dict("list"), sep=";", encoding="utf-8-sig")
    made = _guessed(path)
    assert _rows(path, made.manifest) == _rows(CATALOGUE, {}), made.manifest


@pytest.mark.parametrize("order", [1, 3, 6])
def test_the_order_of_the_columns_does_not_matter(order: int, table: Callable[..., Path]) -> None:
    """What stands first is no likelier."""
    frame = pd.read_csv(CATALOGUE, dtype=str).rename(columns=_names("German"))
    turned = [*frame.columns[order:], *frame.columns[:order]]
    path = table(frame[turned].to_dict("list"))
    assert _rows(path, _guessed(path).manifest) == _rows(CATALOGUE, {})


def test_a_catalogue_with_our_own_names_needs_no_settings() -> None:
    """CSV or Parquet."""
    assert dict(_guessed(CATALOGUE).manifest) == {}
    assert dict(_guessed(DATA / "catalogue.parquet").manifest) == {}


def _items(**more: Sequence[object]) -> dict[str, Sequence[object]]:
    count = len(next(iter(more.values())))
    images = [f"https://x.test/{number}.jpg" for number in range(count)]
    return {"Foto": images, "Titel": ["Lagoon teapot"] * count, **more}


def test_a_column_with_repeated_cells_is_no_key(table: Callable[..., Path]) -> None:
    """Also where its name says so; the one that holds in all rows is taken."""
    path = table(_items(SKU=["a", "b", "a"], EAN=["1", "2", "3"]))
    assert _guessed(path).manifest["row_key"] == "EAN"


def test_a_column_with_blanks_is_no_key(table: Callable[..., Path]) -> None:
    """A row without a key could not be told from the others."""
    path = table(_items(SKU=["a", "", "c"], Nummer=["1", "2", "3"]))
    assert _guessed(path).manifest["row_key"] == "Nummer"


def test_two_columns_make_a_key_together(table: Callable[..., Path]) -> None:
    """Where no single one does."""
    path = table(_items(SKU=["a", "a", "b"], Position=["1", "2", "1"]))
    assert _guessed(path).manifest["row_key"] == ["SKU", "Position"]


def test_where_there_is_no_key_none_is_made_up(table: Callable[..., Path]) -> None:
    """The fingerprint stands for it, a column `row_key` with repeats is switched off, and init is not sure."""
    path = table(_items(row_key=["a", "a", "b"], Preis=["4.90", "5.90", "6.90"]))
    made = _guessed(path)
    assert "row_key" not in made.manifest
    assert made.manifest["columns"]["row_key"] is None
    assert "key" in [question.about for question in made.questions]
    assert made.preview.has_sound_keys


def test_a_repeat_beyond_the_sample_is_seen(table: Callable[..., Path]) -> None:
    """All rows are read before a key is taken."""
    keys = [f"K{number}" for number in range(6_000)]
    path = table(_items(SKU=[*keys, "K0"], Nummer=list(range(6_001))))
    assert _guessed(path).manifest["row_key"] == "Nummer"


@given(
    st.lists(st.tuples(st.sampled_from(["", "a", "b", "c"]), st.sampled_from(["", "1", "2"])), min_size=1, max_size=8)
)
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_guess_has_rows_without_a_key_or_two_with_one(tmp_path: Path, cells: list[tuple[str, str]]) -> None:
    """Whatever stands in the columns that are called keys."""
    path = tmp_path / "x.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["SKU", "Position", "Bild", "Titel"])
        writer.writerows([*row, f"https://x.test/{place}.png", f"Thing {place}"] for place, row in enumerate(cells))
    keys = [key for key, _ in _rows(path, _guessed(path).manifest)]
    assert len(set(keys)) == len(keys) == len(cells)


def test_a_products_own_measures_and_model_are_switched_off(table: Callable[..., Path]) -> None:
    """In centimetres, or a maker's: nothing of them reaches the request. Real ones do."""
    shop = table(_items(SKU=["a", "b"], Model=["LT-200", "DC-7"], Width=["24", "12.5"], Height=["13", "9"]))
    assert {name for name, theirs in _guessed(shop).manifest["columns"].items() if theirs is None} == {
        "model",
        "width",
        "height",
    }
    ours = table(_items(SKU=["a", "b"], model=["ltx-2.3", "kling-3.0"], width=["640", "1280"], height=["360", "720"]))
    assert None not in _guessed(ours).manifest["columns"].values()


def test_columns_of_one_name_that_is_ours_are_taken_by_place_or_switched_off(table: Callable[..., Path]) -> None:
    """What was written is read: neither stays undecided."""
    cells = {"SKU": ["a", "b"], "Bild": ["https://x.test/a.jpg"] * 2, "Titel": ["x", "y"]}
    path = table({**cells, "prompt": ["Slow pan", "Zoom in"], "Prompt": ["", ""], "model": ["Pan X", "Y"]})
    path.write_text(path.read_text().replace("Prompt", "prompt").replace("model", "model,model"))
    path.write_text(path.read_text().replace("Pan X", "Pan X,1").replace("Y\n", "Y,2\n"))
    made = _guessed(path)
    assert (made.manifest["columns"]["prompt"], made.manifest["columns"]["model"]) == ("prompt (column 4)", None)


def test_a_description_is_no_prompt_and_a_prompt_is(table: Callable[..., Path]) -> None:
    """Under a name that says nothing, what speaks of the camera is the prompt."""
    text = ["Wheel-thrown and glazed by hand, holds one litre.", "Fig and cedar, burns for forty hours."]
    described = _guessed(table(_items(SKU=["a", "b"], Text=text)))
    assert described.manifest["prompt_template"].startswith("Slow push-in on the {Titel}")
    move = ["Slow orbit around the teapot, steam rising.", "The camera drifts towards the flame."]
    told = _guessed(table(_items(SKU=["a", "b"], Text=move)))
    assert told.manifest["columns"]["prompt"] == "Text"
    assert "prompt_template" not in told.manifest


def test_the_main_image_is_taken_and_close_ones_are_asked_about(table: Callable[..., Path]) -> None:
    """Not a thumbnail, nor a page of the shop."""
    images = {"thumbnail_image": "t", "image_url": "a", "link": "p"}
    columns = {
        name: [f"https://x.test/{what}/{n}{'' if what == 'p' else '.jpg'}" for n in range(2)]
        for name, what in images.items()
    }
    made = _guessed(table({"SKU": ["a", "b"], "Titel": ["x", "y"], **columns}))
    assert made.manifest["columns"]["image_path"] == "image_url"
    close = _guessed(table({"SKU": ["a", "b"], "photo": columns["image_url"], "picture": columns["thumbnail_image"]}))
    assert [question.about for question in close.questions][:1] == ["image"]


def test_a_title_above_the_names_is_said_to_be_in_the_way(table: Callable[..., Path]) -> None:
    """As in workbooks whose first line is one merged cell: stating a column would not help there."""
    above = table({"Spring 2027": ["SKU", "A"]})
    padded = above.with_name("padded.csv")
    padded.write_text("Spring 2027;;\nSKU;Foto;Titel\na;https://x.test/1.jpg;Cup\nb;https://x.test/2.jpg;Pot\n")
    for path in (above, padded):
        with pytest.raises(ManifestError, match='If "Spring 2027" is a title, take away') as caught:
            _guessed(path)
        assert "--image" not in str(caught.value)
    padded.write_text(",Foto\n0,https://x.test/1.jpg\n1,https://x.test/2.jpg\n")
    assert _guessed(padded).manifest["columns"]["image_path"] == "Foto"


def test_addresses_with_blanks_between_them_are_several(table: Callable[..., Path]) -> None:
    """As Squarespace exports them; a file's name may have blanks."""
    address = "https://x.test/{}.jpg"
    several = [f"{address.format(1)} {address.format(2)}", address.format(3)]
    made = _guessed(table({"SKU": ["a", "b"], "Title": ["Cup", "Pot"], "Images": several}))
    assert made.manifest["split"] == {"image_path": " "}
    made = _guessed(table({"SKU": ["a", "b"], "Title": ["Cup", "Pot"], "Images": ["my cup.jpg", "my pot 2.jpg"]}))
    assert "split" not in made.manifest


@pytest.mark.parametrize("name", ["Länge (s)", "Clip length [s]", "Länge in Sek.", "Longueur/s", "Tiempo (seg)"])
def test_a_unit_of_seconds_says_what_a_length_is(name: str, table: Callable[..., Path]) -> None:
    """One in another unit, or in none, may be the product's."""
    assert _guessed(table(_items(**{name: ["5", "8"]}))).manifest["columns"]["end_seconds"] == name
    for other in (re.sub(r"\W*(s|seg|Sek)\W*$", unit, name) for unit in ("", " (cm)")):
        assert "end_seconds" not in _guessed(table(_items(**{other: ["5", "8"]}))).manifest["columns"]


def test_no_images_are_an_error_that_says_what_to_state(table: Callable[..., Path]) -> None:
    """It names the columns that there are."""
    path = table({"SKU": ["a"], "Titel": ["x"]})
    with pytest.raises(ManifestError, match=r'no column looks like images. It has: "SKU", "Titel"[\s\S]*--image'):
        _guessed(path)
    with pytest.raises(ManifestError, match='there is no column "Bidl"'):
        _guessed(path, image="Bidl")


def test_images_are_looked_for_near_the_file(table: Callable[..., Path], tmp_path: Path) -> None:
    """In folders that catalogues keep them in; where they are not, it is asked and never made up."""
    path = table({"SKU": ["a", "b"], "Bild": ["a.jpg", "b.jpg"], "Titel": ["x", "y"]})
    lost = _guessed(path)
    assert "image_prefix" not in lost.manifest
    assert ("image_prefix", "") in [(question.about, question.taken) for question in lost.questions]
    (tmp_path / "bilder").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "bilder" / name).touch()
    assert _guessed(path).manifest["image_prefix"] == "bilder"
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).touch()
    assert "image_prefix" not in _guessed(path).manifest


@pytest.mark.parametrize("folder", ["Produktaufnahmen 2026", "shop/hero shots"])
def test_images_are_found_in_folders_of_any_name(folder: str, table: Callable[..., Path], tmp_path: Path) -> None:
    """Beside the file and one level below, whatever they are called; not in hidden ones."""
    path = table({"SKU": ["a", "b"], "Bild": ["a.jpg", "b.jpg"], "Titel": ["x", "y"]})
    for where in (".thumbnails", folder):
        (tmp_path / where).mkdir(parents=True)
        for name in ("a.jpg", "b.jpg"):
            (tmp_path / where / name).touch()
    assert _guessed(path).manifest["image_prefix"] == folder


@pytest.mark.parametrize(
    ("content", "reading"),
    [
        ("SKU;Bild;Titel\na;https://x.test/a.jpg;Teekanne, grün\n".encode("cp1252"), {"encoding": "cp1252"}),
        (b'SKU\tBild\tTitel\na\thttps://x.test/a.jpg\t"Mug" 4\nb\thttps://x.test/b.jpg\t24"\n', {"quoting": "none"}),
        (b'SKU,Bild,Titel\na,https://x.test/a.jpg,"24\\" wide"\n', {"escape": "backslash"}),
        (b"SKU|Bild|Titel\na|https://x.test/a.jpg|Mug\n", {}),
    ],
)
def test_how_a_file_is_written_is_found_out(content: bytes, reading: Mapping[str, str], tmp_path: Path) -> None:
    """Encoding, quotation marks and escapes: where another way damages fewer rows, it is stated."""
    path = tmp_path / "x.csv"
    path.write_bytes(content)
    made = _guessed(path)
    assert {name: made.manifest[name] for name in reading} == reading
    assert not {"encoding", "quoting", "escape", "multiline"} & (made.manifest.keys() - reading.keys())
    assert made.preview.problem_count == 0


def _in_encoding(path: Path, encoding: str, title: str) -> Path:
    path.write_bytes(f"SKU;Bild;Titel\na;https://x.test/a.jpg;{title}\n".encode(encoding))
    return path


@pytest.mark.parametrize(
    ("encoding", "title"), [("cp1252", "Teekanne, grün"), ("cp1251", "Чайник"), ("gb18030", "绿色茶壶")]
)
def test_an_encoding_that_is_not_known_is_asked_about(encoding: str, title: str, tmp_path: Path) -> None:
    """With what a text looks like in each that it can be; one that is stated holds, and is not asked about."""
    path = _in_encoding(tmp_path / "x.csv", encoding, title)
    (question,) = (each for each in _guessed(path).questions if each.about == "encoding")
    assert question.taken == "cp1252"
    assert f'"{title}" in {encoding}' in question.text
    made = guess(look_at(str(path), encoding), Stated(encoding=encoding))
    assert (made.manifest["encoding"], made.table.cells["Titel"]) == (encoding, [title])
    assert "encoding" not in {each.about for each in made.questions}


def test_what_the_usual_encodings_can_t_be_is_refused_with_what_it_may_be(tmp_path: Path) -> None:
    """Shift-JIS, of which bytes mean nothing in cp1252."""
    with pytest.raises(ManifestError, match=r'緑の急須" in cp932.*init: --encoding'):
        _guessed(_in_encoding(tmp_path / "x.csv", "cp932", "緑の急須"))


@given(st.text(min_size=1, max_size=12), st.text(max_size=12))
@settings(deadline=None, max_examples=60)
def test_the_file_means_what_was_guessed(name: str, value: str) -> None:
    """Whatever columns are called: the YAML reads back as the settings; no name or reason writes a line of it."""
    stated = {
        "columns": {"image_path": name},
        "where": {name: [value, True]},
        "row_key": [name, value],
        "image_prefix": value,
    }
    made = replace(
        _of_the_catalogue(), manifest=stated, reasons={"where": f"{name}\n{value}", "columns.image_path": value}
    )
    assert yaml.safe_load(config_text(made, f"{name}.csv"))["manifest"] == stated


@pytest.mark.parametrize("stated", [{}, {"defaults": {"end_seconds": 5}}, {"defaults": {}, "split": ";"}])
def test_hints_in_the_file_are_settings_once_their_mark_is_taken_away(stated: dict[str, Any]) -> None:
    """They stand where they belong: a second `defaults` would be refused."""
    text = config_text(replace(_of_the_catalogue(), manifest=stated, reasons={}), "x.csv")
    assert text.count("defaults:") == 1
    hinted = yaml.safe_load(re.sub(r"^( *)# (?=(defaults|model|resolution):)", r"\1", text, flags=re.MULTILINE))
    known = {**stated.get("defaults", {}), "model": "ltx-2.5", "resolution": "720p"}
    assert hinted["manifest"] == {**stated, "defaults": known}


def test_marks_around_cells_are_never_taken_for_text(tmp_path: Path) -> None:
    """One stray mark in a file of quoted cells leaves one damaged row, and no prompts with marks around them."""
    path = tmp_path / "x.csv"
    path.write_bytes(b'SKU,Bild,Titel\na,https://x.test/a.jpg,"Mug"\nb,https://x.test/b.jpg,"Pot" 4\n')
    made = _guessed(path)
    assert "quoting" not in made.manifest
    assert made.preview.problem_count == 1


def test_a_column_that_is_surely_ours_is_not_switched_off(table: Callable[..., Path]) -> None:
    """What is wrong in `end_seconds` or `image_path` is a problem to be shown, not another meaning."""
    path = table(
        {"row_key": ["a", "b"], "image_path": ["?", "x"], "prompt": ["Pan", "Tilt"], "end_seconds": ["5 s", "7"]}
    )
    made = _guessed(path)
    assert "columns" not in made.manifest
    assert made.preview.problem_count == 1


def test_every_kind_of_shop_that_is_known_has_its_page() -> None:
    """The file that init writes points to it."""
    assert {shop.page for shop in SHOPS} == {page.stem for page in (DATA.parent / "docs" / "shops").glob("*.md")}


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("g:image_link", "image link"),
        ("imageUrl", "image url"),
        ("Art.-Nr.", "art nr"),
        ("GRÖSSE", "grosse"),
        ("\ufeffID", "id"),
    ],
)
def test_names_are_compared_without_accents_and_signs(name: str, plain: str) -> None:
    """As the table of names has them."""
    assert plain_name(name) == plain


@pytest.mark.parametrize(
    ("stem", "thing"),
    [("brass-lamp_02", "brass lamp"), ("teapot", "teapot"), ("007 mug", "mug"), ("抹茶茶碗", "抹茶茶碗")]
    + [(numbered, "") for numbered in ("IMG_0042", "DSC00017", "20240501_120000", "PXL_2024", "7")],
)
def test_what_a_photos_name_says(stem: str, thing: str) -> None:
    """A camera's own numbering is nothing that could be shown."""
    assert thing_in(stem) == thing


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    """While questions are answered someone else may have written it: it stays, and nothing else is left."""
    path = tmp_path / "reelbatch.yaml"
    path.write_text("theirs", encoding="utf-8")
    with pytest.raises(SettingsError, match="exists already"):
        write(path, b"ours", force=False)
    assert [(each.name, each.read_text(encoding="utf-8")) for each in tmp_path.iterdir()] == [
        ("reelbatch.yaml", "theirs")
    ]
    write(path, b"ours", force=True)
    assert path.read_bytes() == b"ours"
