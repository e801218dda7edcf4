"""Which config file counts, where its relative paths start, and which variables are none of ours."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reelbatch.errors import SettingsError
from reelbatch.pipeline.resources import describe_config
from reelbatch.settings import load_settings
from reelbatch.settings.config_file import ConfigFile
from reelbatch.settings.table_urls import sandbox_data, sandbox_table


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home folder with a project in it, and nothing else around."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    below = tmp_path / "home" / "project" / "below"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)


def _write(folder: Path, content: str) -> Path:
    path = folder / "reelbatch.yaml"
    path.write_text(content)
    return path


def test_the_nearest_file_counts(tmp_path: Path) -> None:
    """One in the home folder is the last that is looked at; one above it is another user's affair."""
    home = tmp_path / "home"
    _write(tmp_path, "concurrency: 1\n")
    assert load_settings().concurrency == 16
    _write(home, "concurrency: 2\n")
    assert load_settings().concurrency == 2
    _write(home / "project", "concurrency: 3\n")
    assert load_settings().concurrency == 3


def test_without_a_home_above_the_root_is_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container, where the project lies beside the home folder."""
    monkeypatch.setenv("HOME", str(tmp_path / "elsewhere"))
    _write(tmp_path, "concurrency: 1\n")
    assert load_settings().concurrency == 1


def test_a_named_file_takes_the_place_of_a_found_one(tmp_path: Path) -> None:
    """They are not mixed: what counts stands in one file."""
    _write(tmp_path / "home" / "project", "concurrency: 3\nretry_attempts: 3\n")
    named = tmp_path / "named.yaml"
    named.write_text("concurrency: 4\n")
    settings = load_settings(named)
    assert (settings.concurrency, settings.retry_attempts) == (4, 5)


@pytest.mark.skipif(not hasattr(os, "chown") or os.getuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_is_not_used(tmp_path: Path) -> None:
    """Anyone can put one into a shared folder; it is named, so that no one wonders."""
    project = tmp_path / "home" / "project"
    foreign = _write(project / "below", "concurrency: 1\n")
    os.chown(foreign, 4711, -1)
    _write(project, "concurrency: 3\n")
    told: list[ConfigFile] = []
    assert load_settings(told=told.append).concurrency == 3
    assert [file.foreign for file in told] == [(foreign,)]


def test_a_link_to_a_file_of_ones_own_counts(tmp_path: Path) -> None:
    """As a ConfigMap is mounted; its paths start where the link is."""
    (tmp_path / "real.yaml").write_text("downloads: videos\n")
    project = tmp_path / "home" / "project"
    (project / "reelbatch.yaml").symlink_to(tmp_path / "real.yaml")
    assert load_settings().downloads == str(project / "videos")


@pytest.mark.parametrize("found", [True, False], ids=["found", "named"])
def test_relative_paths_start_at_the_files_folder(tmp_path: Path, *, found: bool) -> None:
    """Wherever one stands; whole paths and URLs are left alone."""
    project = tmp_path / "home" / "project"
    path = _write(
        project,
        "results: sqlite:///../t/r.db?timeout=3\nexport: out/x.csv\ndownloads: s3://shop/videos\nmodels: /m.yaml\n"
        "sandbox: {data: trial, port: 0}\n",
    )
    settings = load_settings(None if found else path)
    assert settings.results == f"sqlite:///{tmp_path}/home/t/r.db?timeout=3"
    assert settings.export == str(project / "out" / "x.csv")
    assert (settings.downloads, str(settings.models)) == ("s3://shop/videos", "/m.yaml")
    assert settings.sandbox == {"data": str(project / "trial"), "port": 0}


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ("sqlite:////abs/r.db", "sqlite:////abs/r.db"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("sqlite:///file:r.db?uri=true", "sqlite:///file:{folder}/r.db?uri=true"),
        ("postgresql://me@db/reel", "postgresql://me@db/reel"),
        ("nonsense", "nonsense"),
    ],
)
def test_only_relative_files_are_moved(stated: str, expected: str, tmp_path: Path) -> None:
    """Any other URL of a results table stays as it was written."""
    project = tmp_path / "home" / "project"
    _write(project, f"results: '{stated}'\n")
    assert load_settings().results == expected.format(folder=project)


def test_a_found_file_without_a_table_has_the_default_beside_it(tmp_path: Path) -> None:
    """A project has one table, also for those who stand in one of its subfolders."""
    project = tmp_path / "home" / "project"
    assert load_settings().results == "sqlite:///results/reelbatch.db"
    _write(project, "concurrency: 3\n")
    settings = load_settings()
    assert settings.results == f"sqlite:///{project}/results/reelbatch.db"
    assert "results" not in settings.model_fields_set
    assert load_settings(sandbox=True).results == f"sqlite:///{project}/results/sandbox/reelbatch.db"


def test_what_is_said_of_a_found_file_holds_no_secret(tmp_path: Path) -> None:
    """Not even where an option takes the place of what it states, so that nothing else checks that."""
    path = _write(
        tmp_path / "home" / "project",
        "base_url: https://me:marked-4711@api.example.com\nresults: postgresql://me:marked-4711@db/reel\n",
    )
    told: list[ConfigFile] = []
    load_settings(options={"base_url": "https://api.magichour.ai", "results": "sqlite:///r.db"}, told=told.append)
    (said,) = map(describe_config, told)
    assert said.startswith(f"Settings from {path} (base_url: https://api.example.com, results: postgresql")
    assert "marked-4711" not in said


@pytest.mark.parametrize(
    ("stated", "overruled"),
    [("https://api.magichour.ai", False), ("http://localhost:8765", False), ("https://api.example.com", True)],
)
def test_addresses_that_a_found_file_may_state(
    stated: str, *, overruled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The vendor's, this machine's, and any that an option or the environment takes the place of."""
    _write(tmp_path / "home" / "project", f"base_url: {stated}\n")
    if not overruled:
        assert load_settings().base_url == stated
        return
    with pytest.raises(SettingsError, match="--config"):
        load_settings()
    assert load_settings(options={"base_url": "https://proxy.example"}).base_url == "https://proxy.example"
    monkeypatch.setenv("REELBATCH_BASE_URL", "https://proxy.example")
    assert load_settings().base_url == "https://proxy.example"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("REELBATCH_MAX_CREDIT", "did you mean REELBATCH_MAX_CREDITS?"),
        ("reelbatch_concurency", "did you mean REELBATCH_CONCURRENCY?"),
        ("REELBATCH_MANIFEST__COLUMNS", "there is no such setting"),
        ("REELBATCH_FROBNICATE", "correct its name, or unset it"),
    ],
)
def test_a_variable_that_is_no_setting_is_an_error(name: str, meant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Together with whatever else is wrong; what it holds is not repeated."""
    monkeypatch.setenv(name, "marked-4711")
    with pytest.raises(SettingsError, match="concurrency") as error:
        load_settings(options={"concurrency": 0})
    assert meant in str(error.value)
    assert "marked-4711" not in str(error.value)


@pytest.mark.parametrize(
    "name",
    [
        "REELBATCH_SERVICE_HOST",
        "REELBATCH_SERVICE_PORT_HTTP",
        "REELBATCH_PORT",
        "REELBATCH_WEBHOOK_PORT_8787_TCP_ADDR",
        "REELBATCH_MAX_CREDITS",
        "REELBATCH_WEBHOOK_SECRET",
    ],
)
def test_what_a_cluster_sets_is_no_mistake(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is a setting."""
    monkeypatch.setenv(name, "1")
    load_settings()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:///results/reelbatch.db", "sqlite:///results/sandbox/reelbatch.db"),
        ("sqlite:////t/r.db?timeout=3", "sqlite:////t/sandbox/reelbatch.db"),
        ("sqlite:///file:/t%20x/r.db?uri=true", "sqlite:////t x/sandbox/reelbatch.db"),
        ("sqlite:///:memory:", "sqlite:///results/sandbox/reelbatch.db"),
        ("postgresql://db/reel", "sqlite:///results/sandbox/reelbatch.db"),
    ],
)
def test_the_sandboxs_table_lies_beside_the_real_one(url: str, expected: str) -> None:
    """In a folder of its own, or beside the default."""
    assert sandbox_table(url) == expected


