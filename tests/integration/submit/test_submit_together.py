"""Workers on one results table: one rate, one render window, one cap, one reading of the manifest for all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from bench import PRICE, QUICK, URL, Answer, Arrival, scripted
from databases import Gate, postgres_url
from sqlalchemy import func, select
from watching import unfinished_watched

import reelbatch
from reelbatch.domain import Batch, RunId
from reelbatch.errors import ManifestError
from reelbatch.ledger import Ledger, utc_now
from reelbatch.ledger import manifest_lock as load_entries
from reelbatch.ledger.schema import attempts, generations, loads
from reelbatch.pipeline import load_manifest
from reelbatch.pipeline.load_manifest import LoadFor, load
from reelbatch.pipeline.plan import GenerateOptions
from reelbatch.pipeline.run_summary import RunReport
from reelbatch.sandbox import start
from reelbatch.settings import load_settings

ROWS = 60
ROW = {"row_key": ["a"], "image_path": [URL], "prompt": ["Pan"], "end_seconds": [2], "model": ["ltx-2.3"]}


@pytest.fixture(params=["sqlite", "postgres"])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty results table."""
    return postgres_url() if request.param == "postgres" else f"sqlite:///{tmp_path / 'results.db'}"


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """A file, which has a content that workers can compare."""
    rows = {"row_key": [f"row-{number:03}" for number in range(ROWS)], "image_path": URL, "prompt": "Pan"}
    pd.DataFrame({**rows, "end_seconds": 2, "model": "ltx-2.3", "resolution": "480p"}).to_csv(
        tmp_path / "spring.csv", index=False
    )
    return tmp_path / "spring.csv"


def together(manifest: Path, workers: int = 2, **settings: Any) -> list[RunReport]:
    """Several runs at once, as if on several machines."""
    with ThreadPoolExecutor(workers) as threads:
        runs = [
            threads.submit(reelbatch.generate, manifest, **{**QUICK, "concurrency": 8, **settings})
            for _ in range(workers)
        ]
        return [run.result() for run in runs]


def at_once(_: Arrival) -> Answer:
    """A video for everybody, after a moment."""
    return Answer(delay_s=0.05)


@contextmanager
def counted_loads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """One entry for each time that a manifest is read into the table, which takes a while."""
    read: list[float] = []

    def load(*arguments: Any) -> Any:
        read.append(time.monotonic())
        time.sleep(0.5)  # a long manifest
        return original(*arguments)

    original: Callable[..., Any] = (
        load_manifest.load
    )  # replaced, as neither table nor file tells how often it was read
    with monkeypatch.context() as patch:
        patch.setattr(load_manifest, "load", load)
        yield read


def count(table: str, column: Any) -> dict[Any, int]:
    """Rows by a column's value."""
    query = select(column, func.count()).group_by(column)
    with Ledger(table) as ledger:
        return {row[0]: row[1] for row in ledger.read(lambda connection: connection.execute(query).all())}


