"""Several videos of one row: keys, requests, row numbers, and what is said of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from reelbatch.errors import ManifestError
from reelbatch.manifest import Checks, ManifestOptions, open_manifest
from reelbatch.manifest.readers.base import BATCH_ROWS
from reelbatch.pipeline.plan import GenerateOptions
from reelbatch.pipeline.plan import plan as make_plan
from reelbatch.settings import Settings

URL = "https://x.test/a.png"
VARIANTS = {
    "prompt_suffix": {"a": "slow pan", "b": ", quick zoom"},
    "model": {"b": "kling-3.0", "c": "ltx-2.3"},
    "end_seconds": {"c": 8},
}


def _table(rows: int = 2, **columns: Any) -> pd.DataFrame:
    keys = [f"SKU-{row}" for row in range(1, rows + 1)]
    return pd.DataFrame({"sku": keys, "image_path": URL, "prompt": [f"Tea {key}" for key in keys], **columns})


KEY = {"row_key": ["sku"]}


def test_a_row_becomes_its_variants(read: Any) -> None:
    """Each with the key `SKU#a`, its own prompt and settings; what a variant does not state is the row's."""
    rows = read(_table(1, model="wan-2.2"), variants=VARIANTS, **KEY).rows
    assert [(row.row_key, row.request.prompt, row.request.model, row.request.end_seconds) for row in rows] == [
        ("SKU-1#a", "Tea SKU-1 slow pan", "wan-2.2", 5.0),
        ("SKU-1#b", "Tea SKU-1, quick zoom", "kling-3.0", 5.0),
        ("SKU-1#c", "Tea SKU-1", "ltx-2.3", 8.0),
    ]
    assert [row.fingerprint for row in rows] == [row.request.fingerprint() for row in rows]


def test_rows_are_numbered_through(checks: Checks) -> None:
    """A number is one row's, which the results table and its claims count on; the file's rows can be told from it."""
    options = ManifestOptions(variants=VARIANTS, defaults={"end_seconds": 5}, **KEY)
    manifest = open_manifest(_table(BATCH_ROWS), options, checks)
    batches = list(manifest.batches())
    numbers = [row.row_number for batch in batches for row in batch.rows]
    assert numbers == list(range(1, 3 * BATCH_ROWS + 1))
    assert max(len(batch.rows) for batch in batches) <= BATCH_ROWS
    assert manifest.rows_in_file([1, 3, 4, 3 * BATCH_ROWS]) == [1, 1, 2, BATCH_ROWS]


def test_what_is_wrong_with_a_row_is_said_once(read: Any) -> None:
    """With the row of the file; what is wrong with a variant alone is said of it."""
    frame = _table(2, end_seconds=["5", "x"])
    outcome = read(frame, variants={"end_seconds": {"a": 7}, "prompt_suffix": {"b": "x", "c": "y"}}, **KEY)
    assert outcome.whats == [(2, "end_seconds", "not a number")]
    assert [bool(row.problem) for row in outcome.rows] == [False, False, False, False, True, True]


def test_a_row_without_a_key_is_invalid_for_each_variant(read: Any) -> None:
    """And no two rows have one key for it."""
    outcome = read(_table(2, sku=["", ""]), variants=VARIANTS, **KEY)
    assert outcome.whats == [(1, "sku", "missing"), (2, "sku", "missing")]
    assert len({row.row_key for row in outcome.rows}) == 6


def test_a_row_that_can_not_be_read_keeps_its_keys(read: Any, csv_file: Callable[..., Path]) -> None:
    """So that its variants are not gone from the manifest."""
    path = csv_file("sku,image_path,prompt\nA,https://x.test/a.png,x,y,z\nB,https://x.test/a.png,x\n")
    outcome = read(path, variants=VARIANTS, **KEY)
    assert [row.row_key for row in outcome.rows] == [f"{sku}#{name}" for sku in "AB" for name in "abc"]
    assert [row.row_number for row in outcome.rows] == [1, 2, 3, 4, 5, 6]
    assert [number for number, *_ in outcome.whats] == [1]


