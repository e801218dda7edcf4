"""What Prefect and the command line show of an address: never the credentials or the signature in it."""

from __future__ import annotations

import json
from pathlib import Path

import fsspec
import pytest
from artifacts import artifacts_of
from commands import run_here
from waiting import until

from reelbatch.sandbox import RunningSandbox

MARK = "marked-4711"
PLACE = "memory://shop"
SECRET_PLACE = f"memory://me:{MARK}@shop"
pytestmark = [
    # Prefect leaves sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]


async def test_names_and_artifacts_of_a_run_hide_credentials(
    api: RunningSandbox, tmp_path: Path, prefect_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run's name, its tasks' names and the table of failed rows."""
    from prefect import get_client

    from flows.generate import generate

    monkeypatch.setenv("MAGIC_HOUR_API_KEY", api.key)
    with fsspec.open(f"{PLACE}/spring.csv", "w") as file:
        file.write("row_key,image_path,prompt,end_seconds\n")
        file.write("A,https://example.com/a.png,Slow pan,5\n")
        file.write(f"B,https://me:{MARK}@example.com/b.png?sig={MARK},Slow pan,99\n")
    state = await generate(
        manifest=f"{PLACE}/spring.csv",
        base_url=api.url,
        results=f"sqlite:///{tmp_path}/r.db",
        export=f"{PLACE}/out.csv",
        return_state=True,
    )
    assert state.is_completed(), state.message
    names: set[str] = set()
    async with get_client() as client:
        run = await client.read_flow_run(state.state_details.flow_run_id)

        async def are_known() -> bool:
            """The server is told of task runs by events, which may come after the run's end."""
            names.update(task.name for task in await client.read_task_runs() if task.flow_run_id == run.id)
            return {"load memory://shop/spring.csv", "export memory://shop/out.csv"} <= names

        await until(are_known, "the server knows the tasks")
    assert run.name == "generate memory://shop/spring.csv"
    assert MARK not in "".join(names)
    failed = (await artifacts_of(state))["reelbatch-failed-rows-spring"]
    assert json.loads(str(failed.data))[0]["image"] == r"https://example.com/b.png?…"
    assert MARK not in str(failed.data)


@pytest.mark.parametrize("as_json", [False, True], ids=["for people", "for machines"])
def test_the_command_line_hides_credentials_of_where_it_exports_to(
    api: RunningSandbox, tmp_path: Path, prefect_server: str, *, as_json: bool
) -> None:
    """After a run that has the address from the environment, and after `reelbatch export`."""
    target = f"{SECRET_PLACE}/out.csv"
    json_too = ["--json"] if as_json else []
    generate = ["generate", str(_manifest(tmp_path)), "--base-url", api.url, *json_too]
    stated = {"MAGIC_HOUR_API_KEY": api.key, "REELBATCH_EXPORT": target, "COLUMNS": "400"}
    run = run_here(tmp_path, *generate, **stated)
    exported = run_here(tmp_path, "export", target, *json_too, COLUMNS="400")
    assert (run.code, exported.code) == (0, 0), run.err + exported.err
    for said in (run.out, exported.out):
        assert "memory://shop/out.csv" in said
    assert MARK not in run.out + run.err + exported.out + exported.err


@pytest.mark.parametrize(
    "options",
    [
        ["generate", f"{SECRET_PLACE}/spring.csv"],
        ["generate", f"https://a.example/spring.csv?X-Amz-Signature={MARK}"],
        ["plan", f"https://a.example/spring.csv?X-Amz-Signature={MARK}"],
        ["generate", "spring.csv", "--export", f"{SECRET_PLACE}/out.csv"],
        ["generate", "spring.csv", "--download", f"https://a.example/videos?sig={MARK}"],
        ["rerun", "--export", f"{SECRET_PLACE}/out.csv"],
        ["settle", "--download", f"{SECRET_PLACE}/videos"],
    ],
    ids=lambda options: " ".join(options[::2]).split(":")[0],
)
def test_an_option_that_opens_something_is_refused_before_prefect_has_it(options: list[str], tmp_path: Path) -> None:
    """Exit code 2 in one line: what is stated so would be kept as a parameter, which no one can take back."""
    _manifest(tmp_path)
    run = run_here(
        tmp_path, *options, MAGIC_HOUR_API_KEY="sandbox", PREFECT_HOME=str(tmp_path / "home"), COLUMNS="400"
    )
    assert run.code == 2, run.err
    assert MARK not in run.out + run.err
    assert len(run.err.splitlines()) == 1
    assert not list(tmp_path.rglob("*.db"))


def _manifest(folder: Path) -> Path:
    manifest = folder / "spring.csv"
    manifest.write_text("image_path,prompt,end_seconds\nhttps://example.com/a.png,Slow pan,5\n", encoding="utf-8")
    return manifest
