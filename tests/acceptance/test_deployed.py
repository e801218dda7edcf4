"""Deployments: a real Prefect server, two process workers, schedules, one results table in Postgres.

All tests here have the same server and workers, which take longer to start than what is done with them.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import psycopg
import pytest
import yaml
from databases import postgres_url
from deployments import POOL, ROOT, Server, free_url, kill
from sqlalchemy import select
from waiting import until
from workplace import HAS_ID

import reelbatch
from reelbatch.ledger import Ledger
from reelbatch.ledger.schema import runs as runs_table
from reelbatch.ledger.urls import parse_url
from reelbatch.sandbox import RunningSandbox, start

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun
    from prefect.client.schemas.responses import DeploymentResponse

KEY = "marked-key-0815-of-the-api"
PASSWORD = "marked-password-4711"  # noqa: S105 - of a database that asks for none
ROWS, AT_ONCE = 160, 4  # a minute for one worker: the other is a process that starts meanwhile
LEASE_S = 4.0
DAY_S = 86400.0
PATIENCE_S = 150.0  # runs have to start meanwhile, each a process that imports Prefect
Deployments = Mapping[str, "DeploymentResponse"]


@dataclass(frozen=True)
class Site(Server):
    """A server, a work pool, and the results table of all who work for it."""

    results: str

    def query(self, question: str, *values: Any) -> list[dict[str, Any]]:
        """Ask the results table, past the program under test; nothing before there is one."""
        url = parse_url(self.results).set(drivername="postgresql", password=None)
        with psycopg.connect(url.render_as_string(), row_factory=psycopg.rows.dict_row) as connection:
            try:
                return connection.execute(question, values).fetchall()
            except psycopg.errors.UndefinedTable:
                return []


@pytest.fixture(scope="module")
def api() -> Iterator[RunningSandbox]:
    """An API that takes so long for each create that one worker alone is not done before the other begins."""
    with start(key=KEY, latency_ms=1500, render_seconds=60.0, render_video=False) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, prefect: Any, api: RunningSandbox) -> Iterator[Site]:
    """`prefect server start`, a process work pool, `prefect deploy --all`, and a user's own deployment besides."""
    folder = tmp_path_factory.mktemp("site")
    prefect.home(folder / "home")
    results = parse_url(postgres_url()).set(password=PASSWORD).render_as_string(hide_password=False)
    site = Site(free_url(), folder, results)
    with site.running():
        site.prefect(
            ["work-pool", "create", "reelbatch", "--type", "process"],
            ["--no-prompt", "deploy", "--all"],
            ["--no-prompt", "deploy", "--all", "--prefect-file", str(own_project(folder, api.url))],
        )
        yield site


def own_project(folder: Path, base_url: str) -> Path:
    """`prefect.yaml` with a user's own manifest, table and schedule, production's config, and no `sandbox`."""
    write_manifest(folder / "own.csv", "own", 3)
    project = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))
    (generate,) = project["deployments"] = [one for one in project["deployments"] if one["name"] == "generate"]
    generate["name"] = "own"
    generate["parameters"] = {
        "manifest": str(folder / "own.csv"),
        "config": "configs/production.yaml",
        "base_url": base_url,
        "results": f"sqlite:///{folder}/results/own.db",
    }
    generate["schedules"] = [{"interval": DAY_S, "active": False, "slug": "daily"}]
    stated = folder / "prefect.yaml"
    stated.write_text(yaml.safe_dump(project), encoding="utf-8")
    return stated


