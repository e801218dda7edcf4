"""`reelbatch init`: what it writes, asks and leaves alone, and what the next commands make of it."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import Ran, run_here

from reelbatch.manifest import Checks, ManifestOptions, open_manifest
from reelbatch.model_table import load_models
from reelbatch.settings.settings import ManifestSettings

ROOT = Path(__file__).parents[3]
SAMPLES = {
    "shopify": ("shopify.csv", ()),
    "woocommerce": ("woocommerce.csv", ()),
    "magento": ("magento.csv", ("--image-prefix", "https://shop.example.com/media/catalog/product")),
    "opencart": ("opencart.csv", ()),
    "google-merchant": ("google-merchant.tsv", ()),
    "prestashop": ("prestashop.csv", ()),
}
"""And what no file says: where a shop of Magento has its images."""
CATALOGUE = "SKU;Foto;Titel\nA1;https://x.test/a.jpg;Lagoon teapot\nA2;https://x.test/b.jpg;Dune mug\n"

Init = Callable[..., Ran]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder with the samples, and nothing above it."""
    shutil.copytree(ROOT / "data", tmp_path / "data")
    return tmp_path


@pytest.fixture
def init(tmp_path: Path) -> Init:
    """Run it in the test's folder, whose parents are no one's home."""
    return lambda *arguments, **more: run_here(tmp_path, "init", *arguments, HOME=str(tmp_path), **more)


class _Terminal(io.StringIO):
    """Someone who types these lines."""

    def isatty(self) -> bool:
        return True


