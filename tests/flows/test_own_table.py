"""Which results table a flow's run has; a worker that was told none fails, unless it may have one of its own."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from databases import Gate, postgres_url
from deployments import a_run

from reelbatch.domain import Batch, RowState
from reelbatch.ledger import Ledger, queries
from reelbatch.sandbox import RunningSandbox

MANIFEST = str(Path(__file__).parents[2] / "data" / "catalogue.csv")
DEFAULT = "sqlite:///results/reelbatch.db"
pytestmark = [
    # Prefect leaves sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def _worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api: RunningSandbox) -> Iterator[None]:
    """A folder of its own, the key, and no table; warnings are logged."""
    from prefect.logging.configuration import setup_logging
    from prefect.settings import PREFECT_LOGGING_LEVEL, temporary_settings

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REELBATCH_RESULTS", raising=False)
    monkeypatch.setenv("MAGIC_HOUR_API_KEY", api.key)
    Path("c.yaml").write_text(f"results: {DEFAULT}\n", encoding="utf-8")
    with temporary_settings({PREFECT_LOGGING_LEVEL: "WARNING"}):
        setup_logging()
        yield
    setup_logging()


async def _warnings(*, deployed: bool, **parameters: Any) -> list[str]:
    """What the log of a run has that sends one row, as a run of a deployment or as one that someone typed."""
    from prefect import get_client
    from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
    from prefect.flow_engine import run_flow
    from prefect.logging.handlers import APILogHandler

    from flows.generate import generate

    parameters = generate.validate_parameters({"manifest": MANIFEST, "limit": 1, **parameters})
    async with get_client() as client, a_run(client, generate, deployed=deployed) as run:
        await run_flow(generate, flow_run=run, parameters=parameters, return_type="state")
        await APILogHandler.aflush()
        state = (await client.read_flow_run(run.id)).state
        if state.is_failed():
            return [state.message]
        logs = await client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id])))
    return [log.message for log in logs]


def _databases(folder: Path) -> set[str]:
    """The SQLite files that were made there."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*.db")}


async def test_a_worker_without_a_table_sends_nothing(
    api: RunningSandbox, prefect_server: str, tmp_path: Path
) -> None:
    """With two of them everything would be paid for twice, and nothing else would tell."""
    (why,) = await _warnings(deployed=True, base_url=api.url)
    assert why.startswith(f"No results table was stated, and this worker's own is {tmp_path}/results/reelbatch.db.")
    assert "`own_table: true`" in why
    assert _databases(tmp_path) == set()


async def test_one_machine_alone_may_have_a_table_of_its_own(
    api: RunningSandbox, prefect_server: str, tmp_path: Path
) -> None:
    """Where its deployment says so."""
    assert await _warnings(deployed=True, base_url=api.url, own_table=True) == []
    assert _databases(tmp_path) == {"results/reelbatch.db"}


@pytest.mark.parametrize("stated", [{"config": "c.yaml"}, {"results": DEFAULT}, {"sandbox": True}], ids=str)
async def test_a_worker_that_knows_its_table_says_nothing(
    stated: dict[str, Any], api: RunningSandbox, prefect_server: str
) -> None:
    """Where it is stated, be it the same one; nor in the sandbox, where nothing is paid."""
    assert await _warnings(deployed=True, base_url=api.url, **stated) == []


