"""An environment variable that is there but empty, as a shell or a container hands it on."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import run_here

import reelbatch
from reelbatch.settings import load_settings

MANIFEST = Path(__file__).parents[3] / "data" / "catalogue.csv"


@pytest.mark.parametrize("content", ["", "  "])
def test_an_empty_secret_is_none(content: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key, which may then come from a Secret block, and what webhooks are signed with."""
    monkeypatch.setenv("MAGIC_HOUR_API_KEY", content)
    monkeypatch.setenv("REELBATCH_WEBHOOK_SECRET", content)
    settings = load_settings()
    assert (settings.api_key, settings.webhook_secret) == (None, None)


@pytest.mark.parametrize(
    ("command", "missing"),
    [
        (["reconcile", "--row", "TEA-001", "--video-id", "c1"], "There is no API key"),
        (["webhook"], "There is no webhook secret"),
    ],
    ids=["key", "webhook"],
)
def test_a_command_says_that_the_secret_is_missing(command: list[str], missing: str, tmp_path: Path) -> None:
    """Rather than knock at the API with an empty key, or take events that anyone can sign."""
    results = f"sqlite:///{tmp_path}/r.db"
    reelbatch.generate(MANIFEST, sandbox=True, limit=0, results=results)
    empty = {"MAGIC_HOUR_API_KEY": "", "REELBATCH_WEBHOOK_SECRET": "", "REELBATCH_RESULTS": results}
    run = run_here(tmp_path, *command, **empty)
    assert (run.code, missing in run.err) == (2, True), run.err
