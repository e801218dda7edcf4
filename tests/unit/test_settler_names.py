"""File names from row keys: whatever a manifest calls its rows, its videos stay in their folder."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelbatch.domain import Batch, RowKey
from reelbatch.settle.file_names import NAME_BYTES, marked_name, part_name, plain_name

SPRING, AUTUMN = Batch("spring"), Batch("autumn")
NASTY = [
    "../../x", "..", ".", "...", "a/b", "a\\b", "C:\\temp", "CON", "con", "Lpt1", "nul.png", "CON.x", "COM¹.x",
    "", " ", "\u3000", "-rf", "a:b", "a*b?", '"q"', "<x>", "|", "é", "e\u0301", "\u202egpj.exe", "\ud800",
    "\x00", "a\x00b", "line\nbreak", "trailing.", "trailing ", " leading", ".hidden",
    "茶" * 300, "x" * 300, "🫖", "👩‍👩‍👧", "https://cdn.example.com/a.png?w=1",
]  # fmt: skip
_WINDOWS = re.compile(r"(con|prn|aux|nul|com[\d¹]|lpt\d)(\.|$)", re.IGNORECASE)


@pytest.mark.parametrize("key", ["TEA-001", "TEA-001.v2", "x" * 300, "茶" * 300, "", "a\n2"])
def test_a_video_that_was_made_anew_has_a_name_of_its_own(key: str) -> None:
    """Safe, with its generation in it, and no other row's or generation's."""
    names = [marked_name(SPRING, RowKey(key), generation) for generation in (1, 2, 3, 12)]
    assert len({*names, marked_name(AUTUMN, RowKey(key), 2), marked_name(SPRING, RowKey(f"{key}\n2"))}) == 6
    for name, generation in zip(names[1:], (2, 3, 12), strict=True):
        assert_safe(name)
        assert f".v{generation}-" in name
        assert plain_name(RowKey(name.removesuffix(".mp4"))) is None


def assert_safe(name: str) -> None:
    """Good on Linux, macOS, Windows and object storage."""
    assert Path(name).name == name
    assert not re.search(r'[\x00-\x1f\x7f<>:"/\\|?*]', name)
    assert len(name.encode()) <= NAME_BYTES
    assert not name.startswith((".", " ", "-"))
    assert name.endswith(".mp4")
    assert name.removesuffix(".mp4").rstrip(". ") == name.removesuffix(".mp4")
    assert not _WINDOWS.match(name)


@pytest.mark.parametrize("key", ["TEA-001", "tea_1", "42", "Oak chair 3", "a.b.c", "SHOE-20240115", "x" * 116])
def test_simple_keys_are_their_own_names(key: str) -> None:
    """Who looks into the folder finds the rows under their keys."""
    assert plain_name(RowKey(key)) == f"{key}.mp4"
    assert_safe(f"{key}.mp4")


@pytest.mark.parametrize("key", NASTY, ids=ascii)
def test_a_key_that_is_no_file_name_is_changed_and_marked(key: str) -> None:
    """Nothing in a key leads out of the folder or trips a file system."""
    assert plain_name(RowKey(key)) is None
    name = marked_name(SPRING, RowKey(key))
    assert_safe(name)
    assert re.search(r"-[0-9a-f]{8}([0-9a-f]{8})?\.mp4$", name)


def test_a_changed_name_is_still_readable() -> None:
    """What can be kept of a key is kept."""
    assert marked_name(SPRING, RowKey("chairs/茶 oak")).startswith("chairs_茶_oak-")


def test_long_keys_with_the_same_beginning_stay_apart() -> None:
    """A key that is cut at a whole character carries a longer mark."""
    one, two = (marked_name(SPRING, RowKey("茶" * 300 + end)) for end in "ab")
    assert one != two
    assert re.fullmatch(r"茶+-[0-9a-f]{16}\.mp4", one)


def test_two_batches_do_not_share_a_marked_name() -> None:
    """The mark is over batch and key."""
    assert marked_name(SPRING, RowKey("a/b")) != marked_name(AUTUMN, RowKey("a/b"))


@given(st.text())
def test_every_key_has_a_safe_name(key: str) -> None:
    """No text at all makes an unsafe name."""
    assert_safe(plain_name(RowKey(key)) or "x.mp4")
    assert_safe(marked_name(SPRING, RowKey(key)))


@given(st.text(), st.text())
def test_no_key_is_named_like_another_one_marked(key: str, other: str) -> None:
    """A row whose key looks like a marked name does not take that row's file."""
    taken = marked_name(SPRING, RowKey(other))
    if any(letter in "abcdef" for letter in taken.removesuffix(".mp4")[-8:]):  # all digits: a date, kept readable
        assert plain_name(RowKey(taken.removesuffix(".mp4"))) is None
    assert plain_name(RowKey(key)) != taken or key == taken.removesuffix(".mp4")


def test_parts_are_hidden_and_belong_to_one_video() -> None:
    """What is half done is never taken for a video, nor for the next video of its row."""
    one, two = (part_name(SPRING, RowKey("a/b"), video_id) for video_id in ("v1", "v2"))
    assert one != two
    assert one.startswith(".")
    assert "/" not in one
