"""How nights end in Prefect: each row of the table of situations, on a real server, with a real API or none."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from artifacts import artifacts_of
from ports import free_port
from waiting import until

import reelbatch
from reelbatch.ledger import Ledger, queries
from reelbatch.pipeline.run_summary import RunReport
from reelbatch.pipeline.settle_report import SettleReport
from reelbatch.sandbox import RunningSandbox, start

ROOT = Path(__file__).parents[2]
pytestmark = [
    # Prefect leaves sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]
HASTE = {
    "poll_interval_s": 0.1,
    "retry_attempts": 1,
    "retry_wait_s": 0.01,
    "retry_max_wait_s": 0.05,
    "unreachable_after_s": 1.0,
}


@pytest.fixture(scope="module")
def api() -> Iterator[RunningSandbox]:
    with start(render_seconds=0.05, queue_seconds=0.0, render_video=False) as sandbox:
        yield sandbox


@pytest.fixture
def running(api: RunningSandbox) -> RunningSandbox:
    return api


class Night:
    """A manifest and its table, and the flows that a schedule starts on them."""

    def __init__(self, folder: Path, sandbox: RunningSandbox) -> None:
        self.folder, self.sandbox, self.url = folder, sandbox, sandbox.url
        self.batch = folder.name[-20:].replace("_", "-").strip("-")

    def write(self, *rows: tuple[str, object]) -> None:
        """A manifest of these keys and seconds; its prompts are found nowhere else."""
        head = "row_key,image_path,prompt,end_seconds,model,resolution\n"
        lines = (f"{key},https://x.example/{key}.png,{key} {self.batch},{s},ltx-2.3,480p\n" for key, s in rows)
        (self.folder / "m.csv").write_text(head + "".join(lines), encoding="utf-8")

    @property
    def results(self) -> str:
        """The table's URL."""
        return f"sqlite:///{self.folder}/r.db"

    async def generate(self, **more: Any) -> Any:
        """The state that a night's run ends in."""
        from flows.generate import generate

        where = {"base_url": self.url, "results": self.results, "overrides": HASTE, "batch": self.batch}
        return await generate(manifest=str(self.folder / "m.csv"), **{**where, **more}, return_state=True)

    async def settle(self, **more: Any) -> Any:
        """The state that a settle of all batches ends in."""
        from flows.settle import settle

        where = {"base_url": self.url, "results": self.results, "overrides": HASTE}
        return await settle(**{**where, **more}, return_state=True)


@pytest.fixture
def night(tmp_path: Path, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch, prefect_server: str) -> Night:
    monkeypatch.setenv("MAGIC_HOUR_API_KEY", sandbox.key)
    return Night(tmp_path, sandbox)


def ended(state: Any) -> tuple[str, str]:
    """Type and name, as a rule of Prefect's automations sees them."""
    return state.type.value, state.name


async def test_a_night_says_what_it_did(night: Night) -> None:
    """Sent; nothing to do; a new row that is invalid: each has its state, and its counts in the message."""
    night.write(("A", 2), ("B", 2))
    first = await night.generate()
    assert ended(first) == ("COMPLETED", "Completed"), first.message
    assert first.message == f"2 of 2 rows got their id in this run; {night.batch}: 2 queued"
    report = await first.result()
    assert isinstance(report, RunReport)
    second = await night.generate()
    assert ended(second) == ("COMPLETED", "NothingToDo"), second.message
    night.write(("A", 2), ("B", 2), ("C", 900))
    third = await night.generate()
    assert ended(third) == ("COMPLETED", "CompletedWithFailures"), third.message
    assert "1 invalid" in str(third.message)
    page = str((await artifacts_of(third))[f"reelbatch-summary-{night.batch}"].data)
    assert "Since the last run (" in page
    assert f"prefect deployment run settle/settle \\-\\-param batch={night.batch}".replace("\\", "") in page.replace(
        "\\", ""
    )
    assert "--regenerate" not in page


async def test_a_night_in_which_every_row_is_invalid_failed(night: Night) -> None:
    """A feed that broke is red, and says so."""
    night.write(("A", 900), ("B", 901))
    state = await night.generate()
    assert ended(state) == ("FAILED", "Failed"), state.message
    assert str(state.message).startswith("every row is invalid")


async def test_a_night_without_an_api_failed(night: Night) -> None:
    """Nothing could be sent and no video be asked about; each says so with the reason, and which run comes next."""
    night.write(("A", 2), ("B", 2))
    await night.generate(limit=1)
    night.url = f"http://127.0.0.1:{free_port()}"
    sent = await night.generate()
    assert ended(sent) == ("FAILED", "Failed"), sent.message
    assert re.match(r"none_sent \(1 row given back unsent: .*\): nothing was sent; ", str(sent.message))
    settled = await night.settle()
    assert ended(settled) == ("FAILED", "Failed"), settled.message
    assert str(settled.message).startswith("the API did not answer: ")


async def test_a_settle_before_the_first_generate_has_nothing_to_do(night: Night) -> None:
    """A fresh installation is not red every ten minutes."""
    state = await night.settle()
    assert ended(state) == ("COMPLETED", "NothingToDo"), state.message
    assert str(state.message).startswith("nothing to settle: there is no results table yet")
    with Ledger(night.results):
        pass
    state = await night.settle()
    assert ended(state) == ("COMPLETED", "NothingToDo"), state.message
    assert state.message == "nothing to settle: the results table has no batch yet"


