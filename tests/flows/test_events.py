"""What a run tells Prefect's event bus, for automations; it never gets in the run's way."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import pandas as pd
import pytest

from reelbatch.orchestration import events
from reelbatch.sandbox import RunningSandbox

URL = "https://images.example.com/chair.png"


def manifest(folder: Path, rows: int = 4) -> str:
    """A file of rows that cost 48 credits each."""
    columns = {"row_key": [f"k{number}" for number in range(rows)], "image_path": URL, "prompt": "Pan"}
    frame = pd.DataFrame({**columns, "end_seconds": 2, "model": "ltx-2.3", "resolution": "480p"})
    frame.to_csv(folder / "rows.csv", index=False)
    return str(folder / "rows.csv")


async def events_about(batch: str, name: str) -> list[Any]:
    """The events about a batch, once the named one has come."""
    from prefect import get_client

    wanted = {"filter": {"resource": {"id": [f"reelbatch.batch.{batch}"]}}, "limit": 50}
    for _ in range(200):
        async with get_client() as client:
            found = (await client._client.post("/events/filter", json=wanted)).json()["events"]
        if name in {event["event"] for event in found}:
            return list(found)
        await asyncio.sleep(0.1)
    pytest.fail(f"no event {name}")


@pytest.fixture
def stated(tmp_path: Path, api: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A flow's parameters."""
    monkeypatch.setenv("MAGIC_HOUR_API_KEY", api.key)
    monkeypatch.chdir(tmp_path)
    results = f"sqlite:///{tmp_path}/r.db"
    return {"manifest": manifest(tmp_path), "results": results, "base_url": api.url, "batch": f"b{uuid4().hex[:8]}"}


async def test_the_end_of_a_run_is_told_with_its_figures(prefect_server: str, stated: dict[str, Any]) -> None:
    """The batch is the resource, the run a related one, beside those that Prefect adds."""
    del prefect_server
    from flows.generate import generate

    await generate(**stated)
    (event,) = await events_about(stated["batch"], "reelbatch.batch.finished")
    figures = event["payload"]
    assert (figures["submitted"], figures["rows"], figures["credits_worst_case"]) == (4, 4, 192)
    related = {resource["prefect.resource.id"].rpartition(".")[0] for resource in event["related"]}
    assert {"reelbatch.run", "prefect.flow-run"} <= related


async def test_a_cap_that_was_reached_halts_the_run_and_is_told(prefect_server: str, stated: dict[str, Any]) -> None:
    """Two events: one for those who watch runs, one for those who watch money."""
    del prefect_server
    from flows.generate import generate

    await generate(**stated, max_credits=100, return_state=True)
    found = await events_about(stated["batch"], "reelbatch.batch.halted")  # which is the last
    assert {event["event"] for event in found} == {"reelbatch.batch.halted", "reelbatch.cap.reached"}
    assert {event["payload"]["exit_reason"] for event in found} == {"cap"}


async def test_a_cap_is_told_while_the_run_goes_on(
    prefect_server: str, stated: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once rows are sent, and not only after hours of waiting for videos; at the end it is not told again."""
    del prefect_server
    from flows import generate as flow

    before_the_end: list[set[str]] = []

    async def looks() -> None:
        found = await events_about(stated["batch"], "reelbatch.cap.near")
        before_the_end.append({event["event"] for event in found})

    monkeypatch.setattr(flow, "settle_videos", looks)
    await flow.generate(**stated, max_credits=240, settle=True)  # 192 of 240 are four fifths
    assert before_the_end == [{"reelbatch.cap.near"}]
    found = await events_about(stated["batch"], "reelbatch.batch.finished")
    assert sorted(event["event"] for event in found) == ["reelbatch.batch.finished", "reelbatch.cap.near"]
    (near,) = (event["payload"] for event in found if event["event"] == "reelbatch.cap.near")
    assert (near["credits_worst_case"], near["exit_reason"], near["submitted"]) == (192, None, 4)


async def test_nothing_is_told_to_a_server_that_ends_with_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the command line without a server, events go nowhere."""
    import prefect.events

    told: list[Any] = []
    monkeypatch.setattr(prefect.events, "emit_event", lambda **event: told.append(event))
    one = [events.BatchEvent("reelbatch.batch.finished", {})]
    token = events.on_temporary_server.set(True)
    events.emit(one, "spring")
    events.on_temporary_server.reset(token)
    assert told == []
    events.emit(one, "spring")
    assert len(told) == 1


AWAY = """
import time
from prefect.settings import PREFECT_API_URL, temporary_settings
from reelbatch.orchestration import events
with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
    begun = time.monotonic()
    for number in range(200):
        events.emit([events.BatchEvent("reelbatch.batch.finished", {"n": number})], "spring", "run")
    print(time.monotonic() - begun < 5, flush=True)
"""


def test_a_server_that_is_away_stops_nothing(prefect_home: Path) -> None:
    """Events are queued and given up; the process ends, and in its own time."""
    del prefect_home
    begun = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", AWAY], capture_output=True, text=True, timeout=100, check=True)
    assert ended.stdout.strip() == "True"
    assert "Traceback" not in ended.stderr
    assert time.monotonic() - begun < 90  # a bound, not a measure: it must end
