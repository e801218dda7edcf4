"""A server that Prefect's settings name is never passed over, however it is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from reelbatch.orchestration.naming import may_name_a_server

URL = 'PREFECT_API_URL = "http://127.0.0.1:4200/api"'
LOCAL = f'[profiles.ephemeral]\nPREFECT_SERVER_EPHEMERAL_ENABLED = "true"\n[profiles.local]\n{URL}\n'


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The current folder is empty, and so is Prefect's."""
    for name in ("PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        (".env", "PREFECT_API_URL=http://127.0.0.1:4200/api"),
        ("prefect.toml", f"[api]\n{URL}"),
        ("pyproject.toml", "[tool.prefect.api]\nurl = 'http://127.0.0.1:4200/api'"),
        ("pyproject.toml", "[tool]\nprefect = {profiles_path = 'elsewhere.toml'}"),
        ("home/profiles.toml", f'active = "local"\n{LOCAL}'),
        ("home/profiles.toml", "active = "),
    ],
)
def test_a_file_that_may_name_one_is_left_to_prefect(file: str, text: str) -> None:
    """Also one that can't be read: Prefect knows, and says what is wrong."""
    Path(file).write_text(text, encoding="utf-8")
    assert may_name_a_server()


@pytest.mark.parametrize("name", ["PREFECT_API_URL", "prefect_api_url", "PREFECT_PROFILE"])
def test_a_variable_names_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In whatever case it is spelt; a profile that the environment chooses may be one of Prefect's own."""
    monkeypatch.setenv(name, "http://127.0.0.1:4200/api")
    assert may_name_a_server()


def test_a_profiles_file_elsewhere_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where PREFECT_PROFILES_PATH points to."""
    Path("elsewhere.toml").write_text(f'active = "local"\n{LOCAL}', encoding="utf-8")
    monkeypatch.setenv("PREFECT_PROFILES_PATH", "elsewhere.toml")
    assert may_name_a_server()


def test_what_prefect_writes_by_itself_names_none() -> None:
    """No files at all, its own profiles with the ephemeral one active, and other settings in a project."""
    assert not may_name_a_server()
    Path("home/profiles.toml").write_text(f'active = "ephemeral"\n{LOCAL}', encoding="utf-8")
    Path("pyproject.toml").write_text('[project]\ndependencies = ["prefect==3"]', encoding="utf-8")
    assert not may_name_a_server()