async def test_videos_that_fail_are_seen_in_the_settle_that_finds_them(night: Night) -> None:
    """By name of the state, with key, reason, prompt and image in a table; the next settle has nothing to do."""
    night.write(("A", 2), ("B", 2))
    night.sandbox.set_faults(every={"render_error": 1})
    await night.generate()
    state = await night.settle()
    night.sandbox.set_faults()
    assert ended(state) == ("COMPLETED", "CompletedWithFailures"), state.message
    report = await state.result()
    assert isinstance(report, SettleReport)
    assert report.failed_rows == 2
    table = (await artifacts_of(state))[f"reelbatch-failed-videos-{night.batch}"]
    row = json.loads(str(table.data))[0]
    assert (row["key"], row["state"], table.description) == (
        "A",
        "error",
        "Rows that need attention: 2 of 2 shown",
    )
    assert row["image"].endswith("(https://x.example/A.png)")
    assert row["reason"]


async def test_a_bad_key_says_what_to_do(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the settle's message, and on the run's page."""
    night.write(("A", 2))
    await night.generate()
    monkeypatch.setenv("MAGIC_HOUR_API_KEY", "wrong")
    settled = await night.settle()
    assert ended(settled) == ("FAILED", "Failed"), settled.message
    assert "or the Secret block `magic-hour-api-key`, to one that it accepts" in str(settled.message)
    state = await night.generate()
    page = str((await artifacts_of(state))[f"reelbatch-summary-{night.batch}"].data).replace("\\", "")
    assert "Set MAGIC_HOUR_API_KEY for the worker" in page


async def test_a_wrong_setting_is_failed_without_a_traceback(night: Night) -> None:
    """The state has the message; the log of the run has no traceback."""
    from prefect import get_client
    from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
    from prefect.logging.handlers import APILogHandler

    night.write(("A", 2))
    state = await night.generate(overrides={"concurency": 3})
    assert ended(state) == ("FAILED", "Failed"), state.message
    assert "concurency: there is no such setting" in str(state.message)
    await APILogHandler.aflush()
    async with get_client() as client:
        run = state.state_details.flow_run_id
        logs = await client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run])))
    assert not [log for log in logs if "Traceback" in log.message]


async def test_a_task_run_of_one_row_ends_in_its_state_and_carries_its_key(night: Night) -> None:
    """Anyone who looks at the run sees which row was refused, and the run goes on."""
    from prefect import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    night.write(("A", 2), ("B", 2))
    night.sandbox.set_faults(script=["invalid"])
    state = await night.generate(concurrency=1)
    assert ended(state) == ("COMPLETED", "CompletedWithFailures"), state.message
    with Ledger(night.results) as ledger:
        rows = ledger.read(lambda connection: queries.first_rows(connection, night.batch, 2))
    expected = {f"{night.batch} row {row['row_number']}: {row['row_key']}": row["state"].title() for row in rows}
    assert set(expected.values()) == {"Rejected", "Queued"}
    chosen = FlowRunFilter(id=FlowRunFilterId(any_=[state.state_details.flow_run_id]))
    found: dict[str, str] = {}
    async with get_client() as client:

        async def are_known() -> bool:
            """The server is told of task runs by events, which may come after the run's end."""
            runs = await client.read_task_runs(flow_run_filter=chosen)
            found.update({run.name: run.state_name for run in runs if " row " in run.name})
            return expected.items() <= found.items()

        await until(are_known, f"the server knows {expected}, not {found}", 30)


async def test_a_flow_that_is_called_from_another_returns_its_report(night: Night) -> None:
    """What someone builds around it goes on with the counts; a halted one raises, with its report."""
    from prefect import flow

    from flows.final_state import RunFailed
    from flows.generate import generate

    night.write(("A", 2))
    stated = {"manifest": str(night.folder / "m.csv"), "results": night.results, "overrides": HASTE}

    @flow
    async def around(url: str) -> int:
        report = await generate(base_url=url, **stated)
        assert isinstance(report, RunReport)
        return report.submitted

    assert await around(night.url) == 1
    stated["batch"] = "another"
    with pytest.raises(RunFailed, match="none_sent") as raised:
        await generate(base_url=f"http://127.0.0.1:{free_port()}", **stated, repeats="send")
    assert raised.value.report.exit_reason == "none_sent"


@pytest.mark.parametrize(
    ("parameter", "said"),
    [({"concurrency": 0}, "concurrency"), ({"limit": -1}, "limit"), ({"repeats": "often"}, "repeats")],
    ids=str,
)
async def test_parameters_have_their_limits(night: Night, parameter: dict[str, Any], said: str) -> None:
    """In the form's schema, and where a run is started without one."""
    from flows.generate import generate

    stated = generate.parameters.model_dump()["properties"]
    assert '"minimum": 1' in json.dumps(stated["concurrency"])
    assert '"enum": ["hold", "send", "skip"]' in json.dumps(stated["repeats"])
    state = await night.generate(**parameter)
    assert state.is_failed()
    assert said in str(state.message)


SERVED = """
import asyncio, sys
from flows.{name} import {name}
async def main():
    deployment = await {name}.ato_deployment(name="served")
    print(await deployment.aapply())
asyncio.run(main())
"""


@pytest.mark.parametrize("name", ["generate", "settle", "rerun"])
def test_a_flow_can_be_served(name: str, tmp_path: Path, prefect_server: str) -> None:
    """What `serve()` registers, in a process that has imported nothing else."""
    done = subprocess.run(
        [sys.executable, "-c", SERVED.format(name=name)],
        cwd=ROOT,
        env={**os.environ, "PREFECT_API_URL": prefect_server},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_command_line_ends_alike_without_prefect(night: Night) -> None:
    """The core's own runner: an API that is away is exit code 3, as for the flow."""
    night.write(("A", 2))
    report = reelbatch.generate(
        night.folder / "m.csv", results=night.results, base_url=f"http://127.0.0.1:{free_port()}", **HASTE
    )
    assert (report.exit_code, report.exit_reason) == (3, "none_sent")
