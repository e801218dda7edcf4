"""The pipeline as Prefect runs it: a real server, real task runs, real artifacts."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pyarrow.parquet as pq
import pytest
import yaml
from artifacts import artifacts_of
from databases import postgres_url
from sqlalchemy import make_url, select
from waiting import until

import reelbatch
from reelbatch.errors import SettingsError
from reelbatch.ledger import Ledger
from reelbatch.ledger.schema import runs
from reelbatch.sandbox import RunningSandbox, start

if TYPE_CHECKING:
    from prefect.client.schemas.objects import TaskRun
    from prefect.client.schemas.responses import DeploymentResponse

ROOT = Path(__file__).parents[2]
KEY = "sandbox-key-marked-4711"
pytestmark = [
    # Prefect leaves sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def api() -> Iterator[RunningSandbox]:
    with start(key=KEY, render_seconds=0.1, queue_seconds=0.0, render_video=False) as sandbox:
        yield sandbox


def _parameters(api: RunningSandbox, tmp_path: Path, **more: Any) -> dict[str, Any]:
    results = f"sqlite:///{tmp_path}/r.db"
    overrides = {"poll_interval_s": 0.1}
    manifest = str(ROOT / "data" / "catalogue.csv")
    return {"manifest": manifest, "base_url": api.url, "results": results, "overrides": overrides, **more}


async def test_generate_runs_as_a_flow(
    api: RunningSandbox, tmp_path: Path, prefect_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task run for each row up to 200, artifacts that can be read back, and no key anywhere in the server."""
    from prefect import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    from flows.generate import generate

    monkeypatch.setenv("MAGIC_HOUR_API_KEY", KEY)
    state = await generate(**_parameters(api, tmp_path, settle=True), return_state=True)
    assert state.is_completed(), state.message
    assert pq.read_table(tmp_path / "catalogue.parquet").column("state").to_pylist() == ["complete"] * 12
    async with get_client() as client:
        chosen = FlowRunFilter(id=FlowRunFilterId(any_=[state.state_details.flow_run_id]))
        tasks: list[TaskRun] = []

        async def are_known() -> bool:
            """The server hears of task runs by events, which may come after the run's end."""
            tasks[:] = await client.read_task_runs(flow_run_filter=chosen)
            return len([run for run in tasks if run.name.startswith("catalogue row ")]) == 12

        await until(are_known, "the server knows a task run for each row")
        assert "catalogue row 1: TEA-001" in {run.name for run in tasks}
        artifacts = await client.read_artifacts(flow_run_filter=chosen)
        kinds = {artifact.key: artifact.data for artifact in artifacts}
        assert set(kinds) == {"reelbatch-summary-catalogue", "reelbatch-progress-catalogue"}
        assert "12 of 12 rows sent got their id" in str(kinds["reelbatch-summary-catalogue"])
        assert kinds["reelbatch-progress-catalogue"] == 100.0
        runs = await client.read_flow_runs(flow_run_filter=chosen)
        assert KEY not in json.dumps([run.model_dump(mode="json") for run in (*runs, *tasks, *artifacts)])


async def test_settle_brings_the_exported_table_up_to_date(
    api: RunningSandbox, tmp_path: Path, prefect_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever opens the file after a settle sees what became of the videos, and where they are."""
    from flows.generate import generate
    from flows.settle import settle

    monkeypatch.setenv("MAGIC_HOUR_API_KEY", KEY)
    parameters = _parameters(api, tmp_path, limit=2)
    await generate(**parameters, return_state=True)
    where = {name: parameters[name] for name in ("base_url", "results", "overrides")}
    state = await settle(**where, downloads=str(tmp_path / "videos"), return_state=True)
    assert state.is_completed(), state.message
    table = pq.read_table(tmp_path / "catalogue.parquet")
    assert sorted(table.column("state").to_pylist()) == ["complete"] * 2 + ["pending"] * 10
    assert len(list((tmp_path / "videos").iterdir())) == 2


async def test_failed_rows_are_an_artifact(
    api: RunningSandbox, tmp_path: Path, prefect_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever looks at the run in the UI sees which rows failed, and why."""
    from flows.generate import generate

    monkeypatch.setenv("MAGIC_HOUR_API_KEY", KEY)
    manifest = tmp_path / "bad.csv"
    manifest.write_text("row_key,image_path,prompt,end_seconds\nA,https://x.example/a.png,p,5\nB,none.png,p,5\n")
    state = await generate(**_parameters(api, tmp_path, manifest=str(manifest)), return_state=True)
    assert state.is_completed()
    table = json.loads(str((await artifacts_of(state))["reelbatch-failed-rows-bad"].data))
    assert [(row["key"], row["state"]) for row in table] == [("B", "invalid")]


async def test_a_halted_run_is_a_failed_flow_run(
    api: RunningSandbox, tmp_path: Path, prefect_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A schedule with a bad key shows red, and says why."""
    from flows.generate import generate

    monkeypatch.setenv("MAGIC_HOUR_API_KEY", "wrong")
    state = await generate(**_parameters(api, tmp_path), return_state=True)
    assert state.is_failed()
    assert "bad_key" in (state.message or "")


async def test_the_key_can_come_from_a_secret_block(
    api: RunningSandbox, tmp_path: Path, prefect_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the environment has none, the block `magic-hour-api-key` is asked."""
    from prefect.blocks.system import Secret

    from flows.generate import generate

    monkeypatch.delenv("MAGIC_HOUR_API_KEY", raising=False)
    await Secret(value=KEY).save("magic-hour-api-key", overwrite=True)
    state = await generate(**_parameters(api, tmp_path, limit=1), return_state=True)
    assert state.is_completed(), state.message
    await Secret.adelete("magic-hour-api-key")


async def test_parameters_have_a_schema_that_is_enforced(prefect_server: str) -> None:
    """A slip in a parameter ends the run before anything is spent."""
    from flows.generate import generate

    state = await generate(manifest="m.csv", regenerate="sometimes", return_state=True)
    assert state.is_failed()
    assert "regenerate" in str(state.message)


def test_a_missing_key_is_said(tmp_path: Path, prefect_server: str) -> None:
    """Neither the environment nor a block has one: exit code 2, and what to do."""
    run = subprocess.run(
        [sys.executable, "-m", "reelbatch", "generate", str(ROOT / "data" / "catalogue.csv")],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "MAGIC_HOUR_API_KEY"}
        | {"PREFECT_API_URL": prefect_server},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert run.returncode == 2
    assert "MAGIC_HOUR_API_KEY" in run.stderr
    assert "Traceback" not in run.stderr


def _deployments() -> dict[str, dict[str, Any]]:
    loaded = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))
    return {deployment["name"]: deployment for deployment in loaded["deployments"]}