def test_a_manifest_is_read_once_and_its_rows_are_shared(
    table: str, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first reads it, the other two wait and join; each sends some rows, and every row is sent once."""
    with scripted(at_once) as api, counted_loads(monkeypatch) as read:
        reports = together(manifest, 3, results=table, base_url=api.url, api_key="k", concurrency=1)
    assert len(read) == 1
    assert [report.exit_code for report in reports] == [0, 0, 0]
    assert len(api.arrivals) == ROWS
    assert count(table, generations.c.state) == {"queued": ROWS}
    by_run = count(table, attempts.c.run_id)
    assert len(by_run) == 3
    assert sum(by_run.values()) == ROWS


def test_another_manifest_waits_until_the_first_is_read(
    table: str, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that say something else for the same batch are read one after the other, and both count."""
    other = manifest.with_name("other.csv")
    other.write_text(manifest.read_text().replace("row-", "more-"))
    settings = {**QUICK, "results": table, "api_key": "k", "batch": "spring"}
    with scripted(at_once) as api, counted_loads(monkeypatch) as read, ThreadPoolExecutor(2) as threads:
        runs = [threads.submit(reelbatch.generate, path, base_url=api.url, **settings) for path in (manifest, other)]
        for run in runs:
            run.result()
    assert len(read) == 2
    assert abs(read[1] - read[0]) >= 0.5
    assert sum(count(table, generations.c.state).values()) == 2 * ROWS


def test_a_reader_that_fails_is_not_waited_for(table: str, manifest: Path) -> None:
    """A manifest that can't be used blocks no one."""
    broken = manifest.with_name("broken.csv")
    broken.write_text(manifest.read_text().replace("row-001", "row-000"))
    with scripted(at_once) as api:
        common = {"results": table, "base_url": api.url, "api_key": "k", "batch": "spring"}
        with pytest.raises(ManifestError, match="the same key names more than one row"):
            reelbatch.generate(broken, **common)
        assert count(table, loads.c.batch) == {}
        assert reelbatch.generate(manifest, **common).submitted == ROWS


def test_a_reader_that_was_taken_for_dead_changes_nothing_more(table: str) -> None:
    """It staged its manifest, slept past its lease and wakes up: what another has read meanwhile stays as it is."""
    settings = load_settings(options={"results": table, "api_key": "k"})
    with Ledger(table) as ledger:
        wanted = load_entries.Load(Batch("spring"), RunId("sleeper"), "digest", utc_now())
        ledger.change(lambda connection: load_entries.begin(connection, [wanted]))
        ledger.change(lambda connection: connection.execute(loads.update().values(run_id="other")))
        with pytest.raises(load_entries.Overtaken):
            load(
                GenerateOptions(source=pd.DataFrame(ROW), batch="spring"),
                settings,
                ledger,
                LoadFor(check=partial(load_entries.still_mine, item=wanted)),
            )
    assert count(table, generations.c.state) == {}


def test_a_lost_connection_while_a_manifest_is_read_costs_a_second_reading(manifest: Path) -> None:
    """The temporary table went with the connection: the manifest is read again, and every row is sent once."""
    with Gate(postgres_url()) as gate, scripted(at_once) as api:
        gate.cut_at = b"ANALYZE staged"
        report = reelbatch.generate(manifest, results=gate.url, base_url=api.url, api_key="k")
    assert not gate.cut_at
    assert report.submitted == len(api.arrivals) == ROWS


def test_a_dead_reader_is_not_waited_for(table: str, manifest: Path) -> None:
    """A machine that died while it read the manifest holds the others up for a lease at most."""
    with Ledger(table) as ledger:
        dead = {"run_id": "dead", "batch": "spring", "command": "generate", "host": "elsewhere", "user_name": "me"}
        ledger.change(lambda connection: _insert_dead(connection, dead))
    with scripted(at_once) as api:
        report = reelbatch.generate(manifest, results=table, base_url=api.url, api_key="k", lease_s=1.0)
    assert report.submitted == ROWS


def _insert_dead(connection: Any, dead: dict[str, Any]) -> None:
    from reelbatch.ledger import utc_now
    from reelbatch.ledger.schema import runs

    now = utc_now()
    connection.execute(runs.insert().values(**dead, pid=1, pid_started=0.0, started_at=now, heartbeat_at=now))
    connection.execute(loads.insert().values(batch="spring", digest="?", run_id="dead", started_at=now))


def test_a_rate_limit_holds_for_all_together(table: str, manifest: Path) -> None:
    """Two workers at 40 a second start 40 a second between them, not each, and lose next to nothing of it."""
    with scripted(at_once) as api:
        together(manifest, results=table, base_url=api.url, api_key="k", rate_limit=40)
    times = sorted(arrival.at for arrival in api.arrivals)
    assert len(times) == ROWS
    assert times[-1] - times[0] >= (ROWS - 1) / 40 - 0.3
    busiest = max(sum(start <= time_ < start + 0.5 for time_ in times) for start in times)
    assert busiest <= 40 * 0.5 + 2 * 4 + 2  # the half second, a lot of each worker, and what was late before it


def test_a_cap_holds_for_all_together(table: str, manifest: Path) -> None:
    """Three workers spend what one may, to the credit."""
    with scripted(at_once) as api:
        reports = together(manifest, 3, results=table, base_url=api.url, api_key="k", max_credits=20 * PRICE + 1)
    assert len(api.arrivals) == 20
    assert count(table, generations.c.state) == {"queued": 20, "pending": ROWS - 20}
    assert {report.exit_reason for report in reports} <= {"cap", "done"}


def test_a_render_window_holds_for_all_together(table: str, manifest: Path) -> None:
    """Two workers of a plan that renders three at once never have more than three unfinished between them."""
    short = manifest.with_name("short.csv")
    short.write_text("\n".join(manifest.read_text().splitlines()[:13]) + "\n")
    with start(render_seconds=0.15, queue_seconds=0.0, render_video=False) as api, unfinished_watched(api) as seen:
        together(short, results=table, base_url=api.url, api_key=api.key, render_window=3, poll_interval_s=0.1)
    assert sum(count(table, generations.c.state).values()) == 12
    assert 1 <= max(seen) <= 3