async def test_the_environment_may_state_the_table(
    api: RunningSandbox, prefect_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on the machines of a work pool."""
    monkeypatch.setenv("REELBATCH_RESULTS", DEFAULT)
    assert await _warnings(deployed=True, base_url=api.url) == []


AWAY = "The results table is away, and is waited for."


class _Opens(logging.Handler):
    """The database comes back once a run's log says that it is away."""

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self._gate = gate

    def emit(self, record: logging.LogRecord) -> None:
        self._gate.open |= record.getMessage().startswith(AWAY)


async def test_a_database_that_is_away_at_the_start_is_waited_for(
    api: RunningSandbox, prefect_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a deployment's run, at which no person sits: the log says so, once for each try, and the row is sent."""
    url = postgres_url()
    with Gate(url) as gate:
        gate.open = False
        monkeypatch.setenv("REELBATCH_RESULTS", gate.url)
        opens, runs = _Opens(gate), logging.getLogger("prefect.flow_runs")
        runs.addHandler(opens)
        try:
            (away,) = await _warnings(deployed=True, base_url=api.url)
        finally:
            runs.removeHandler(opens)
    assert away.startswith(AWAY)
    with Ledger.to_read(url) as ledger:
        assert ledger.read(lambda connection: queries.counts(connection, Batch("catalogue")))[RowState.QUEUED] == 1


@pytest.fixture
async def _block(prefect_server: str, tmp_path: Path) -> AsyncIterator[None]:
    """A Secret block that states a table."""
    from prefect.blocks.system import Secret

    await Secret(value=f"sqlite:///{tmp_path}/block.db").save("reelbatch-results", overwrite=True)
    yield
    await Secret.adelete("reelbatch-results")


@pytest.mark.usefixtures("_block")
async def test_a_deployment_takes_its_table_from_the_secret_block(api: RunningSandbox, tmp_path: Path) -> None:
    """On machines where no one types anything."""
    assert await _warnings(deployed=True, base_url=api.url) == []
    assert _databases(tmp_path) == {"block.db"}


@pytest.mark.usefixtures("_block")
async def test_the_secret_block_is_not_for_runs_that_someone_typed(api: RunningSandbox, tmp_path: Path) -> None:
    """`plan` and `status` know of no block: if `generate` had another table, rows would be paid for twice."""
    assert await _warnings(deployed=False, base_url=api.url) == []
    assert _databases(tmp_path) == {"results/reelbatch.db"}


@pytest.mark.usefixtures("_block")
async def test_the_block_may_have_the_path_of_a_file(api: RunningSandbox, tmp_path: Path) -> None:
    """As the setting may, and with the line end of a file that it was read from."""
    from prefect.blocks.system import Secret

    await Secret(value=f"{tmp_path}/block.db\n").save("reelbatch-results", overwrite=True)
    assert await _warnings(deployed=True, base_url=api.url) == []
    assert _databases(tmp_path) == {"block.db"}


@pytest.mark.usefixtures("_block")
async def test_a_deployment_in_the_sandbox_has_a_table_of_its_own(tmp_path: Path) -> None:
    """As `prefect.yaml` comes; the block's table is the real one."""
    assert await _warnings(deployed=True, sandbox=True) == []
    assert _databases(tmp_path) == {"results/sandbox/reelbatch.db", "results/sandbox/books.db"}


async def test_what_the_core_has_to_say_is_in_the_log_of_the_run(prefect_server: str, tmp_path: Path) -> None:
    """Anyone who looks at the run finds it there: of an answer that can't be brought in, for example."""
    left = tmp_path / "results" / "sandbox" / "reelbatch-left.rescue.jsonl"
    left.parent.mkdir(parents=True)
    left.write_text("what someone else wrote")
    said = await _warnings(deployed=False, sandbox=True)
    assert len([line for line in said if left.name in line]) == 1, said


@pytest.fixture
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A settings file above the worker's folder."""
    (tmp_path / "reelbatch.yaml").write_text("results: sqlite:///t/r.db\n", encoding="utf-8")
    (tmp_path / "below").mkdir()
    monkeypatch.chdir("below")


@pytest.mark.usefixtures("_project")
async def test_a_found_settings_file_states_the_table_of_a_flow(
    api: RunningSandbox, prefect_server: str, tmp_path: Path
) -> None:
    """In the worker's folder or above it, as for the command line."""
    assert await _warnings(deployed=True, base_url=api.url) == []
    assert _databases(tmp_path) == {"t/r.db"}


async def test_without_a_deployment_nothing_is_said(api: RunningSandbox, prefect_server: str) -> None:
    """On a laptop the default is what one wants."""
    assert await _warnings(deployed=False, base_url=api.url) == []
