"""Variants of a row are sent, paid for and told apart like rows of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import reelbatch
from reelbatch.pipeline.run_summary import RunReport
from reelbatch.sandbox import RunningSandbox

SAME = {"model": {"a": "ltx-2.3", "b": ""}, "prompt_suffix": {"c": "slowly"}}
"""Two of the three ask for the same video."""


@pytest.fixture
def generate(running: RunningSandbox, tmp_path: Path) -> Callable[..., RunReport]:
    """One product, with the settings that are given."""
    # An image's address is a test's own: the sandbox and its account are shared.
    frame = pd.DataFrame({"SKU": ["TEA"], "image_path": [f"https://x.test/{tmp_path.name}.png"], "prompt": ["Pan"]})

    def run(*, batch: str = "spring", **manifest: Any) -> RunReport:
        defaults = {"end_seconds": 5, "model": "ltx-2.3", "resolution": "480p"}
        return reelbatch.generate(
            frame,
            batch=batch,
            manifest={"row_key": "SKU", "defaults": defaults, **manifest},
            base_url=running.url,
            api_key=running.key,
            results=f"sqlite:///{tmp_path}/results.db",
        )

    return run


def test_variants_of_a_row_never_hold_each_other(generate: Callable[..., RunReport], tmp_path: Path) -> None:
    """Two that ask for the same stand in one manifest: both are paid for, once."""
    first = generate(variants=SAME)
    assert (first.submitted, first.held_rows, first.exit_code) == (3, 0, 0)
    table = reelbatch.results(f"sqlite:///{tmp_path}/results.db", "spring").sort_values("row_number")
    assert list(table.row_key) == ["TEA#a", "TEA#b", "TEA#c"]
    assert table.video_id.nunique() == 3
    assert table.prompt.tolist() == ["Pan", "Pan", "Pan slowly"]
    assert generate(variants=SAME).sent == 0


def test_a_further_variant_is_the_only_one_sent(generate: Callable[..., RunReport]) -> None:
    """The others keep their videos, though every row's number is another one now."""
    generate(variants={"prompt_suffix": {"b": "slowly"}})
    more = generate(variants={"prompt_suffix": {"a": "quickly", "b": "slowly"}})
    assert (more.submitted, more.exit_code) == (1, 0)


def test_a_row_that_was_paid_for_as_a_variant_is_held(generate: Callable[..., RunReport]) -> None:
    """Without variants the same request comes back under another key."""
    generate(variants={"prompt_suffix": {"a": "", "b": "slowly"}})
    back = generate()
    assert (back.sent, back.held_rows, back.exit_code) == (0, 1, 1)
    assert back.held[0].paid.row_key == "TEA#a"
