"""Prefect's server dies in the middle of a run: the rows do not need it, and the command does not wait for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
from waiting import wait_until
from workplace import Process, Workplace, check_books, working

from reelbatch.sandbox import RunningSandbox, start

ROWS = 24
SAYS = "Could not tell Prefect's server that the run finished"


@pytest.fixture(scope="module")
def running() -> Iterator[RunningSandbox]:
    """An API that takes its time, both for creates and for videos."""
    with start(latency_ms=200, queue_seconds=0, render_seconds=0.5, render_parallel=2, render_video=False) as sandbox:
        yield sandbox


@pytest.fixture
def alone(tmp_path: Path, sandbox: RunningSandbox, serverless_env: dict[str, str]) -> Iterator[Workplace]:
    """Rows of which two are sent at once; each process starts a Prefect server of its own."""
    quick = {"REELBATCH_CONCURRENCY": "2", "REELBATCH_POLL_INTERVAL_S": "0.2"}
    with working(tmp_path, sandbox, {**serverless_env, **quick}) as place:
        place.write_manifest(ROWS)
        yield place


def kill_server_of(command: Process) -> None:
    """`kill -9` for the Prefect server that the command has started, and for nothing else."""
    children = psutil.Process(command.pid).children()
    (server,) = [child for child in children if "reelbatch.orchestration.prefect_server" in child.cmdline()]
    server.kill()


def exported(workplace: Workplace) -> set[str]:
    """The states in the table as it was exported after the run."""
    return set(pq.read_table(workplace.table.parent / "spring.parquet").column("state").to_pylist())


@pytest.mark.long
def test_a_run_goes_on_without_prefects_server(alone: Workplace) -> None:
    """All rows are sent, reported and exported; then the command ends as the rows deserve and says what is amiss."""
    command = alone.generate()
    wait_until(lambda: alone.ids() >= 4, "four ids in the table")
    kill_server_of(command)
    done = command.finish()
    assert (done.code, done.report["submitted"], done.report["exit_reason"]) == (0, ROWS, "done"), done.err
    assert done.err.count(SAYS) == 1
    assert "Traceback" not in done.err
    assert exported(alone) == {"queued"}
    check_books(alone)


@pytest.mark.long
def test_a_settle_goes_on_without_prefects_server(alone: Workplace, sandbox: RunningSandbox) -> None:
    """Every video is followed to its end, and the exported table is brought up to date."""
    assert alone.generate_here().code == 0
    where = ("--base-url", sandbox.url, "--results", f"sqlite:///{alone.table}")
    command = alone.start("settle", *where, "--json")
    wait_until(lambda: alone.states()["complete"] >= 2, "two videos are complete")
    kill_server_of(command)
    done = command.finish()
    assert (done.code, done.report["complete"], done.report["reason"]) == (0, ROWS, "done"), done.err
    assert done.err.count(SAYS) == 1
    assert "Traceback" not in done.err
    assert exported(alone) == {"complete"}
