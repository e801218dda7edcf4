"""Options over environment over config file over defaults."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reelbatch.domain import IMAGE_SCHEMES
from reelbatch.errors import SettingsError
from reelbatch.settings import Settings, load_settings
from reelbatch.settings.settings import ManifestSettings


@pytest.fixture(autouse=True)
def _no_settings_around(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MAGIC_HOUR_API_KEY", raising=False)


def test_the_order_of_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each source gives way to the one before it."""
    config = tmp_path / "c.yaml"
    config.write_text("concurrency: 1\nretry_attempts: 1\nretry_wait_s: 1\n")
    monkeypatch.setenv("REELBATCH_RETRY_ATTEMPTS", "2")
    monkeypatch.setenv("REELBATCH_RETRY_WAIT_S", "2")
    settings = load_settings(config, {"retry_wait_s": 3, "max_credits": None})
    assert (settings.concurrency, settings.retry_attempts, settings.retry_wait_s) == (1, 2, 3)
    assert settings.max_credits is None
    assert settings.poll_interval_s == 5


def test_the_key_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not when settings are printed, nor when one of them is wrong."""
    monkeypatch.setenv("MAGIC_HOUR_API_KEY", "mhk_live_marked")
    assert "mhk_live_marked" not in repr(load_settings())
    with pytest.raises(SettingsError) as error:
        load_settings(options={"concurrency": 0})
    assert "mhk_live_marked" not in str(error.value)


@pytest.mark.parametrize(
    "url",
    [
        *("http://api.example.com", "http://10.0.0.1", "ftp://x", "api.magichour.ai", ""),
        *("http://localhost:99999", "http://127.0.0.1:0", "https://api.example.com:https"),
        *("https://api example.com", "https://api.example.com/#v1", "https://a.example\\.b", "https://a.exam\nple"),
        "https://api.example.com\u200b",
    ],
)
def test_the_key_goes_only_where_it_is_safe(url: str) -> None:
    """Https anywhere, plain http only on this machine, and a port as it is stated, not what is left of 99999."""
    with pytest.raises(SettingsError, match="base_url"):
        load_settings(options={"base_url": url})


@pytest.mark.parametrize(
    "url",
    [
        "https://me:marked-4711@api.example.com",
        "http://me:marked-4711@127.0.0.1:8080",
        "https://me:mar/ked-4711@api.example.com",
        "https://api.example.com?token=marked-4711",
    ],
)
def test_an_address_with_a_password_is_refused(url: str) -> None:
    """Addresses are printed, logged and kept as parameters; the message does not say what the password is."""
    with pytest.raises(SettingsError, match="base_url: holds a user, a password") as error:
        load_settings(options={"base_url": url})
    assert "ked-4711" not in str(error.value)


@pytest.mark.parametrize(
    "url", ["https://api.example.com", "http://127.0.0.1:8080", "http://localhost:1", "http://[::1]:1"]
)
def test_safe_addresses_are_taken(url: str) -> None:
    """Https, and http on loopback; blanks around one, as a variable that was read from a file has them, go."""
    assert load_settings(options={"base_url": url + "/"}).base_url == url
    assert load_settings(options={"base_url": f" {url}/\n"}).base_url == url


def test_everything_wrong_is_listed_at_once(tmp_path: Path) -> None:
    """With the names of the settings, and where they came from."""
    config = tmp_path / "c.yaml"
    config.write_text("concurency: 3\nretry_attempts: 0\n")
    with pytest.raises(SettingsError) as error:
        load_settings(config)
    assert "concurency: there is no such setting" in str(error.value)
    assert "retry_attempts" in str(error.value)
    assert str(config) in str(error.value)


def test_a_subscription_is_a_tier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its former name is an error that says what to write."""
    config = tmp_path / "c.yaml"
    config.write_text("plan: pro\n")
    with pytest.raises(SettingsError, match="plan: is called tier; write tier: pro"):
        load_settings(config)
    config.write_text("tier: pro\n")
    assert load_settings(config).tier == "pro"
    monkeypatch.setenv("REELBATCH_PLAN", "pro")
    with pytest.raises(SettingsError, match="REELBATCH_PLAN: the setting is called tier; set REELBATCH_TIER"):
        load_settings()