def _settings(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((folder / "reelbatch.yaml").read_text(encoding="utf-8"))
    return found


def _asked_for(sample: Path, manifest: dict[str, Any]) -> list[tuple[str, str]]:
    """The keys and images of the rows that count."""
    settings = ManifestSettings(**{**manifest, "variants": {}})
    source = open_manifest(
        str(sample), ManifestOptions(**settings.model_dump()), Checks(models=load_models(), images=False)
    )
    return [(row.row_key, row.request.image_path) for checked in source.batches() for row in checked.rows]


@pytest.mark.parametrize("name", SAMPLES)
def test_each_shops_export_is_read_as_its_page_says(name: str, shop: Path, init: Init) -> None:
    """Without a terminal: same rows, keys and images as with the page's settings, and a plan without problems."""
    sample, more = SAMPLES[name]
    assert init(f"data/shops/{sample}", *more).code == 0
    page = (ROOT / "docs" / "shops" / f"{name}.md").read_text(encoding="utf-8")
    block = re.search(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert block
    asked = _asked_for(shop / "data" / "shops" / sample, _settings(shop)["manifest"])
    assert asked == _asked_for(shop / "data" / "shops" / sample, yaml.safe_load(block[1])["manifest"])
    planned = run_here(shop, "plan", f"data/shops/{sample}", "--json", HOME=str(shop))
    plan = json.loads(planned.out)
    assert (planned.code, plan["problem_count"], plan["send"]) == (0, 0, len(asked))
    assert f"docs/shops/{name}.md" in (shop / "reelbatch.yaml").read_text(encoding="utf-8")


def test_what_no_file_says_is_left_open_and_said(shop: Path, init: Init) -> None:
    """Exit code 1, the line in the file that is to be filled in, and no address that was made up."""
    ran = init("data/shops/magento.csv")
    assert ran.code == 1
    assert 'Where are the images, such as "/t/e/teapot.jpg"?' in ran.out
    assert "→ reelbatch init data/shops/magento.csv --force --image-prefix …" in ran.out
    assert "image_prefix" not in _settings(shop)["manifest"]
    assert "# image_prefix: https://shop.example/media" in (shop / "reelbatch.yaml").read_text(encoding="utf-8")


def test_each_column_has_a_line_and_the_first_requests_are_shown(tmp_path: Path, init: Init) -> None:
    """What it is taken for and why, what was taken without being sure, and three bodies as they are sent."""
    (tmp_path / "spring.csv").write_text(CATALOGUE, encoding="utf-8")
    ran = init("spring.csv")
    lines = [line.split() for line in ran.out.splitlines()]
    assert [line[:1] for line in lines if line[:1] in (["SKU"], ["Foto"], ["Titel"])] == [
        ["SKU"],
        ["Foto"],
        ["Titel"],
    ]
    assert "2 columns" not in ran.out
    assert "semicolon-separated" in ran.out
    assert "Taken without being sure:" in ran.out
    body = '{"assets": {"image_file_path": "https://x.test/a.jpg"}, "style": {"prompt": "Slow push-in on the Lagoon'
    assert body in ran.out
    assert "→ reelbatch plan spring.csv" in ran.out


def test_no_key_is_nothing_to_fill_in(tmp_path: Path, init: Init) -> None:
    """Rows are told apart by what they ask for then, and the command ends with 0."""
    (tmp_path / "spring.csv").write_text("Foto;Titel\nhttps://x.test/a.jpg;Pot\nhttps://x.test/b.jpg;Pot\n")
    ran = init("spring.csv")
    assert ran.code == 0
    assert "Several are joined: Handle, Position: nothing; rows are told apart by what they ask for" in ran.out
    assert "filled in" not in ran.out


def test_the_next_commands_find_it_from_below(tmp_path: Path, init: Init) -> None:
    """Without being told."""
    (tmp_path / "spring.csv").write_text(CATALOGUE, encoding="utf-8")
    (tmp_path / "below").mkdir()
    init("spring.csv")
    planned = run_here(tmp_path / "below", "plan", "../spring.csv", "--json", HOME=str(tmp_path))
    assert (planned.code, json.loads(planned.out)["send"]) == (0, 2)


def test_one_json_object_is_all_of_the_output(tmp_path: Path, init: Init) -> None:
    """With what was taken, what is not sure and what was written."""
    (tmp_path / "spring.csv").write_text(CATALOGUE, encoding="utf-8")
    ran = init("--json", stdin=_Terminal("never asked\n"))
    told = json.loads(ran.out)
    assert [column["becomes"] for column in told["columns"]] == ["row_key", "image_path", "name, prompt template"]
    assert told["settings"] == _settings(tmp_path)
    assert [question["about"] for question in told["unsure"]] == ["prompt", "seconds"]
    assert told["requests"][0]["body"]["name"] == "Lagoon teapot <token>"
    assert (told["rows"], told["config"]) == (2, str(tmp_path / "reelbatch.yaml"))


def test_a_file_that_is_there_is_replaced_only_when_asked(tmp_path: Path, init: Init) -> None:
    """Exit code 2 before anything is asked; `--force` replaces it whole, and keeps its mode. Nothing else is left."""
    (tmp_path / "spring.csv").write_text(CATALOGUE, encoding="utf-8")
    config = tmp_path / "reelbatch.yaml"
    config.write_text("tier: pro\n", encoding="utf-8")
    config.chmod(0o640)
    refused = init("spring.csv", stdin=_Terminal("never asked\n"))
    assert (refused.code, config.read_text(encoding="utf-8")) == (2, "tier: pro\n")
    assert "exists already. Look at it; --force replaces it." in refused.err
    assert init("spring.csv", "--force").code == 0
    assert "tier" not in _settings(tmp_path)
    assert stat.S_IMODE(config.stat().st_mode) == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["reelbatch.yaml", "spring.csv"]


def test_a_broken_file_above_is_no_obstacle_and_one_that_hides_is_said(tmp_path: Path, init: Init) -> None:
    """Only the nearest file is read: the new one hides that above."""
    (tmp_path / "reelbatch.yaml").write_text("tier: pro\n", encoding="utf-8")
    below = tmp_path / "below"
    below.mkdir()
    (below / "spring.csv").write_text(CATALOGUE, encoding="utf-8")
    ran = run_here(below, "init", "spring.csv", HOME=str(tmp_path))
    assert ran.code == 0
    assert "is not read in this folder any more" in ran.err
    (tmp_path / "reelbatch.yaml").write_text("[", encoding="utf-8")
    assert run_here(below, "init", "spring.csv", "--force", HOME=str(tmp_path)).code == 0


def test_at_a_terminal_answers_count(tmp_path: Path, init: Init) -> None:
    """An answer that can't be used is asked for again; Enter takes the guess."""
    (tmp_path / "spring.csv").write_text(CATALOGUE, encoding="utf-8")
    ran = init("spring.csv", stdin=_Terminal("Pan over {Titl}\nPan over {Titel}\nsoon\n0\n-5\nnan\n7\n"))
    assert ran.code == 0
    manifest = _settings(tmp_path)["manifest"]
    assert (manifest["prompt_template"], manifest["defaults"]) == ("Pan over {Titel}", {"end_seconds": 7.0})
    assert "Did you mean {Titel}" in ran.err
    for answer in ("soon", "0", "-5", "nan"):
        assert f'"{answer}": a video has 1 to 60 seconds. Write a number, such as 5.' in ran.err
    assert "Taken without being sure" not in ran.out


def test_enter_takes_a_guess_that_is_shown_in_other_letters(tmp_path: Path, init: Init) -> None:
    """A control character in a name is spelt out at a terminal; Enter means the name, and not what is shown."""
    text = CATALOGUE.replace("Titel", "Titel\x1fDE")
    (tmp_path / "spring.csv").write_text(text, encoding="utf-8")
    ran = init("spring.csv", stdin=_Terminal("\n\n"))
    assert ran.code == 0
    assert "{Titel\x1fDE}" in _settings(tmp_path)["manifest"]["prompt_template"]


def test_the_encoding_is_asked_first_and_everything_is_guessed_anew(tmp_path: Path, init: Init) -> None:
    """What columns are called depends on it. Without a terminal the guess is said, with how to name another one."""
    (tmp_path / "spring.csv").write_bytes(
        "SKU;Изображение;Название\nA1;https://x.test/a.jpg;Чайник\n".encode("cp1251")
    )
    ran = init("spring.csv", "--yes")
    assert '"Изображение" in cp1251' in ran.out
    assert "reelbatch init spring.csv --force --encoding NAME" in ran.out
    ran = init("spring.csv", "--force", stdin=_Terminal("klingon\ncp1251\n\n\n\n"))
    assert 'encoding "klingon" is not known' in ran.err
    manifest = _settings(tmp_path)["manifest"]
    assert (manifest["encoding"], manifest["columns"]["image_path"]) == ("cp1251", "Изображение")


def test_what_is_in_the_folder_is_taken(tmp_path: Path, init: Init) -> None:
    """The only catalogue; of several none is chosen, and with none the folder's photos are looked for."""
    assert "has no images" in init().err
    (tmp_path / "spring.csv").write_text(CATALOGUE, encoding="utf-8")
    assert json.loads(init("--json").out)["source"] == "spring.csv"
    (tmp_path / "summer.csv").write_text(CATALOGUE, encoding="utf-8")
    several = init("--force")
    assert (several.code, several.err) == (
        2,
        "Error: There are several catalogues here: spring.csv, summer.csv. Say which: reelbatch init spring.csv\n",
    )
    assert init("autumn.csv", "--force").code == 2


def test_a_folder_of_photos_becomes_a_manifest(shop: Path, init: Init) -> None:
    """All images in it and below, by their content; keys by path, with the ending where two would share one."""
    photos = shop / "photos"
    (photos / "lamps").mkdir(parents=True)
    (photos / ".thumbnails").mkdir()
    images = shop / "data" / "images"
    for source, target in {
        "teapot.jpg": "lagoon-teapot_01.jpg",
        "candle.png": "lagoon-teapot_01.png",
        "brass table lamp.jpg": "lamps/IMG_0042.JPG",
        "planter.jpg": ".thumbnails/planter.jpg",
        "not-an-image.png": "not-an-image.png",
    }.items():
        shutil.copy(images / source, photos / target)
    (photos / "notes.txt").write_text("x", encoding="utf-8")
    ran = init("photos", "--json")
    told = json.loads(ran.out)
    assert (ran.code, told["rows"], told["manifest"]) == (0, 3, "photos.csv")
    assert told["skipped"].startswith("2 skipped")
    assert (shop / "photos.csv").read_text(encoding="utf-8").splitlines() == [
        "row_key,image_path,prompt",
        'lagoon-teapot_01.jpg,photos/lagoon-teapot_01.jpg,"Slow push-in on the lagoon teapot, soft light"',
        'lagoon-teapot_01.png,photos/lagoon-teapot_01.png,"Slow push-in on the lagoon teapot, soft light"',
        'lamps/IMG_0042,photos/lamps/IMG_0042.JPG,"Slow push-in, soft light"',
    ]
    planned = run_here(shop, "plan", "photos.csv", "--json", HOME=str(shop))
    assert (planned.code, json.loads(planned.out)["send"]) == (0, 3)
    again = init("photos", "--force", "--prompt", "Pan over {name}", "--seconds", "4")
    assert again.code == 0
    assert "lamps/IMG_0042,photos/lamps/IMG_0042.JPG,Pan over IMG_0042" in (shop / "photos.csv").read_text()
    assert _settings(shop)["manifest"]["defaults"]["end_seconds"] == 4


def test_the_length_of_videos_of_photos_is_asked_until_it_is_one(shop: Path, init: Init) -> None:
    """Not 0, which would be taken for no answer, and nothing that no video has; Enter takes the guess."""
    (shop / "photos").mkdir()
    shutil.copy(shop / "data" / "images" / "teapot.jpg", shop / "photos")
    for answers, seconds in (("\n0\n-1\nnan\n4.5\n", 4.5), ("\n\n", 5)):
        ran = init("photos", "--force", stdin=_Terminal(answers))
        assert (ran.code, _settings(shop)["manifest"]["defaults"]["end_seconds"]) == (0, seconds)


def test_copies_among_photos_are_named(shop: Path, init: Init) -> None:
    """Each has a row and would be paid for; no one sees two videos of one photo coming."""
    photos = shop / "photos"
    photos.mkdir()
    for name in ("a.jpg", "b.jpg", "c.png"):
        shutil.copy(shop / "data" / "images" / "teapot.jpg", photos / name)
    shutil.copy(shop / "data" / "images" / "planter.jpg", photos)
    ran = init("photos")
    assert ran.code == 0
    assert "Warning: 2 photos are copies: b.jpg of a.jpg, c.png of a.jpg. Each has a row, and is paid for" in ran.err
    (photos / "b.jpg").unlink()
    (photos / "c.png").unlink()
    assert json.loads(init("photos", "--force", "--json").out)["copies"] == ""


@pytest.mark.skipif(os.name != "posix", reason="there are no such modes")
def test_what_it_writes_is_its_owners_and_no_manifest_is_replaced(shop: Path, init: Init) -> None:
    """A manifest that is there may have been edited: it stays, and no settings are written without it."""
    init("data/images")
    assert {stat.S_IMODE((shop / name).stat().st_mode) for name in ("reelbatch.yaml", "images.csv")} == {0o600}
    (shop / "reelbatch.yaml").unlink()
    (shop / "images.csv").write_text("mine", encoding="utf-8")
    assert init("data/images").code == 2
    assert (shop / "images.csv").read_text(encoding="utf-8") == "mine"
    assert not (shop / "reelbatch.yaml").exists()


def test_images_that_are_not_there_or_are_none_are_said(shop: Path, init: Init) -> None:
    """Each is a problem with row, column and remedy and exit code 1, wherever images are said to be."""
    lines = [
        "SKU;Foto;Titel",
        *(f"A{number};{name};Cup" for number, name in enumerate(("teapot.jpg", "none.jpg", "README.md"))),
    ]
    (shop / "data" / "images" / "README.md").write_text("no image", encoding="utf-8")
    (shop / "spring.csv").write_text("\n".join(lines), encoding="utf-8")
    ran = init("spring.csv", "--image-prefix", "data/images")
    assert ran.code == 1
    assert 'row 2, column "Foto" (value "data/images/none.jpg"): no such file.' in ran.err
    assert 'row 3, column "Foto" (value "data/images/README.md"): no image, or a damaged one' in ran.err
    assert "2 problems" in ran.err
    told = json.loads(init("spring.csv", "--image-prefix", "nowhere", "--force", "--json").out)
    assert (told["problem_count"], told["rows"]) == (3, 3)
    assert init("data/catalogue.csv", "--force").code == 0


@pytest.mark.parametrize(
    ("cells", "becomes", "told"),
    [
        (("Sekunden", "4", "8", "lang"), "end_seconds", 'problem in spring.csv 3, column "Sekunden" (value "lang")'),
        (("Qualität", "720p", "1x", "480p"), "resolution", 'warning in spring.csv 2, column "Qualität" (value "1x")'),
        (("Ton", "yes", "no", "leise"), "audio", 'problem in spring.csv 3, column "Ton" (value "leise")'),
    ],
)
def test_one_odd_cell_takes_no_column_away(
    cells: tuple[str, ...], becomes: str, told: str, tmp_path: Path, init: Init
) -> None:
    """The other cells count, and the odd one is said as a plan says it: file, row, column, remedy."""
    rows = [f"A{n};https://x.test/{n}.jpg;Cup {n};{cell}" for n, cell in enumerate(cells[1:])]
    (tmp_path / "spring.csv").write_text("\n".join([f"SKU;Foto;Titel;{cells[0]}", *rows]), encoding="utf-8")
    ran = init("spring.csv")
    assert _settings(tmp_path)["manifest"]["columns"][becomes] == cells[0]
    assert ran.code == told.startswith("problem")
    what, _, cell = told.partition(" in spring.csv ")
    assert f"1 {what} in spring.csv; `reelbatch plan` lists all. The first:\n  row {cell}" in ran.err


def test_a_catalogue_that_needs_no_settings_is_planned_with_what_was_written(shop: Path, init: Init) -> None:
    """All columns have our names, so the file has only comments."""
    assert init("data/catalogue.csv").code == 0
    planned = run_here(shop, "plan", "data/catalogue.csv", "--json", HOME=str(shop))
    assert (planned.code, json.loads(planned.out)["send"]) == (0, 12)