def write_manifest(path: Path, name: str, rows: int) -> None:
    """Rows whose keys begin with `name`, and whose images anyone can see."""
    lines = ["row_key,image_path,prompt,end_seconds,model,resolution"]
    lines += [f"{name}-{n:04},https://images.example.com/{n}.png,Pan {n},2,ltx-2.3,480p" for n in range(rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def deployed(site: Site) -> Deployments:
    """Every deployment by its name, as it was before its schedule was paused, so that only tests start runs."""
    return asyncio.run(_paused(site))


async def _paused(site: Site) -> Deployments:
    async with site.client() as client:
        await keep_secrets(site)
        found = {deployment.name: deployment for deployment in await client.read_deployments()}
        await until_scheduled(client, found["generate"].id, found["settle"].id)
        for deployment in found.values():
            for schedule in deployment.schedules:
                await client.update_deployment_schedule(deployment.id, schedule.id, active=False)
    return found


async def keep_secrets(site: Site) -> None:
    """The key and the results table's URL as Secret blocks, as the documentation says."""
    from prefect.blocks.system import Secret

    for name, value in (("magic-hour-api-key", KEY), ("reelbatch-results", site.results)):
        await Secret(value=value).save(name)


async def until_scheduled(client: PrefectClient, *deployments: Any) -> None:
    """Wait until the server has made runs of each deployment's schedule, to start when their time comes."""

    async def are_scheduled() -> bool:
        return set(deployments) <= {run.deployment_id for run in await client.read_flow_runs()}

    await until(are_scheduled, "each deployment has scheduled runs")


Worker = subprocess.Popen[bytes]


@pytest.fixture(scope="module")
def workers(site: Site, deployed: Deployments) -> Iterator[list[Worker]]:
    """Two machines: one has the key in its environment, as the documentation says, and one only the Secret block."""
    pool = ("worker", "start", *POOL, "--limit", "1")
    with ExitStack() as stack:
        yield [
            stack.enter_context(site.background(f"worker-{n}", *pool, "--name", f"w{n}", **env))
            for n, env in ((1, {"MAGIC_HOUR_API_KEY": KEY}), (2, {}))
        ]


def test_prefect_deploy_registers_all_three(deployed: Deployments) -> None:
    """`prefect deploy --all` as documented: schedules, limits and tags; and a user's own file beside it."""
    limits = {"generate": 2, "settle": 1, "rerun": 1}
    assert set(deployed) == {*limits, "own"}
    assert [str(item.schedule.cron) for item in deployed["generate"].schedules] == ["0 2 * * *"]
    assert [item.schedule.interval.total_seconds() for item in deployed["settle"].schedules] == [600]
    assert {name: deployed[name].global_concurrency_limit.limit for name in limits} == limits
    assert "image-to-video" in deployed["generate"].tags


def charges_of(api: RunningSandbox, name: str) -> list[dict[str, Any]]:
    """What was charged for rows whose keys begin with `name`."""
    return [charge for charge in api.books()["charges"] if charge["row"].startswith(f"{name}-")]


@pytest.mark.slow
@pytest.mark.usefixtures("workers")
async def test_a_schedule_sends_the_rows_by_itself(site: Site, api: RunningSandbox, deployed: Deployments) -> None:
    """Deployed, a worker started, no run started by hand: each row has its id, and is charged once.

    It is a daily one whose time comes now; those that come often would keep the workers from the other tests.
    """
    from prefect.client.schemas.schedules import IntervalSchedule

    own = deployed["own"]

    async def of_the_schedule() -> list[FlowRun]:
        return [run for run in await client.read_flow_runs() if run.deployment_id == own.id]

    async def one_has_completed() -> bool:
        return any(run.state and run.state.is_completed() for run in await of_the_schedule())

    async with site.client() as client:
        (schedule,) = own.schedules
        first = datetime.now(UTC) + timedelta(seconds=20)  # when the server, which looks now and then, has seen it
        soon = IntervalSchedule(interval=timedelta(seconds=DAY_S), anchor_date=first)
        await client.update_deployment_schedule(own.id, schedule.id, active=True, schedule=soon)
        await until(one_has_completed, "the run has ended well", PATIENCE_S)
        runs = await of_the_schedule()
    assert {run.created_by.type for run in runs if run.created_by} == {"SCHEDULE"}
    assert all(run.auto_scheduled for run in runs)
    charged = [charge["video_id"] for charge in charges_of(api, "own")]
    assert sorted(reelbatch.results(f"sqlite:///{site.folder}/results/own.db")["video_id"]) == sorted(charged)
    assert len(charged) == 3
    assert "Traceback" not in site.log("worker-1").read_text() + site.log("worker-2").read_text()


@pytest.mark.slow
@pytest.mark.usefixtures("workers")
async def test_a_run_that_is_cancelled_stops_gently(
    site: Site, api: RunningSandbox, deployed: Deployments, tmp_path: Path
) -> None:
    """Cancelled in the UI: creates in flight are recorded, the rest stays to be sent, nothing is in doubt."""
    from prefect.states import Cancelling

    write_manifest(tmp_path / "long.csv", "long", 300)
    table = f"sqlite:///{tmp_path}/r.db"
    parameters = parameters_for(tmp_path / "long.csv", api) | {"results": table}
    async with site.client() as client:
        run = await client.create_flow_run_from_deployment(deployed["generate"].id, parameters=parameters)
        await until(lambda: len(charges_of(api, "long")) >= 8, "eight creates", PATIENCE_S)
        await client.set_flow_run_state(run.id, Cancelling())
        await until(lambda: _ended(table), "the run has written its last entry", PATIENCE_S)
        final = await _final_state(client, run.id)
    assert final.is_cancelled(), final
    frame = reelbatch.results(table)
    assert set(frame["state"]) == {"queued", "pending"}
    assert set(frame["video_id"].dropna()) == {charge["video_id"] for charge in charges_of(api, "long")}


def parameters_for(manifest: Path, api: RunningSandbox) -> dict[str, Any]:
    """Of a run that sends a manifest's rows, four at once."""
    where = {"base_url": api.url, "config": None, "sandbox": False}
    return {"manifest": str(manifest), "concurrency": AT_ONCE, **where}


def _ended(table: str) -> bool:
    """Whether the run has written its last entry."""
    with Ledger(table) as ledger:
        return ledger.read(lambda connection: connection.scalar(select(runs_table.c.ended_at))) is not None


async def _final_state(client: PrefectClient, run_id: Any) -> Any:
    async def has_ended() -> bool:
        return bool((await client.read_flow_run(run_id)).state.is_final())

    await until(has_ended, "the flow run ends", PATIENCE_S)
    return (await client.read_flow_run(run_id)).state


async def state_of(client: PrefectClient, run: Any) -> str:
    """How a flow run stands, in Prefect's words."""
    return str((await client.read_flow_run(run.id)).state_name)


def sent_by(site: Site) -> Counter[str]:
    """Attempts by run."""
    return Counter(row["run_id"] for row in site.query("SELECT run_id FROM attempts"))


@pytest.mark.long
async def test_two_workers_share_a_batch_and_one_may_be_killed(
    site: Site, api: RunningSandbox, workers: list[Worker], deployed: Deployments, tmp_path: Path
) -> None:
    """Rows are shared and sent once, a third run waits its turn, and what a killed machine left is resumed."""
    write_manifest(tmp_path / "spring.csv", "spring", ROWS)
    more = {"export": str(site.folder / "spring.parquet"), "overrides": {"lease_s": LEASE_S}}
    parameters = parameters_for(tmp_path / "spring.csv", api) | more
    async with site.client() as client:
        runs = [
            await client.create_flow_run_from_deployment(deployed["generate"].id, parameters=parameters)
            for _ in range(3)
        ]
        both = "two runs send rows"
        await until(lambda: len([n for n in sent_by(site).values() if n >= AT_ONCE]) == 2, both, PATIENCE_S)
        names = [await state_of(client, run) for run in runs]
        assert names.count("Running") == 2, names
        assert len(site.query("SELECT run_id FROM loads")) == 1
        # What the results table knows of the first machine's process: it is on another machine.
        (loader,) = site.query("SELECT run_id, pid FROM runs JOIN loads USING (run_id)")
        joiner = next(run_id for run_id in sent_by(site) if run_id != loader["run_id"])
        victim = next(one for one in workers if is_of(one, loader["pid"]))
        change(site, "UPDATE runs SET host = 'another machine' WHERE run_id = %s", loader["run_id"])
        kill(victim)
        held = site.query("SELECT 1 FROM results WHERE run_id = %s AND state = 'sending'", loader["run_id"])
        await until(lambda: not waiting(site), "the other worker has finished the batch", PATIENCE_S)
        await one_completed(client, runs)
        await check_artifacts(client)
    check_money(site, api, in_doubt=len(held))
    assert sent_by(site)[joiner] > AT_ONCE
    assert sum(sent_by(site).values()) == ROWS
    check_secrets(site)


def is_of(worker: Worker, pid: int) -> bool:
    """Whether a worker started this process."""
    return pid in {child.pid for child in psutil.Process(worker.pid).children(recursive=True)}


def change(site: Site, statement: str, *values: Any) -> None:
    """Write into the results table, past the program under test."""
    url = parse_url(site.results).set(drivername="postgresql", password=None)
    with psycopg.connect(url.render_as_string()) as connection:
        connection.execute(statement, values)


def waiting(site: Site) -> bool:
    """Whether rows still have to be sent, or are being sent."""
    return bool(site.query("SELECT 1 FROM results WHERE state IN ('pending', 'claimed', 'sending') LIMIT 1"))


async def one_completed(client: PrefectClient, runs: list[Any]) -> None:
    """The run of the machine that lives has completed, with rows in doubt where the other held some."""

    async def has_completed() -> bool:
        names = [await state_of(client, run) for run in runs]
        return any(name.startswith("Completed") for name in names)

    await until(has_completed, "one run has ended well", PATIENCE_S)


def check_money(site: Site, api: RunningSandbox, *, in_doubt: int) -> None:
    """No row was charged twice, every charge has its id or is in doubt, and nothing else is."""
    charges = charges_of(api, "spring")
    assert max(Counter(charge["row"] for charge in charges).values()) == 1
    rows = {row["row_key"]: row for row in site.query("SELECT * FROM results")}
    assert len(rows) == ROWS
    states = Counter(row["state"] for row in rows.values())
    assert states["in_doubt"] == in_doubt <= AT_ONCE + AT_ONCE // 4  # those in flight, and those that were ready
    assert sum(states[state] for state in HAS_ID) == ROWS - in_doubt
    for charge in charges:
        row = rows[charge["row"]]
        assert row["video_id"] == charge["video_id"] or row["state"] == "in_doubt"


async def check_artifacts(client: PrefectClient) -> None:
    """What was done can be read in the API."""
    artifacts = await client.read_artifacts()
    assert {"reelbatch-summary", "reelbatch-progress"} <= {
        str(artifact.key).rpartition("-")[0] for artifact in artifacts
    }
    summaries = {
        item.description: str(item.data) for item in artifacts if str(item.key).startswith("reelbatch-summary-")
    }
    assert "rows sent got their id" in summaries["spring"]


def check_secrets(site: Site) -> None:
    """Neither the key nor the password is anywhere: not in the server's database, no log, no table, no file."""
    whole = json.dumps(
        [
            site.query(f"TABLE {table}")
            for table in ("results", "attempts", "runs", "batches", "loads", "uploads", "decisions")
        ],
        default=str,
    ).encode()
    files = [path for path in site.folder.rglob("*") if path.is_file()]
    assert {"prefect.db", "server.log", "worker-1.log", "spring.parquet"} <= {path.name for path in files}
    places = {str(path): path.read_bytes() for path in files} | {"results table": whole}
    for secret in (KEY.encode(), PASSWORD.encode()):
        assert [name for name, content in places.items() if secret in content] == []
