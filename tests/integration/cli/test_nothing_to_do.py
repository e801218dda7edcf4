"""A command that finds nothing to do takes no time: it starts no Prefect, and ends as it would with one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from accounts import Customer
from pictures import landscape

from reelbatch.cli.progress import ProgressLine, RowsToSend
from reelbatch.domain import Batch
from reelbatch.ledger import Ledger
from reelbatch.pipeline.generate import RunSteps, generate
from reelbatch.pipeline.idle import seems_idle
from reelbatch.pipeline.plan import GenerateOptions
from reelbatch.sandbox import RunningSandbox, start
from reelbatch.settings import load_settings

COMMANDS = {"generate": ("generate", "spring.csv", "--settle"), "rerun": ("rerun", "--settle"), "settle": ("settle",)}


@pytest.fixture(scope="module")
def running() -> Iterator[RunningSandbox]:
    with start(render_video=False, queue_seconds=0, render_seconds=0.01) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def customer(running: RunningSandbox, tmp_path_factory: pytest.TempPathFactory) -> Customer:
    """Whose rows all have their videos."""
    customer = Customer(tmp_path_factory.mktemp("customer"), running)
    customer.generate(customer.manifest("spring", "pan", "zoom"), settle=True)
    return customer


@pytest.mark.parametrize("name", COMMANDS)
def test_where_nothing_is_to_be_done_no_prefect_server_is_started(name: str, customer: Customer) -> None:
    """Prefect has not even a folder then."""
    ran = customer.run(*COMMANDS[name])
    assert ran.code == 0, ran.err
    assert not (customer.folder / "prefect").exists()


def test_a_small_manifest_that_has_changed_is_looked_through(running: RunningSandbox, tmp_path: Path) -> None:
    """A row fewer, another order, another file: no server for that. A new row is sent by a run with one."""
    customer = Customer(tmp_path, running)
    customer.generate(customer.manifest("spring", "pan", "zoom", "tilt"))
    ran = customer.run("generate", customer.manifest("spring", "zoom", "pan"))
    assert ran.code == 0, ran.err
    assert not (tmp_path / "prefect").exists()
    assert customer.asked("status")["batches"][0]["gone"] == 1
    assert not _seems_idle(customer, customer.manifest("spring", "zoom", "pan", "tilt", "dolly"))
    assert not _seems_idle(customer, tmp_path / "summer.csv")  # there is none


def _seems_idle(customer: Customer, manifest: Path) -> bool:
    stated = {"results": customer.results, "base_url": customer.api.url, "api_key": customer.api.key}
    settings = load_settings(None, stated)
    return seems_idle(GenerateOptions(source=str(manifest)), settings, Batch("spring"), settles=False)


def test_neither_prefect_nor_pandas_is_imported_then(customer: Customer) -> None:
    """Each takes longer to import than such a run has to do."""
    program = "import sys, reelbatch.cli as c\ntry: c.main()\nfinally: print(*sys.modules, file=sys.stderr)"
    ran = subprocess.run(
        [sys.executable, "-c", program, *COMMANDS["generate"], "--results", customer.results],
        cwd=customer.folder,
        env={**os.environ, "MAGIC_HOUR_API_KEY": customer.api.key, "REELBATCH_BASE_URL": customer.api.url},
        capture_output=True,
        text=True,
        check=True,
    )
    assert {"sqlalchemy", "pyarrow"} < set(ran.stderr.split())
    assert {"prefect", "pandas", "fsspec"}.isdisjoint(ran.stderr.split())


def test_such_a_run_is_reported_and_recorded_like_any_other(customer: Customer) -> None:
    """With the whole batch in its figures, an export, and a line among the runs."""
    customer.folder.joinpath("results", "spring.parquet").unlink(missing_ok=True)
    report = customer.asked(*COMMANDS["generate"])
    assert (report["sent"], report["complete"], report["exit_reason"]) == (0, 2, "done")
    assert Path(customer.folder, report["export"]).exists()
    newest, *_ = customer.asked("runs")["runs"]
    assert (newest["run_id"], newest["command"], newest["exit_reason"]) == (report["run_id"], "generate", "done")


def test_failed_rows_are_an_exit_code_all_the_same(running: RunningSandbox, tmp_path: Path) -> None:
    """Nothing can be sent while they are as they are; that is not success."""
    customer = Customer(tmp_path, running)
    spring = customer.manifest("spring", "pan", "zoom", image_path=["https://img.example/1.png", "missing.png"])
    customer.generate(spring)
    assert customer.run("generate", spring).code == 1
    assert not (tmp_path / "prefect").exists()


async def test_rows_that_turn_up_are_not_sent_in_passing(running: RunningSandbox, tmp_path: Path) -> None:
    """An image that was missing is there: another run sends its row; the one that expected nothing is not listed."""
    customer = Customer(tmp_path, running)
    spring = customer.manifest("spring", "pan", image_path="missing.png")
    settings = load_settings(None, {"results": customer.results, "base_url": running.url, "api_key": running.key})
    options = GenerateOptions(source=str(spring))
    with Ledger(customer.results) as ledger:
        await _run(ledger, settings, options, expects_nothing=True)
        landscape(tmp_path / "missing.png")
        before = len(customer.charges())
        with pytest.raises(RowsToSend):
            await _run(ledger, settings, options, expects_nothing=True)
        assert len(customer.charges()) == before
        await _run(ledger, settings, options, expects_nothing=False)
    assert len(customer.charges()) == before + 1
    assert [run["exit_reason"] for run in customer.asked("runs")["runs"]] == ["done", "done"]


async def _run(ledger: Ledger, settings: Any, options: GenerateOptions, *, expects_nothing: bool) -> None:
    line = ProgressLine(None, show_plan=False)
    line.expects_nothing = expects_nothing
    async with line.watching():
        await generate(ledger, settings, options, RunSteps())