def test_there_is_no_sandbox_in_the_sandbox() -> None:
    """Books, uploads and videos lie beside the sandbox's own table, and in `sandbox/` beside any other."""
    assert sandbox_data(Path("/t/sandbox/reelbatch.db")) == Path("/t/sandbox")
    assert sandbox_data(Path("/t/r.db")) == Path("/t/sandbox")


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="there are no such modes")
@pytest.mark.parametrize(("mode", "used"), [(0o602, False), (0o666, False), (0o620, False), (0o644, True)])
def test_a_file_that_others_may_write_is_not_used(tmp_path: Path, mode: int, *, used: bool) -> None:
    """Anyone who can write it would say where the key goes; it is named, with the remedy, and the next one counts."""
    project = tmp_path / "home" / "project"
    shared = _write(project / "below", "concurrency: 1\nbase_url: https://api.magichour.ai\n")
    if mode & 0o020:
        os.chown(shared, -1, _foreign_group())
    shared.chmod(mode)
    _write(project, "concurrency: 3\n").chmod(0o600)
    told: list[ConfigFile] = []
    assert load_settings(told=told.append).concurrency == (1 if used else 3)
    assert [file.shared for file in told] == [() if used else (shared,)]
    said = describe_config(told[0])
    assert ("chmod go-w" in said) is not used


def _foreign_group() -> int:
    """One that is not the user's own."""
    if os.getuid() == 0:
        return 4711
    others = [group for group in os.getgroups() if group != os.getgid()]
    if not others:
        pytest.skip("this user is in no further group")
    return others[0]


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="there are no such modes")
def test_a_group_of_ones_own_may_write_a_file(tmp_path: Path) -> None:
    """As Linux makes one for each user, whose files it may write by default."""
    import grp

    if grp.getgrgid(os.getgid()).gr_name != os.environ.get("USER", "root"):
        pytest.skip("this user has no group of their own")
    path = _write(tmp_path / "home" / "project", "concurrency: 3\n")
    path.chmod(0o664)
    assert load_settings().concurrency == 3