def test_a_row_that_can_not_be_read_keeps_its_place(read: Any, csv_file: Callable[..., Path]) -> None:
    """Also far down in a batch that becomes several."""
    sound = [f"{number},https://x.test/a.png,x\n" for number in range(BATCH_ROWS - 100)]
    path = csv_file("".join(["sku,image_path,prompt\n", *sound, "A,https://x.test/a.png,x,y,z\n", *sound[:50]]))
    numbers = [row.row_number for row in read(path, variants=VARIANTS, **KEY).rows]
    assert numbers == list(range(1, 3 * (BATCH_ROWS - 49) + 1))


def test_a_missing_prompt_stays_missing(read: Any) -> None:
    """A suffix is no prompt."""
    outcome = read(_table(1, prompt=""), variants={"prompt_suffix": {"a": "slow"}}, **KEY)
    assert outcome.whats == [(1, "prompt", "missing")]


def test_a_key_leaves_room_for_the_variant(read: Any) -> None:
    """What is stored is no longer than any key."""
    outcome = read(_table(1, sku="x" * 498), variants={"prompt_suffix": {"ab": "slow"}}, **KEY)
    assert outcome.whats == [(1, "sku", "498 characters long, more than 497")]
    assert not read(_table(1, sku="x" * 497), variants={"prompt_suffix": {"ab": "slow"}}, **KEY).problems


@pytest.mark.parametrize(
    ("variants", "message"),
    [
        ({"title": {"a": "x"}}, 'variants: "title" can\'t vary'),
        ({"model": {}}, "name 1 to 100 variants"),
        ({"model": {"a b": "x"}}, '"a b" names no variant'),
        ({"model": {"a#b": "x"}}, '"a#b" names no variant'),
        ({"end_seconds": {"a": "five"}}, 'variants: a: end_seconds "five": not a number'),
        ({"prompt_suffix": {"a": "x\0"}}, "prompt_suffix of a: contains a NUL"),
        ({"prompt_suffix": {str(number): "x" for number in range(101)}}, "name 1 to 100 variants"),
    ],
)
def test_variants_that_can_not_be_meant_are_errors(read: Any, variants: Any, message: str) -> None:
    """Before anything is read."""
    with pytest.raises(ManifestError, match=re.escape(message)):
        read(_table(1), variants=variants, **KEY)


def test_variants_need_a_key(read: Any) -> None:
    """By the fingerprint alone no one could tell which video is which."""
    with pytest.raises(ManifestError, match="variants: need a key"):
        read(_table(1), variants=VARIANTS)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A table of its own."""
    return Settings(
        results=f"sqlite:///{tmp_path}/x.db",
        manifest={"row_key": "sku", "defaults": {"end_seconds": 5, "model": "ltx-2.3"}, "variants": VARIANTS},
    )


def test_the_plan_counts_every_variant(settings: Settings) -> None:
    """Each is a row to send, and costs."""
    plan = make_plan(GenerateOptions(source=_table(4)), settings)
    assert (plan.rows, plan.send, [(model.model, model.rows) for model in plan.by_model]) == (
        12,
        12,
        [("kling-3.0", 4), ("ltx-2.3", 8)],
    )


def test_a_key_that_stands_twice_is_named_with_the_files_rows(settings: Settings) -> None:
    """Where someone will look for it."""
    with pytest.raises(ManifestError, match=r'"SKU-1#a" is in rows 1, 3'):
        make_plan(GenerateOptions(source=_table(3, sku=["SKU-1", "SKU-2", "SKU-1"])), settings)


def test_variants_that_ask_for_the_same_are_a_warning(settings: Settings) -> None:
    """Nothing is held for it: both stand in one manifest."""
    same = settings.manifest.model_copy(update={"variants": {"model": {"a": "ltx-2.3", "b": ""}}})
    plan = make_plan(GenerateOptions(source=_table(1)), settings.model_copy(update={"manifest": same}))
    assert (plan.send, plan.held_rows) == (2, 0)
    assert plan.warnings == ["two variants of row 1 ask for the same video; both are sent and paid for"]