@pytest.mark.parametrize("name", ["generate", "settle", "rerun"])
def test_a_deployment_names_a_flow_and_parameters_it_has(name: str) -> None:
    """The entry points exist, and so do the parameters and the config file."""
    from prefect.flows import load_flow_from_entrypoint

    deployment = _deployments()[name]
    flow = load_flow_from_entrypoint(str(ROOT / deployment["entrypoint"]))
    assert flow.name == name
    assert set(deployment["parameters"]) <= set(flow.parameters.properties)
    assert (ROOT / deployment["parameters"]["config"]).is_file()


def _prefect_env(prefect_server: str) -> dict[str, str]:
    return {**os.environ, "PREFECT_API_URL": prefect_server, "PWD": str(ROOT)}


def _prefect(prefect_server: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "prefect", *arguments],
        cwd=ROOT,
        env={**_prefect_env(prefect_server), "PREFECT_LOGGING_LEVEL": "WARNING"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture(scope="module")
def deployed(prefect_server: str) -> dict[str, DeploymentResponse]:
    """`prefect deploy --all` as documented; then the schedules are paused, so that only tests start runs."""
    pool = _prefect(prefect_server, "work-pool", "create", "reelbatch", "--type", "process", "--overwrite")
    assert pool.returncode == 0, pool.stdout + pool.stderr
    done = _prefect(prefect_server, "--no-prompt", "deploy", "--all")
    assert done.returncode == 0, done.stdout + done.stderr
    return asyncio.run(_paused())


async def _paused() -> dict[str, DeploymentResponse]:
    """Every deployment by its name, as it was before its schedules were paused."""
    from prefect import get_client

    async with get_client() as client:
        found = await client.read_deployments()
        for deployment in found:
            for schedule in deployment.schedules:
                await client.update_deployment_schedule(deployment.id, schedule.id, active=False)
    return {deployment.name: deployment for deployment in found}


@pytest.fixture(scope="module")
def worker(deployed: dict[str, DeploymentResponse], prefect_server: str, prefect_home: Path) -> Iterator[Path]:
    """A process worker as documented, with an API key; where to read what it says."""
    said = prefect_home / "worker"
    with said.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", "worker", "start", "--pool", "reelbatch", "--type", "process"],
            env={**_prefect_env(prefect_server), "PREFECT_WORKER_QUERY_SECONDS": "1", "MAGIC_HOUR_API_KEY": KEY},
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        yield said
        process.terminate()
        process.wait(60)


def _end_of(said: Path) -> str:
    return said.read_text()[-4000:]


async def test_a_run_that_is_cancelled_stops_gently(
    tmp_path: Path, deployed: dict[str, DeploymentResponse], worker: Path
) -> None:
    """Cancelled in the UI: creates in flight are recorded, the rest stays to be sent, nothing is in doubt."""
    from prefect import get_client
    from prefect.states import Cancelling

    manifest = tmp_path / "long.csv"
    rows = [f"K{number},https://x.example/{number}.png,p,5" for number in range(300)]
    manifest.write_text("\n".join(["row_key,image_path,prompt,end_seconds", *rows]))
    with start(key=KEY, latency_ms=400, render_video=False) as slow:
        parameters = _parameters(slow, tmp_path, manifest=str(manifest), concurrency=4, config=None, sandbox=False)
        async with get_client() as client:
            run = await client.create_flow_run_from_deployment(deployed["generate"].id, parameters=parameters)
            await until(lambda: slow.books(summary=True)["creates"] >= 8, "eight creates", 90)
            await client.set_flow_run_state(run.id, Cancelling())
            await until(lambda: _ended(tmp_path), "the run has written its last entry", 90)
            final = await _final_state(client, run.id)
        books = slow.books()
    assert final.is_cancelled(), f"{final}\n{_end_of(worker)}"
    frame = reelbatch.results(f"sqlite:///{tmp_path}/r.db")
    states = frame["state"].value_counts().to_dict()
    assert set(states) == {"queued", "pending"}
    assert sorted(frame["video_id"].dropna()) == sorted(charge["video_id"] for charge in books["charges"])


def _ended(folder: Path) -> bool:
    """Whether the run has written its last entry."""
    with Ledger(f"sqlite:///{folder}/r.db") as ledger:
        return ledger.read(lambda connection: connection.scalar(select(runs.c.ended_at))) is not None


async def _final_state(client: Any, run_id: Any) -> Any:
    async def has_ended() -> bool:
        return bool((await client.read_flow_run(run_id)).state.is_final())

    await until(has_ended, "the flow run ends", 90)
    return (await client.read_flow_run(run_id)).state


def test_prefect_deploy_registers_all_three(deployed: dict[str, DeploymentResponse]) -> None:
    """`prefect deploy --all` as documented; what a worker makes of them is in tests/acceptance."""
    limits = {"generate": 2, "settle": 1, "rerun": 1}
    assert set(deployed) >= set(limits)  # other tests deploy to this server too
    assert [str(item.schedule.cron) for item in deployed["generate"].schedules] == ["0 2 * * *"]
    assert deployed["settle"].schedules
    assert {name: deployed[name].global_concurrency_limit.limit for name in limits} == limits
    assert "image-to-video" in deployed["generate"].tags


@pytest.mark.parametrize(
    ("parameter", "instead"),
    [
        ({"results": "postgresql+psycopg://me:marked-4711@db.example.com/reel"}, "REELBATCH_RESULTS"),
        (
            {"results": "postgresql://me@db.example.com/reel?sslpassword=marked-4711"},
            "Secret block `reelbatch-res",
        ),
        ({"overrides": {"results": "postgresql://me:marked-4711@db/reel"}}, "REELBATCH_RESULTS"),
        ({"base_url": "https://me:marked-4711@api.example.com"}, "base_url: .* Prefect keeps parameters"),
        ({"overrides": {"base_url": "https://marked-4711@api.example.com"}}, "base_url: .* Prefect keeps parameters"),
        ({"export": "sftp://me:marked-4711@host/out.csv"}, "export .* Prefect keeps parameters .* FSSPEC_SFTP"),
        ({"overrides": {"downloads": "s3://me:marked-4711@shop"}}, "downloads .* Prefect keeps parameters"),
        ({"overrides": {"api_key": "marked-4711"}}, "MAGIC_HOUR_API_KEY"),
        ({"overrides": {"webhook_secret": "marked-4711"}}, "REELBATCH_WEBHOOK_SECRET"),
    ],
)
async def test_a_secret_is_no_parameter(parameter: dict[str, Any], instead: str, prefect_server: str) -> None:
    """Prefect keeps parameters in the open: one with a secret fails the run, with where it belongs."""
    from flows.generate import generate

    with pytest.raises(SettingsError, match=instead) as raised:
        await generate(manifest=str(ROOT / "data" / "catalogue.csv"), **parameter)
    assert "marked-4711" not in str(raised.value)


def test_the_command_line_hands_a_password_on_by_the_environment(
    api: RunningSandbox, tmp_path: Path, prefect_server: str
) -> None:
    """`--results` with a password works, and the run's parameters do not have it."""
    url = make_url(postgres_url()).set(password="marked-4711").render_as_string(hide_password=False)  # noqa: S106 - of nobody
    command = [sys.executable, "-m", "reelbatch", "generate", str(ROOT / "data" / "catalogue.csv"), "--json"]
    done = subprocess.run(
        [*command, "--base-url", api.url, "--results", url, "--limit", "2", "--export", str(tmp_path / "x.parquet")],
        cwd=tmp_path,
        env={**_prefect_env(prefect_server), "MAGIC_HOUR_API_KEY": KEY},
        capture_output=True,
        text=True,
        check=False,
    )
    assert json.loads(done.stdout)["submitted"] == 2, done.stderr
    (run,) = [run for run in _known_runs(prefect_server) if str(tmp_path) in run]
    assert '"limit": 2' in run
    assert "marked-4711" not in run + done.stdout + done.stderr


def _known_runs(prefect_server: str) -> list[str]:
    found = httpx.post(f"{prefect_server}/flow_runs/filter", json={}, trust_env=False).raise_for_status().json()
    return [json.dumps({"id": run["id"], "parameters": run["parameters"]}) for run in found]
