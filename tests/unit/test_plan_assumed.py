"""Rows without a model are estimated as the model that the API is taken to choose, and the plan says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from reelbatch.cli.app import app

ROWS = {
    "short": (5, None, None),  # kling-3.0, 240 credits
    "small": (5, "480p", "default"),  # seedance-1.5, 150
    "long": (20, "1080p", None),  # ltx-2.3, 1,440
    "too short": (2, None, None),  # kling-3.0 does not make it
    "named": (5, "480p", "ltx-2.3"),  # 120
}
PAID = ["kling-3.0", "ltx-2.3", "seedance-1.5"]


@pytest.fixture
def typed(tmp_path: Path) -> Any:
    """Types `plan` for the rows of these keys; returns what it printed."""

    def run(keys: list[str], config: str, *options: str) -> str:
        columns = ["end_seconds", "resolution", "model"]
        rows = pd.DataFrame([ROWS[key] for key in keys], columns=columns, dtype=object)
        rows.insert(0, "row_key", keys)
        (tmp_path / "c.yaml").write_text(config)
        rows.assign(image_path="https://x.test/a.png", prompt="Pan").to_csv(tmp_path / "m.csv", index=False)
        stated = ["--config", str(tmp_path / "c.yaml"), "--results", f"sqlite:///{tmp_path / 'r.db'}"]
        return CliRunner().invoke(app, ["plan", str(tmp_path / "m.csv"), *stated, *options]).stdout

    return run


@pytest.mark.parametrize("tier", [None, "creator", "pro", "business"])
def test_what_is_assumed_is_marked(typed: Any, tier: str | None) -> None:
    """How much of the estimate, and as which models; what the assumed model does not make is not estimated."""
    config = "concurrency: 1" if tier is None else f"tier: {tier}"
    made = json.loads(typed(list(ROWS), config, "--json"))
    assert (made["credits_estimated"], made["unknown_rate"]) == (1950, 1)
    assert (made["credits_assumed"], made["assumed_models"]) == (1830, PAID)
    assert [(model["model"], model["rows"]) for model in made["by_model"]] == [("default", 4), ("ltx-2.3", 1)]
    shown = typed(list(ROWS), config)
    assert "of it 1,830 assumed: model default is taken to be kling-3.0, ltx-2.3 or seedance-1.5\n" in shown


@pytest.mark.parametrize("tier", ["free", "creator", "pro", "business", None])
def test_480p_without_a_model_is_no_mistake(typed: Any, tier: str | None) -> None:
    """Nor is it warned of, on any tier; on the free one its rate is not known."""
    made = json.loads(typed(["small"], "concurrency: 1" if tier is None else f"tier: {tier}", "--json"))
    assert (made["problems"], made["warnings"]) == ([], [])
    free = tier == "free"
    assert (made["credits_estimated"], made["unknown_rate"]) == ((0, 1) if free else (150, 0))
    assert made["assumed_models"] == ([] if free else ["seedance-1.5"])


@pytest.mark.parametrize(("keys", "config"), [(["named"], "concurrency: 1"), (["small"], "model_profile: legacy")])
def test_what_is_known_is_not_marked(typed: Any, keys: list[str], config: str) -> None:
    """A row that names its model; and the older table, in which models do not count."""
    made = json.loads(typed(keys, config, "--json"))
    assert (made["credits_estimated"], made["credits_assumed"], made["assumed_models"]) == (120, 0, [])
    assert "assumed" not in typed(keys, config)
