"""The automations that lie ready are such as Prefect takes, and wait for events that there are."""

from __future__ import annotations

import re
from pathlib import Path
from uuid import uuid4

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "configs" / "automations"
EVENTS = ROOT / "reelbatch" / "orchestration" / "events.py"


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.iterdir()))
def test_prefect_takes_them(name: str) -> None:
    """With a block's id in its place, as the how-to puts it there."""
    from prefect.events.schemas.automations import AutomationCore

    text = (FOLDER / name).read_text(encoding="utf-8").replace("BLOCK_ID", str(uuid4()))
    automations = [AutomationCore.model_validate(each) for each in yaml.safe_load(text)["automations"]]
    assert automations
    assert all(each.description for each in automations)


def test_every_event_has_an_automation_or_is_good_news() -> None:
    """And none waits for one that is never sent."""
    sent = set(re.findall(r'"(reelbatch\.[a-z]+\.[a-z-]+)"', EVENTS.read_text(encoding="utf-8")))
    awaited = set(re.findall(r"reelbatch\.[a-z]+\.[a-z-]+", (FOLDER / "messages.yaml").read_text(encoding="utf-8")))
    assert sent - awaited == {"reelbatch.batch.finished"}
    assert awaited - sent - {"reelbatch.budget.near", "reelbatch.budget.reached"} == set()
