"""YAML that users write: what is a name in it, and what is said where a value is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from reelbatch.errors import SettingsError
from reelbatch.model_table import load_models
from reelbatch.sandbox.config import load_config
from reelbatch.settings import load_settings
from reelbatch.yaml_file import load_yaml

PATH = Path("a.yaml")


def test_a_key_is_the_text_that_was_written() -> None:
    """Also one that YAML takes for true, a number, a date or nothing, however deep it is; values stay as they are."""
    text = b"{on: off, No: {2024: 3, 2026-13-45: [{1.50: ~}]}, null: yes, ~: x}"
    assert load_yaml(PATH, text, what="it") == {
        "on": False,
        "No": {"2024": 3, "2026-13-45": [{"1.50": None}]},
        "null": True,
        "~": "x",
    }


def test_what_has_a_colon_is_no_number() -> None:
    """A ratio, a time or a version of a cell is compared as it stands: YAML would make 969 of `16:9`."""
    text = b"[16:9, 10:30, 1:00.5, -1:30, 5, 1.5, 0x10]"
    assert load_yaml(PATH, text, what="it") == ["16:9", "10:30", "1:00.5", "-1:30", 5, 1.5, 16]


def test_a_merge_key_still_merges() -> None:
    """It is the one key that is no name."""
    assert load_yaml(PATH, b"a: &a {on: 1}\nb: {<<: *a, off: 2}", what="it")["b"] == {"on": 1, "off": 2}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"\n day: 2026-13-45", r"this is no timestamp; if it is text, put it between(?s:.*)line 2, column 7"),
        (b"n: " + b"9" * 5000, "this is no int"),
        (b"max_credits: 010", "this is no int"),
        (b"max_credits: -0_7", "this is no int"),
        (b"n: !!int x", "this is no int"),
        (b"n: !!float ''", "this is no float"),
        (b"n: !!bool x", "this is no bool"),
        (b"n: !!timestamp x", "this is no timestamp"),
        (b"[1, 2]: 3", "unhashable key"),
        (b"n: " + b"[" * 5000, "nested too deeply"),
        (b"n: \xff", "can't decode byte"),
        (b"n: {", "expected the node content"),
        (b"on: 1\nn: 2\non: 3", r'"on" is stated twice; keep one of them\n  in "a\.yaml", line 3, column 1'),
        (b"n: {1: a, '1': b}", '"1" is stated twice'),
    ],
)
def test_what_is_no_value_is_said_with_its_place(text: bytes, why: str) -> None:
    """An impossible date is a slip of the pen, not an error of the program's."""
    with pytest.raises(SettingsError, match=rf"^a\.yaml: it can't be read: (?s:.*){why}"):
        load_yaml(PATH, text, what="it")


@pytest.mark.parametrize(
    "text", [b"a: 1\nn: {", b"n: !!int x", b"n: [1\nb: 2", b"a: \x01", b"n: @", b"a: b: c", b"&a *b"]
)
def test_the_place_is_one_in_the_file(text: bytes) -> None:
    """By its own name, and not by what PyYAML calls a text."""
    with pytest.raises(SettingsError, match=r'in "a\.yaml", (?:line \d+, column|position) \d+') as raised:
        load_yaml(PATH, text, what="it")
    assert "unicode string" not in str(raised.value)


@pytest.mark.parametrize("read", [load_settings, load_config, load_models])
def test_every_reader_of_yaml_says_so(tmp_path: Path, read: Callable[[Path], object]) -> None:
    """The settings', the sandbox's and that of the table of models."""
    path = tmp_path / "c.yaml"
    path.write_text("history: 2026-13-45")
    with pytest.raises(SettingsError, match=r"c\.yaml: (?s:.*) can't be read: this is no timestamp"):
        read(path)
    path.write_text("on: 3")
    with pytest.raises(SettingsError, match=r"c\.yaml"):
        read(path)
