"""The sandbox's settings: where they come from and how a wrong one is told."""

from pathlib import Path

import pytest
import yaml

from reelbatch.errors import SettingsError
from reelbatch.sandbox.config import SandboxConfig, build_config, load_config
from reelbatch.sandbox.faults import FaultKind

SAMPLE = Path(__file__).parents[3] / "configs" / "sandbox.yaml"


def test_the_sample_config_is_valid_and_names_every_kind() -> None:
    """The sample makes a demo without faults, and a reader finds every kind of fault in it."""
    config, text = load_config(SAMPLE), SAMPLE.read_text(encoding="utf-8")
    assert config.faults == SandboxConfig().faults
    assert [kind for kind in FaultKind if kind not in text and not kind.startswith("cloudflare")] == []


def test_the_faults_in_the_samples_comments_are_valid() -> None:
    """The commented examples can be used as they stand."""
    lines = SAMPLE.read_text(encoding="utf-8").splitlines()
    first = lines.index("  # faults:")
    example = "\n".join(line.replace("  # ", "  ", 1) for line in lines[first:])
    settings = build_config(yaml.safe_load(example)).faults
    assert settings.match[0].times == 1
    assert settings.share[FaultKind.LOST_AFTER] == pytest.approx(0.01)


def test_settings_come_from_the_section_then_from_options(tmp_path: Path) -> None:
    """The `sandbox:` section counts, other sections don't, and an option goes over it."""
    file = tmp_path / "config.yaml"
    file.write_text("concurrency: 3\nsandbox: {balance: 7, key: abc}\n", encoding="utf-8")
    config = load_config(file, key="xyz")
    assert (config.balance, config.key) == (7, "xyz")


@pytest.mark.parametrize(("stated", "expected"), [("kept", "{folder}/kept"), ("/t/kept", "/t/kept")])
def test_data_starts_at_the_files_folder(stated: str, expected: str, tmp_path: Path) -> None:
    """As every relative path in a config file; a whole one stays."""
    file = tmp_path / "config.yaml"
    file.write_text(f"sandbox: {{data: {stated}}}\n", encoding="utf-8")
    assert str(load_config(file).data) == expected.format(folder=tmp_path)


def test_a_file_without_a_section_is_all_sandbox(tmp_path: Path) -> None:
    """A file of the sandbox alone needs no section."""
    file = tmp_path / "config.yaml"
    file.write_text("balance: 7\n", encoding="utf-8")
    assert load_config(file).balance == 7


@pytest.mark.parametrize("text", ["", "sandbox:\n", "sandbox: {}\n"])
def test_an_empty_file_is_the_defaults(tmp_path: Path, text: str) -> None:
    """Nothing stated is the defaults."""
    file = tmp_path / "config.yaml"
    file.write_text(text, encoding="utf-8")
    assert load_config(file) == SandboxConfig()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("sandbox: {ballance: 7}", "ballance: there is no such setting"),
        ("sandbox: {faults: {shares: {}}}", "faults.shares: there is no such setting"),
        ("sandbox: {balance: -1}", "balance: "),
        ("sandbox: {host: 0.0.0.0}", "host: only a loopback address"),
        ("sandbox: {host: example.com}", "host: only a loopback address"),
        ("sandbox: {model_profile: none}", "model_profile: no such profile"),
        ("sandbox: {plan: gold}", "plan: "),
        ("sandbox: [1]", "must be a mapping"),
        ("sandbox: {", "can't be read"),
    ],
)
def test_a_wrong_setting_is_named_with_its_file(tmp_path: Path, text: str, named: str) -> None:
    """The message says which file and which setting."""
    file = tmp_path / "config.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as error:
        load_config(file)
    assert named in str(error.value)
    assert str(file) in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A config file that is not there is an error, not the defaults."""
    with pytest.raises(SettingsError, match="nowhere"):
        load_config(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_loopback_addresses_are_allowed(host: str) -> None:
    """Every name of this machine alone does."""
    assert SandboxConfig(host=host).host == host