def test_a_key_in_a_config_file_is_refused(tmp_path: Path) -> None:
    """Files get committed; the message says where the key belongs, and not what it is."""
    config = tmp_path / "c.yaml"
    config.write_text("api_key: mhk_live_marked\n")
    with pytest.raises(SettingsError, match="MAGIC_HOUR_API_KEY") as error:
        load_settings(config)
    assert "mhk_live_marked" not in str(error.value)


@pytest.mark.parametrize("content", ["[1, 2]", "a: [", "just text"])
def test_a_config_file_that_is_none_says_so(tmp_path: Path, content: str) -> None:
    """No traceback for a slip of the keyboard."""
    config = tmp_path / "c.yaml"
    config.write_text(content)
    with pytest.raises(SettingsError, match=r"c\.yaml"):
        load_settings(config)


@pytest.mark.parametrize("section", ["manifest", "sandbox"])
def test_a_section_of_comments_alone_states_nothing(tmp_path: Path, section: str) -> None:
    """As `reelbatch init` leaves one, and the one who comments out the last line of it."""
    (tmp_path / "c.yaml").write_text(f"{section}:\n  # columns: {{}}\nconcurrency: 3\n", encoding="utf-8")
    assert load_settings(tmp_path / "c.yaml").concurrency == 3


def test_a_missing_config_file_is_named() -> None:
    """By its path."""
    with pytest.raises(SettingsError, match=r"nowhere\.yaml: no such config file"):
        load_settings("nowhere.yaml")


@pytest.mark.parametrize("name", ["sandbox", "production"])
def test_the_files_in_configs_can_be_used(name: str) -> None:
    """What the README tells people to type."""
    folder = Path(__file__).parents[2] / "configs"
    assert load_settings(folder / f"{name}.yaml").concurrency == 16


def _documented() -> dict[str, str]:
    """The settings of docs/settings.md, and the default that it states for each."""
    text = (Path(__file__).parents[2] / "docs" / "settings.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| `")]
    return {row[1].strip(" `"): row[3].strip(" `") for row in rows}


IN_WORDS = {"render_window": "the tier's", "models": "configs/models.yaml"}
IN_WORDS |= {"export": "<batch>.parquet` beside the table", "manifest": "", "sandbox": ""}
IN_WORDS |= {"image_schemes": "` `".join(IMAGE_SCHEMES)}
"""Defaults that are no single value."""


def test_every_setting_is_documented_with_its_default() -> None:
    """Neither one too few nor one that is gone; the key and the webhook's secret stand in the text."""
    secrets = {"api_key", "webhook_secret"}
    defaults = {name: field.default for name, field in Settings.model_fields.items() if name not in secrets}
    shown = {name: "none" if default is None else str(default) for name, default in defaults.items()}
    assert _documented() == shown | IN_WORDS


def test_every_setting_of_the_manifest_is_documented() -> None:
    """In the table of docs/manifest.md."""
    text = (Path(__file__).parents[2] / "docs" / "manifest.md").read_text(encoding="utf-8")
    table = text.split("All settings of `manifest`:")[1].split("\n\n")[1]
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == set(ManifestSettings.model_fields)


def test_a_single_column_needs_no_list(tmp_path: Path) -> None:
    """`row_key: SKU` is the same as `row_key: [SKU]`."""
    config = tmp_path / "c.yaml"
    config.write_text("manifest: {row_key: SKU, fill_down: [Title], columns: {prompt: null}}", encoding="utf-8")
    stated = load_settings(config).manifest
    assert (stated.row_key, stated.fill_down, stated.columns) == (("SKU",), ("Title",), {"prompt": None})


@pytest.mark.parametrize("stated", ["s3, GS ,sftp://,", "s3,gs,sftp"])
def test_image_schemes_are_listed_in_the_environment(monkeypatch: pytest.MonkeyPatch, stated: str) -> None:
    """Between commas, in any case; the file's list gives way to it."""
    monkeypatch.setenv("REELBATCH_IMAGE_SCHEMES", stated)
    assert load_settings().image_schemes == ("s3", "gs", "sftp")


