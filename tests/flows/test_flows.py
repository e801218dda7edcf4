"""The pipeline as Prefect runs it: a real server, real task runs, real artifacts."""

from __future__ import annotations

import json
import os
import re
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
from sqlalchemy import make_url
from waiting import until

from reelbatch.errors import SettingsError
from reelbatch.sandbox import RunningSandbox, start

if TYPE_CHECKING:
    from prefect.client.schemas.objects import TaskRun

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
            """The server is told of task runs by events, which may come after the run's end."""
            tasks[:] = await client.read_task_runs(flow_run_filter=chosen)
            return len([run for run in tasks if run.name.startswith("catalogue row ")]) == 12

        await until(are_known, "the server knows a task run for each row")
        assert "catalogue row 1: TEA-001" in {run.name for run in tasks}
        artifacts = await client.read_artifacts(flow_run_filter=chosen)
        kinds = {artifact.key: artifact.data for artifact in artifacts}
        assert set(kinds) == {f"reelbatch-{kind}-catalogue" for kind in ("summary", "progress", "videos")}
        assert "12 of 12 rows sent got their id" in str(kinds["reelbatch-summary-catalogue"])
        assert kinds["reelbatch-progress-catalogue"] == 100.0
        runs = await client.read_flow_runs(flow_run_filter=chosen)
        assert KEY not in json.dumps([run.model_dump(mode="json") for run in (*runs, *tasks, *artifacts)])


async def test_settle_brings_the_exported_table_up_to_date(
    api: RunningSandbox, tmp_path: Path, prefect_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anyone who opens the file after a settle sees what became of the videos, and where they are."""
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
    """Anyone who looks at the run in the UI sees which rows failed, and why."""
    from flows.generate import generate

    monkeypatch.setenv("MAGIC_HOUR_API_KEY", KEY)
    manifest = tmp_path / "bad.csv"
    manifest.write_text("row_key,image_path,prompt,end_seconds\nA,https://x.example/a.png,p,5\nB,none.png,p,5\n")
    state = await generate(**_parameters(api, tmp_path, manifest=str(manifest)), return_state=True)
    assert state.is_completed()
    table = json.loads(str((await artifacts_of(state))["reelbatch-failed-rows-bad"].data))
    assert [(row["key"], row["state"]) for row in table] == [("B", "invalid")]


async def test_finished_videos_are_an_artifact_and_the_page_leads_to_the_report(
    api: RunningSandbox, tmp_path: Path, prefect_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each with its image and its file; a report that lies beside the table is named, else how to write it."""
    from flows.generate import generate

    monkeypatch.setenv("MAGIC_HOUR_API_KEY", KEY)
    (tmp_path / "catalogue.html").write_text("<html>", encoding="utf-8")
    stated = _parameters(api, tmp_path, limit=1, settle=True, downloads=str(tmp_path / "videos"))
    state = await generate(**stated, return_state=True)
    left = await artifacts_of(state)
    (video,) = json.loads(str(left["reelbatch-videos-catalogue"].data))
    assert video["key"] == "TEA-001"
    assert video["video"].replace("\\", "").endswith("videos/TEA-001.mp4")
    assert "catalogue.html" in str(left["reelbatch-summary-catalogue"].data)


def test_no_description_of_a_parameter_is_taken_for_html() -> None:
    """Prefect's form shows them as Markdown: of `results/<batch>.parquet` it left `results/.parquet`."""
    from prefect.utilities.callables import parameter_schema

    from flows.generate import generate
    from flows.rerun import rerun
    from flows.settle import settle

    for flow in (generate, rerun, settle):
        described = parameter_schema(flow.fn).properties.values()
        assert [each["title"] for each in described if "<" in each.get("description", "")] == []


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


@pytest.mark.parametrize("key", [None, "with a\nline"])
async def test_a_run_without_a_key_names_both_places(
    api: RunningSandbox, tmp_path: Path, prefect_server: str, monkeypatch: pytest.MonkeyPatch, key: str | None
) -> None:
    """The message that Prefect shows says where a worker gets it from: its environment, or the Secret block."""
    from prefect.blocks.system import Secret

    from flows.generate import generate

    monkeypatch.delenv("MAGIC_HOUR_API_KEY", raising=False)
    if key is not None:
        await Secret(value=key).save("magic-hour-api-key", overwrite=True)
    state = await generate(**_parameters(api, tmp_path), return_state=True)
    if key is not None:
        await Secret.adelete("magic-hour-api-key")
    assert state.is_failed()
    assert re.search(r"API key.*MAGIC_HOUR_API_KEY.*Secret block `magic-hour-api-key`", str(state.message))


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
    url = make_url(postgres_url()).set(password="marked-4711").render_as_string(hide_password=False)  # noqa: S106 - of no one
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
