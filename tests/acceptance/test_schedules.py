"""A schedule starts a run by itself: a real Prefect server, a real worker, and nobody who starts anything."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from deployments import POOL, ROOT, Server, free_url
from waiting import until

from reelbatch.sandbox import RunningSandbox, start

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun

KEY = "sandbox-key-of-a-schedule"
ROWS = 3
EVERY_S = 10.0
PATIENCE_S = 150.0  # a worker and a run have to start meanwhile, each a process that imports Prefect


@pytest.fixture(scope="module")
def running() -> Iterator[RunningSandbox]:
    """An API that charges."""
    with start(key=KEY, render_video=False) as sandbox:
        yield sandbox


@pytest.fixture
def server(tmp_path: Path, prefect: Any) -> Iterator[Server]:
    """A server with the work pool `reelbatch`; nothing is deployed yet."""
    prefect.home(tmp_path / "home")
    server = Server(free_url(), tmp_path)
    with server.running():
        yield server


def own_project(folder: Path, base_url: str) -> Path:
    """`prefect.yaml` with a user's own manifest, table and schedule, production's config, and no `sandbox`."""
    manifest = folder / "spring.csv"
    lines = ["row_key,image_path,prompt,end_seconds,model,resolution"]
    lines += [f"row-{n},https://images.example.com/{n}.png,Pan,2,ltx-2.3,480p" for n in range(ROWS)]
    manifest.write_text("\n".join(lines) + "\n", encoding="utf-8")
    project = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))
    project["deployments"] = [one for one in project["deployments"] if one["name"] == "generate"]
    (generate,) = project["deployments"]
    generate["parameters"] = {
        "manifest": str(manifest),
        "config": "configs/production.yaml",
        "base_url": base_url,
        "results": f"sqlite:///{folder}/results/reelbatch.db",
    }
    generate["schedules"] = [{"interval": EVERY_S, "active": True, "slug": "often"}]
    stated = folder / "prefect.yaml"
    stated.write_text(yaml.safe_dump(project), encoding="utf-8")
    return stated


def ids(folder: Path) -> set[str]:
    """The videos' ids in the results table; none before there is one."""
    table = folder / "results" / "reelbatch.db"
    if not table.exists():
        return set()
    with closing(sqlite3.connect(f"file:{table}?mode=ro", uri=True, timeout=30)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'results'").fetchone():
            return set()  # it is just being made
        return {found for (found,) in connection.execute("SELECT video_id FROM results WHERE video_id IS NOT NULL")}


async def completed(client: PrefectClient) -> list[FlowRun]:
    """Runs that ended well."""
    return [run for run in await client.read_flow_runs() if run.state and run.state.is_completed()]


@pytest.mark.slow
async def test_a_schedule_sends_the_rows_by_itself(server: Server, sandbox: RunningSandbox, tmp_path: Path) -> None:
    """Deployed, a worker started, no run started by hand: each row has its id, and is charged once."""
    stated = own_project(tmp_path, sandbox.url)
    server.prefect("--no-prompt", "deploy", "--all", "--prefect-file", str(stated))
    with server.background("worker", "worker", "start", *POOL, "--limit", "1", MAGIC_HOUR_API_KEY=KEY):
        async with server.client() as client:
            await until(lambda: len(ids(tmp_path)) == ROWS, "every row has its id", PATIENCE_S)
            await until(lambda: completed(client), "the run has ended well")
            runs = await client.read_flow_runs()
    charges = sandbox.books()["charges"]
    assert {run.created_by.type for run in runs if run.created_by} == {"SCHEDULE"}
    assert all(run.auto_scheduled for run in runs)
    assert ids(tmp_path) == {charge["video_id"] for charge in charges}
    assert len(charges) == ROWS
    assert "Traceback" not in server.log("worker").read_text()
