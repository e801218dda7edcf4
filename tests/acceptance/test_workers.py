"""Two machines on one batch: a real Prefect server, two process workers, one results table in Postgres."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import psycopg
import pytest
from databases import postgres_url
from deployments import POOL, Server, free_url, kill
from waiting import until
from workplace import HAS_ID

from reelbatch.ledger.urls import parse_url
from reelbatch.sandbox import RunningSandbox, start

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

KEY = "marked-key-0815-of-the-api"
PASSWORD = "marked-password-4711"  # noqa: S105 - of a database that asks for none
ROWS, AT_ONCE = 120, 4
LEASE_S = 4.0


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
    with start(key=KEY, latency_ms=800, render_seconds=60.0, render_video=False) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, prefect: Any) -> Iterator[Site]:
    """`prefect server start`, a process work pool and `prefect deploy --all`, as the documentation says."""
    folder = tmp_path_factory.mktemp("site")
    prefect.home(folder / "home")
    results = parse_url(postgres_url()).set(password=PASSWORD).render_as_string(hide_password=False)
    site = Site(free_url(), folder, results)
    with site.running():
        site.prefect("--no-prompt", "deploy", "--all")
        yield site


async def state_of(client: PrefectClient, run: Any) -> str:
    """How a flow run stands, in Prefect's words."""
    return str((await client.read_flow_run(run.id)).state_name)


def write_manifest(path: Path) -> None:
    """Rows whose images anybody can see."""
    lines = ["row_key,image_path,prompt,end_seconds,model,resolution"]
    lines += [f"row-{n:04},https://images.example.com/{n}.png,Pan {n},2,ltx-2.3,480p" for n in range(ROWS)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


async def until_scheduled(client: PrefectClient, *deployments: Any) -> None:
    """Wait until the server has made runs of each deployment's schedule, to start when their time comes."""

    async def are_scheduled() -> bool:
        return set(deployments) <= {run.deployment_id for run in await client.read_flow_runs()}

    await until(are_scheduled, "each deployment has scheduled runs")


def sent_by(site: Site) -> Counter[str]:
    """Attempts by run."""
    return Counter(row["run_id"] for row in site.query("SELECT run_id FROM attempts"))


async def keep_secrets(site: Site) -> None:
    """The key and the results table's URL as Secret blocks, as the documentation says."""
    from prefect.blocks.system import Secret

    for name, value in (("magic-hour-api-key", KEY), ("reelbatch-results", site.results)):
        await Secret(value=value).save(name)


async def test_two_workers_share_a_batch_and_one_may_be_killed(
    site: Site, api: RunningSandbox, tmp_path: Path
) -> None:
    """Rows are shared and sent once, a third run waits its turn, and what a killed machine left is taken up."""
    manifest = tmp_path / "spring.csv"
    write_manifest(manifest)
    parameters = {
        "manifest": str(manifest),
        "base_url": api.url,
        "concurrency": AT_ONCE,
        "export": str(site.folder / "spring.parquet"),
        "overrides": {"lease_s": LEASE_S},
        "config": None,
        "sandbox": False,
    }
    async with site.client() as client:
        await keep_secrets(site)
        found = {deployment.name: deployment for deployment in await client.read_deployments()}
        assert set(found) == {"generate", "settle", "rerun"}
        assert [str(item.schedule.cron) for item in found["generate"].schedules] == ["0 2 * * *"]
        assert [item.schedule.interval.total_seconds() for item in found["settle"].schedules] == [600]
        assert found["generate"].global_concurrency_limit.limit == 2
        await until_scheduled(client, found["generate"].id, found["settle"].id)
        for deployment in found.values():
            for schedule in deployment.schedules:
                await client.update_deployment_schedule(deployment.id, schedule.id, active=False)
        with ExitStack() as stack:
            pool = ("worker", "start", *POOL, "--limit", "1")
            workers = [stack.enter_context(site.background(f"worker-{n}", *pool, "--name", f"w{n}")) for n in (1, 2)]
            runs = [
                await client.create_flow_run_from_deployment(found["generate"].id, parameters=parameters)
                for _ in range(3)
            ]
            await until(lambda: len([n for n in sent_by(site).values() if n >= AT_ONCE]) == 2, "two runs send rows")
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
            await until(lambda: not waiting(site), "the other worker has finished the batch")
            await one_completed(client, runs)
        check_money(site, api, in_doubt=len(held))
        assert sent_by(site)[joiner] > AT_ONCE
        assert sum(sent_by(site).values()) == ROWS
        await check_artifacts(client)
    check_secrets(site)


def is_of(worker: subprocess.Popen[bytes], pid: int) -> bool:
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
    """The run of the machine that lives has ended well; that of the other stays as it was."""

    async def has_completed() -> bool:
        return "Completed" in {await state_of(client, run) for run in runs}

    await until(has_completed, "one run has ended well")


def check_money(site: Site, api: RunningSandbox, *, in_doubt: int) -> None:
    """No row was charged twice, every charge has its id or is in doubt, and nothing else is."""
    charges = api.books()["charges"]
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
    artifacts = {artifact.key: artifact for artifact in await client.read_artifacts()}
    assert {"reelbatch-summary-spring", "reelbatch-progress-spring"} <= set(artifacts)
    assert "rows sent got their id" in str(artifacts["reelbatch-summary-spring"].data)


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
