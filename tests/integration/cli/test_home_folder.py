"""`~` where a path may stand: an option, a setting, a config file, a manifest's cell."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import Ran, run_here
from PIL import Image

from reelbatch.home_folder import at_home
from reelbatch.ledger import Ledger
from reelbatch.settings import load_settings

HEADER = "row_key,image_path,prompt,end_seconds\n"


class Homely:
    """A home folder with pictures, and a folder elsewhere in which commands are typed."""

    def __init__(self, folder: Path) -> None:
        self.home, self.here = folder / "home", folder / "here"
        for made in (self.home / "pictures", self.here):
            made.mkdir(parents=True)
        Image.new("RGB", (64, 64)).save(self.home / "pictures" / "a.jpg")

    def run(self, *arguments: str, **env: str) -> Ran:
        """A command of this user's."""
        return run_here(self.here, *arguments, HOME=str(self.home), **env)


@pytest.fixture
def homely(tmp_path: Path) -> Homely:
    return Homely(tmp_path)


def test_the_images_of_a_manifest_at_home(homely: Homely) -> None:
    """Those that its cells or the prefix begin with ~; a file that is called so beside the manifest comes first."""
    Image.new("RGB", (64, 64)).save(homely.here / "~x.jpg")
    (homely.here / "~").mkdir()
    Image.new("RGB", (64, 64)).save(homely.here / "~" / "b.jpg")
    cells = ("~/pictures/a.jpg", "~x.jpg", "~/b.jpg")
    (homely.here / "m.csv").write_text(HEADER + "".join(f"k{n},{cell},Pan,2\n" for n, cell in enumerate(cells)))
    ran = homely.run("plan", "m.csv", "--json")
    assert (ran.code, json.loads(ran.out)["problem_count"]) == (0, 0), ran.out
    (homely.here / "p.csv").write_text(f"{HEADER}k,a.jpg,Pan,2\n")
    (homely.here / "p.yaml").write_text("manifest: {image_prefix: ~/pictures}")
    assert homely.run("plan", "p.csv", "--config", "p.yaml").code == 0


def test_a_manifest_at_home_has_its_images_beside_it(homely: Homely) -> None:
    """Its folder is where it is, not where its name would be without a home."""
    (homely.home / "pictures" / "m.csv").write_text(f"{HEADER}k,a.jpg,Pan,2\n")
    assert homely.run("plan", "~/pictures/m.csv").code == 0
    assert homely.run("init", "~/pictures/m.csv", "--yes").code in {0, 1}


def test_what_a_config_file_names_at_home(homely: Homely, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its tables, exports and folders are there, and not in a folder called ~ beside it."""
    monkeypatch.setenv("HOME", str(homely.home))
    config = homely.here / "c.yaml"
    config.write_text(
        "results: ~/t/r.db\nexport: ~/e.csv\ndownloads: ~/v\nhistory: ~/h.jsonl\nmodels: ~/m.yaml\n"
        "sandbox: {data: ~/s}\n"
    )
    settings = load_settings(config)
    home = homely.home
    assert settings.results == f"sqlite:///{home}/t/r.db"
    assert (settings.export, settings.downloads) == (f"{home}/e.csv", f"{home}/v")
    assert (settings.history, settings.models, settings.sandbox) == (
        home / "h.jsonl",
        home / "m.yaml",
        {"data": f"{home}/s"},
    )
    monkeypatch.setenv("REELBATCH_DOWNLOADS", "~/other")
    for stated in ("~/o.db", "sqlite:///~/o.db", "sqlite:///file:~/o.db?uri=true"):
        found = load_settings(config, {"results": stated})
        assert f"{home}/o.db" in found.results
        assert "~" not in found.results
    assert found.downloads == f"{home}/other"


def test_a_table_in_a_folder_called_like_that_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written there is not paid for once more in another table."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "~").mkdir()
    (tmp_path / "~" / "r.db").touch()
    assert load_settings(options={"results": "~/r.db"}).results == "sqlite:///~/r.db"


def test_files_that_commands_write_and_read_at_home(homely: Homely) -> None:
    """As bash leaves them in `--csv=~/x.csv`."""
    with Ledger(f"sqlite:///{homely.home}/x.db"):
        pass
    (homely.home / "c.yaml").write_text("results: x.db")
    (homely.home / "keys.txt").write_text("k")
    for arguments in (
        ("export", "~/out/x.parquet"),
        ("spend", "--csv=~/spend.csv"),
        ("reconcile", "--csv=~/doubts.csv"),
    ):
        ran = homely.run(*arguments, "--config=~/c.yaml")
        assert ran.code == 0, ran.err
    assert homely.run("rerun", "--rows-from=~/keys.txt", "--config=~/c.yaml").code == 2  # there is no batch
    assert list(homely.here.iterdir()) == []
    assert (homely.home / "out" / "x.parquet").exists()
    assert (homely.home / "spend.csv").exists()


@pytest.mark.parametrize("path", ["~no-such-user/x", "~x.jpg", "~\0/x", "a/~/b", "s3://~/b", ""])
def test_what_names_no_home_stays(path: str) -> None:
    """A file may be called so."""
    assert at_home(path) == path
