"""What the parameters of a deployment's run may name: they come over Prefect's API, from any of its users."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import fsspec
import pytest
from deployments import a_run

from reelbatch.sandbox import RunningSandbox

MANIFEST = str(Path(__file__).parents[2] / "data" / "catalogue.csv")
pytestmark = [
    # Prefect leaves sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def _worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api: RunningSandbox, prefect_server: str) -> None:
    """A folder of its own, the key, a table and no other setting."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REELBATCH_RESULTS", f"sqlite:///{tmp_path}/r.db")
    monkeypatch.setenv("MAGIC_HOUR_API_KEY", api.key)


async def ended(api: RunningSandbox, *, deployed: bool = True, **parameters: Any) -> tuple[str, str]:
    """The state of a run that sends one row, and what it says; as a deployment's run or as one that was typed."""
    from prefect import get_client
    from prefect.flow_engine import run_flow

    from flows.generate import generate

    stated = {"manifest": MANIFEST, "limit": 1, "base_url": api.url, **parameters}
    async with get_client() as client, a_run(client, generate, deployed=deployed) as run:
        state = await run_flow(generate, flow_run=run, parameters=stated, return_type="state")
    return state.type.value, state.message or ""


@pytest.mark.parametrize(
    "stated",
    [
        {"manifest": "http://127.0.0.1:9/c.csv"},
        {"manifest": "https://host/c.csv"},
        {"manifest": "simplecache::s3://shop/c.csv"},
        {"export": "ftp://127.0.0.1/out.csv"},
        {"downloads": "webhdfs://127.0.0.1/videos"},
        {"overrides": {"export": "github://out.csv"}},
        {"manifest": "http://127.0.0.1:9/c.csv", "overrides": {"manifest": {"defaults": {"end_seconds": 5}}}},
    ],
    ids=str,
)
async def test_a_parameter_that_names_another_storage_is_refused(api: RunningSandbox, stated: dict[str, Any]) -> None:
    """One line with the parameter, the address, and what to do; nothing is opened or sent."""
    before = api.books(summary=True)["requests"]
    state, message = await ended(api, **stated)
    assert state == "FAILED"
    assert "a deployment's run takes paths and s3://, gs://, gcs://, abfs://, abfss://, az://, file://" in message
    assert "add it to the worker's setting image_schemes" in message
    assert "\n" not in message
    assert api.books(summary=True)["requests"] == before
    assert not await asyncio.to_thread(Path("r.db").exists)


async def test_no_parameter_changes_what_parameters_may_name(api: RunningSandbox) -> None:
    """Only the owner of the worker does."""
    overrides = {"image_schemes": ["memory"]}
    state, message = await ended(api, manifest="memory://flows/c.csv", overrides=overrides)
    assert state == "FAILED"
    assert "image_schemes: bounds what the parameters of a deployment may name" in message


async def test_no_parameter_names_a_file_that_lines_are_appended_to(api: RunningSandbox, tmp_path: Path) -> None:
    """It could be any file that the worker may write."""
    state, message = await ended(api, manifest="c.csv", overrides={"history": str(tmp_path / ".profile")})
    assert state == "FAILED"
    assert not await asyncio.to_thread((tmp_path / ".profile").exists)
    assert "history: a file that lines are appended to, which no parameter of a deployment may name" in message


@pytest.mark.parametrize("stated", [{"results": "t/own.db"}, {"overrides": {"results": "t/own.db"}}], ids=str)
async def test_the_table_may_be_a_path(api: RunningSandbox, tmp_path: Path, stated: dict[str, Any]) -> None:
    """As on the command line, in a config file and from Python."""
    state, message = await ended(api, batch="own", repeats="send", **stated)
    assert (state, message) == ("COMPLETED", "1 of 12 rows got their id in this run; own: 11 pending, 1 queued")
    assert await asyncio.to_thread((tmp_path / "t" / "own.db").exists)


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ({"manifest": ""}, "The manifest's path is empty: state a value."),
        ({"manifest": " "}, "The manifest's path is empty: state a value."),
        ({"batch": ""}, "`batch` is empty: state a value, or leave it out"),
        ({"batch": "  "}, "`batch` is empty: state a value, or leave it out"),
    ],
    ids=str,
)
async def test_a_field_that_is_left_empty_is_named(api: RunningSandbox, stated: dict[str, Any], said: str) -> None:
    """As Prefect's form sends it, from where someone has taken out what stood there."""
    assert await ended(api, **stated) == ("FAILED", said)


async def test_an_override_does_not_hide_a_secret_in_a_parameter(api: RunningSandbox) -> None:
    """`manifest` is a parameter, and among the overrides a section of settings: both are looked at."""
    address = "s3://shop/c.csv?X-Amz-Signature=abc"
    state, message = await ended(api, manifest=address, overrides={"manifest": {"defaults": {"end_seconds": 5}}})
    assert state == "FAILED"
    assert "manifest s3://shop/c.csv?…: holds credentials or a signature" in message


@pytest.mark.parametrize("way", ["typed", "added"])
async def test_an_address_that_is_meant_is_taken(
    api: RunningSandbox, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Where someone types it at the machine itself, or the worker's environment allows it."""
    with fsspec.open("memory://flows/c.csv", "wb") as file:
        file.write(b"image_path,prompt,end_seconds,model,resolution\nhttps://x.test/a.png,Pan,2,ltx-2.3,480p\n")
    if way == "added":
        monkeypatch.setenv("REELBATCH_IMAGE_SCHEMES", "s3, memory")
    state, message = await ended(api, deployed=way == "added", manifest="memory://flows/c.csv")
    assert (state, message) == ("COMPLETED", "1 of 1 rows got their id in this run; c: 1 queued")
