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
    assert awaited - sent == set()


def test_a_living_run_is_not_called_dead() -> None:
    """Every deployment states heartbeats of which two may be lost in the time that the automation waits.

    Prefect's default of 180 s had runs Crashed that were at work.
    """
    project = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))
    (dead,) = yaml.safe_load((FOLDER / "dead-runs.yaml").read_text(encoding="utf-8"))["automations"]
    pools = [deployment["work_pool"] for deployment in project["deployments"]]
    beats = [pool["job_variables"]["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] for pool in pools]
    assert [3 * int(seconds) <= dead["trigger"]["within"] for seconds in beats] == [True] * len(pools)


def test_the_live_api_is_set_in_one_place() -> None:
    """What `prefect.yaml` says of the sandbox, each once, before the first deployment."""
    project = (ROOT / "prefect.yaml").read_text(encoding="utf-8")
    block = project[: project.index("\n  job_variables: &")]
    stated = [line.strip() for line in project.splitlines() if not line.strip().startswith("#")]
    for setting in ("config: configs/sandbox.yaml", "sandbox: true", "manifest: &manifest data/catalogue.csv"):
        assert (stated.count(setting), setting in block) == (1, True)
    deployments = yaml.safe_load(project)["deployments"]
    assert {deployment["parameters"]["config"] for deployment in deployments} == {"configs/sandbox.yaml"}


SAID = {"batch": "spring", "in_doubt": 1, "submitted": 11, "credits_charged": 1692, "credits_worst_case": 1692}


@pytest.mark.parametrize(
    ("event", "more", "said"),
    [
        (
            "reelbatch.cap.reached",
            {"exit_reason": "cap", "message": "the cap"},
            "cap reached in spring|Why it ended: cap, the cap.",
        ),
        (
            "reelbatch.rows.in-doubt",
            {"exit_reason": "done", "message": ""},
            "rows in doubt in spring: 1|Why it ended: done.",
        ),
        ("reelbatch.cap.near", {"exit_reason": "", "message": ""}, "cap near in spring|The run goes on."),
    ],
)
def test_messages_read_well(event: str, more: dict[str, str], said: str) -> None:
    """As Prefect renders them: no empty places, no event's technical name."""
    from jinja2.sandbox import SandboxedEnvironment

    automations = yaml.safe_load((FOLDER / "messages.yaml").read_text(encoding="utf-8"))["automations"]
    (action,) = next(each["actions"] for each in automations if event in each["trigger"]["expect"])
    facts = {"event": {"event": event, "payload": {**SAID, **more}}}
    subject, body = (SandboxedEnvironment().from_string(action[part]).render(facts) for part in ("subject", "body"))
    assert f"{subject}|{body.splitlines()[0]}" == f"Reelbatch: {said}"