def test_image_schemes_are_a_list_in_a_file(tmp_path: Path) -> None:
    """As long or as short as it is stated; the defaults hold where nothing is."""
    assert load_settings().image_schemes == ("s3", "gs", "gcs", "abfs", "abfss", "az", "file")
    config = tmp_path / "c.yaml"
    for text, schemes in (("[s3, memory]", ("s3", "memory")), ("[]", ()), ("s3", ("s3",))):
        config.write_text(f"image_schemes: {text}\n")
        assert load_settings(config).image_schemes == schemes


@pytest.mark.parametrize("stated", ["simplecache::s3", "s3://shop", "*", "1", '["s3"]'])
def test_what_is_no_scheme_is_refused(monkeypatch: pytest.MonkeyPatch, stated: str) -> None:
    """A chain or a bucket in the list would allow nothing, so it is said."""
    monkeypatch.setenv("REELBATCH_IMAGE_SCHEMES", stated)
    with pytest.raises(SettingsError, match=r"image_schemes: .* is no scheme; list names such as s3"):
        load_settings()


@pytest.mark.parametrize("name", ["manifest", "sandbox", "subscription", "budget"])
@pytest.mark.parametrize("stated", ['{"a"', "{", '{"a":' * 50_000])
def test_a_variable_that_is_no_json_is_named(name: str, stated: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Together with all that is wrong besides."""
    monkeypatch.setenv(f"REELBATCH_{name.upper()}", stated)
    with pytest.raises(SettingsError, match=rf"(?s)concurrency: .*  {name}: .*JSON|  {name}: .*JSON.*concurrency: "):
        load_settings(options={"concurrency": 0})


def test_a_mapping_in_the_environment_is_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As docs/settings.md has it; what it leaves out is the config file's."""
    (tmp_path / "c.yaml").write_text("manifest: {row_key: [no], fill_down: [Title]}")
    monkeypatch.setenv("REELBATCH_MANIFEST", '{"row_key": ["sku"]}')
    monkeypatch.setenv("REELBATCH_SUBSCRIPTION", '{"price": 19, "credits": 12000}')
    settings = load_settings(tmp_path / "c.yaml")
    assert (settings.manifest.row_key, settings.manifest.fill_down) == (("sku",), ("Title",))
    assert settings.subscription is not None
    assert settings.subscription.credits == 12_000


FLOATS = [name for name, field in Settings.model_fields.items() if "float" in str(field.annotation)]


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize(("stated", "in_yaml"), [("inf", ".inf"), ("nan", ".nan"), ("1e400", "1.0e+400")])
def test_a_number_is_finite(
    name: str, stated: str, in_yaml: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a config file as in the environment: JSON has no word for another one."""
    config = tmp_path / "c.yaml"
    config.write_text(f"{name}: {in_yaml}")
    with pytest.raises(SettingsError, match=rf"{name}: .*finite"):
        load_settings(config)
    monkeypatch.setenv(f"REELBATCH_{name.upper()}", stated)
    with pytest.raises(SettingsError, match=rf"{name}: .*finite"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "stated"),
    [
        ("max_credits", 10**16),
        ("rate", 10**8),
        ("budget", f"{10**16}/day"),
        ("budget", "9" * 5000 + "/day"),
        ("subscription", {"price": float("inf"), "credits": 3}),
        *((name, 1e10) for name in FLOATS if name.endswith("_s")),
    ],
)
def test_a_number_is_one_that_can_be_reckoned_with(name: str, stated: object) -> None:
    """A column of the table holds it, and so does a date."""
    with pytest.raises(SettingsError, match=name):
        load_settings(options={name: stated})


@pytest.mark.parametrize("stated", ["max_credits: no", "render_window: off", "rate: yes", "retry_attempts: true"])
def test_yes_and_no_are_no_numbers(tmp_path: Path, stated: str) -> None:
    """A cap of `no` is not one of 0, under which nothing would be sent."""
    (tmp_path / "c.yaml").write_text(stated, encoding="utf-8")
    with pytest.raises(SettingsError, match="is stated as yes or no; state its value, or null for none"):
        load_settings(tmp_path / "c.yaml")


def test_a_name_that_is_no_utf_8_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python keeps bytes of the environment that are none, and no address can hold them."""
    monkeypatch.setenv("REELBATCH_RESULTS", "caf\udce9.db")
    with pytest.raises(SettingsError, match="results: is no UTF-8"):
        load_settings()
