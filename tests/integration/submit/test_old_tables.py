"""Results tables of older versions, in mid-batch: today's code finishes them, and pays for nothing again."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from bench import QUICK, Answer, Arrival, Bench, scripted

import reelbatch
from reelbatch.domain import Batch
from reelbatch.ledger import Ledger, queries, utc_now
from reelbatch.ledger.columns import VERSION
from reelbatch.ledger.due import TakeUnrefunded, take_unrefunded
from reelbatch.submit import ExitReason

GOLDEN = Path(__file__).parents[2] / "golden"
DATA = Path(__file__).parents[3] / "data"
SPRING = Batch("spring")
COLUMNS = ["row_key", "image_path", "prompt", "end_seconds", "model", "resolution"]
ROWS = [
    ("done-local", "images/teapot.jpg", "Pan over the teapot"),
    ("done-url", "https://images.example.com/1.png", "Pan 1"),
    ("failed", "https://images.example.com/2.png", "Pan 2 fails"),
    ("refused", "https://images.example.com/3.png", "Pan 3 refused"),
    ("doubtful", "https://images.example.com/4.png", "Pan 4 lost"),
    ("waiting", "https://images.example.com/5.png", "Pan 5"),
    ("rendering", "https://images.example.com/6.png", "Pan 6"),
]


@pytest.fixture(params=sorted(path.name for path in GOLDEN.glob("version-*.sql")))
def old(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a table that an earlier version of the schema wrote."""
    with closing(sqlite3.connect(tmp_path / "r.db")) as connection:
        connection.executescript((GOLDEN / request.param).read_text(encoding="utf-8"))
    monkeypatch.chdir(DATA)
    return f"sqlite:///{tmp_path}/r.db"


def manifest(rename: str = "") -> pd.DataFrame:
    """The manifest that the table was made from."""
    rows = [(f"{rename}{key}", image, prompt, 2, "ltx-2.3", "480p") for key, image, prompt in ROWS]
    return pd.DataFrame(rows, columns=COLUMNS)


def states(url: str) -> dict[str, str]:
    """Where the rows stand."""
    frame = reelbatch.results(url, SPRING)
    return dict(zip(frame["row_key"], frame["state"], strict=True))


def test_what_was_done_and_paid_for_stays(old: str) -> None:
    """Rows, ids and money are as they were; the sums are what the attempts add up to."""
    with Ledger(old) as ledger:
        money = ledger.read(lambda connection: queries.credits_of(connection, SPRING))
        assert money == ledger.read(lambda connection: queries.added_up(connection, SPRING))
        assert (money.charged, money.in_doubt) == (144, 48)
    frame = reelbatch.results(old, SPRING)
    assert list(frame["generation"]) == [1] * len(ROWS)
    assert frame["video_id"].notna().sum() == 3


def test_the_batch_is_finished_and_nothing_is_sent_twice(old: str) -> None:
    """Rows that waited are sent; those that are done, refused or in doubt are left."""
    with scripted(lambda _: Answer()) as api:
        report = reelbatch.generate(
            manifest(), batch=SPRING, results=old, base_url=api.url, api_key="sandbox", **QUICK
        )
        assert sorted(arrival.name.split()[0] for arrival in api.arrivals) == ["rendering", "waiting"]
    assert report.exit_code == 1  # one row is in doubt, one refused
    assert list(states(old).values()).count("queued") == 2
    assert states(old)["doubtful"] == "in_doubt"


def test_a_video_beside_its_row_is_followed_from_now_on(old: str, tmp_path: Path) -> None:
    """Its id came when the row had another one, and no version of before looked at it again."""
    known = "batch, row_key, run_id, started_at, ended_at, outcome, credits_reserved, credits_charged"
    with closing(sqlite3.connect(tmp_path / "r.db")) as connection, connection:
        connection.execute(
            f"INSERT INTO attempts (token, video_id, {known}) SELECT 'rb_beside', 'beside', {known} "  # noqa: S608 - ours
            "FROM attempts WHERE row_key = 'done-url'"
        )
    with Ledger(old) as ledger:
        item = TakeUnrefunded((SPRING,), utc_now(), 10, timedelta(seconds=5))
        assert [row.video_id for row in ledger.change(partial(take_unrefunded, items=[item]))[0]] == ["beside"]


def test_rows_whose_images_have_addresses_are_known_under_other_names(old: str) -> None:
    """What was paid for before there were hashes of requests is held all the same."""
    with scripted(lambda _: Answer()) as api:
        report = reelbatch.generate(
            manifest("new-")[1:5], batch=SPRING, results=old, base_url=api.url, api_key="sandbox", **QUICK
        )
    assert sorted(held.row_key for held in report.held) == ["new-done-url", "new-doubtful", "new-failed"]
    assert report.sent == 1


def test_an_older_table_has_the_columns_of_a_new_one(old: str, tmp_path: Path) -> None:
    """Every table has each column under its name of today, whichever version made it."""
    Ledger(old).close()
    new = f"sqlite:///{tmp_path}/new.db"
    Ledger(new).close()
    assert columns(tmp_path / "r.db") == columns(tmp_path / "new.db")


def columns(path: Path) -> dict[str, set[str]]:
    """The names of the columns by table and view."""
    with closing(sqlite3.connect(path)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type <> 'index'")]
        return {name: {row[1] for row in connection.execute(f"PRAGMA table_info({name})")} for name in names}


def test_each_earlier_version_has_its_golden_table() -> None:
    """With a new version the table of the one before is added here."""
    assert {path.name for path in GOLDEN.iterdir()} == {f"version-{number}.sql" for number in range(1, VERSION)}


async def test_a_worker_whose_table_was_migrated_meanwhile_stops_with_a_clear_message(tmp_path: Path) -> None:
    """What is in flight is recorded, nothing more is sent, and the rows wait for a newer worker."""

    def migrated(arrival: Arrival) -> Answer:
        if arrival.number == 1:  # while this create is under way
            with closing(sqlite3.connect(tmp_path / "results.db", isolation_level=None)) as connection:
                connection.execute("UPDATE reelbatch_schema SET version = ?", (VERSION + 1,))
        return Answer()

    with scripted(migrated) as api:
        bench = Bench(tmp_path, api.url)
        with Ledger(bench.results) as ledger:
            report = await bench.run(ledger, bench.rows(3), concurrency=1)
        assert len(api.arrivals) == 1
    assert report.exit_reason is ExitReason.LEDGER_FAILED
    assert report.message is not None
    assert report.message.startswith("a newer Reelbatch has migrated the results table")
    with closing(sqlite3.connect(tmp_path / "results.db")) as connection:
        found = connection.execute("SELECT state FROM generations ORDER BY row_number").fetchall()
    assert [state for (state,) in found] == ["queued", "pending", "pending"]
