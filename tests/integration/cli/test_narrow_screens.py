"""Sixty and eighty columns: states and money are whole, ids and paths make room."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from commands import run_here
from sqlalchemy import insert, update

from reelbatch.domain import SUMS
from reelbatch.ledger import Ledger
from reelbatch.ledger.schema import attempts, batches, generations, runs
from reelbatch.pipeline.load_manifest import load
from reelbatch.pipeline.plan import GenerateOptions
from reelbatch.settings import load_settings

KEYS = [f"SUMMER-2026-LINEN-SHIRT-{n}" for n in range(3)]
VIDEO_ID = "cuid-example-of-a-long-video-id"
CREDITS = 1_234_567


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Three rows with long keys, long ids, long paths and seven figures of money; the folder of the table."""
    rows = [f"{key},https://img.example/{key}.jpg,Pan,2,kling-2.6-pro-with-a-name,480p" for key in KEYS]
    manifest = tmp_path / "spring.csv"
    manifest.write_text("\n".join(["row_key,image_path,prompt,end_seconds,model,resolution", *rows]))
    settings = load_settings(options={"results": f"sqlite:///{tmp_path}/r.db", "base_url": "http://127.0.0.1"})
    with Ledger(settings.results) as ledger:
        load(GenerateOptions(source=str(manifest)), settings, ledger)
        figures = dict.fromkeys(("estimated_frame_cost", "credits_charged", "credits_final"), CREDITS)
        path = f"/somewhere/far/away/{VIDEO_ID}.mp4"
        done = {"state": "complete", "video_id": VIDEO_ID, "video_path": path, "model": "kling", **figures}
        ledger.change(lambda connection: connection.execute(update(generations).values(done)))
        money = [name for name in SUMS if name != "unknown"]
        ledger.change(lambda connection: connection.execute(update(batches).values(dict.fromkeys(money, CREDITS))))
    return tmp_path


def lines_at(folder: Path, columns: int, *options: str, of: str = "status") -> list[str]:
    """What a command prints on a screen of that many columns."""
    ran = run_here(folder, of, "--results", "sqlite:///r.db", *options, COLUMNS=str(columns))
    assert ran.code == 0, ran.err
    return ran.out.splitlines()


@pytest.mark.parametrize("columns", [60, 80])
def test_rows_have_whole_states_and_whole_money(table: Path, columns: int) -> None:
    """Each row on one line; of key, id and path there is what is left."""
    lines = lines_at(table, columns, "--rows", "3")
    rows = [line for line in lines if "SUMMER-" in line]
    assert len(rows) == len(KEYS)
    assert all(line.split()[1:5] == ["complete", *["1,234,567"] * 3] for line in rows)
    assert max(map(len, lines)) <= columns


def test_the_wider_the_screen_the_more_is_said_of_ids_and_paths(table: Path) -> None:
    """The path goes first, then the id, and the key last; at 160 all is there."""
    at = {
        columns: next(line for line in lines_at(table, columns, "--rows", "1") if "SUM" in line)
        for columns in (60, 80, 120, 160)
    }
    shown = {
        columns: [text in line for text in (KEYS[0], VIDEO_ID, f"{VIDEO_ID}.mp4")] for columns, line in at.items()
    }
    assert shown == {60: [False] * 3, 80: [True, False, False], 120: [True, True, False], 160: [True] * 3}


@pytest.mark.parametrize("columns", [60, 80])
def test_credits_are_never_shortened(table: Path, columns: int) -> None:
    """Seven figures for each model; where they do not fit beside each other they stand below each other."""
    lines = lines_at(table, columns, "--credits")
    assert [line.split()[-1] for line in lines[-7:]] == [*["1,234,567"] * 6, "2,469,134"]
    assert "…" not in "".join(lines)
    assert max(map(len, lines)) <= columns


@pytest.fixture
def run(table: Path) -> Path:
    """A run of many credits, by someone with a long name, and charges of it; the folder of the table."""
    at = datetime(2026, 11, 27, 9, 13, tzinfo=UTC)
    run = {"run_id": "r1", "batch": "spring", "command": "generate", "host": "h", "pid": 1, "pid_started": 0.0}
    run |= {"user_name": "someone-with-a-long-name", "started_at": at, "heartbeat_at": at, "ended_at": at}
    run |= {"exit_reason": "same_failure_again_and_again", "max_credits": CREDITS}
    attempt = {"batch": "spring", "generation": 1, "run_id": "r1", "started_at": at, "ended_at": at}
    attempt |= {"outcome": "submitted", "http_status": 200}
    attempt |= dict.fromkeys(("credits_reserved", "credits_charged", "credits_final"), CREDITS)
    made = [attempt | {"token": key, "row_key": key, "video_id": key} for key in KEYS]
    with Ledger(f"sqlite:///{table}/r.db") as ledger:
        ledger.change(lambda connection: connection.execute(insert(runs).values(run)))
        ledger.change(lambda connection: connection.execute(insert(attempts), made))
    return table


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
@pytest.mark.parametrize(
    ("command", "options", "figures"),
    [
        ("runs", (), ["2026-11-27 09:13", "3,703,701", "1,234,567"]),
        ("spend", (), ["2026-11", *["3,703,701"] * 4]),
        ("spend", ("--by", "model"), ["kling", *["3,703,701"] * 4]),
        ("models", (), ["seedance-2.0-fast", "240+48", "90x2", "4, 6"]),
    ],
)
def test_figures_of_every_table_are_whole(
    run: Path, command: str, options: tuple[str, ...], figures: list[str], columns: int
) -> None:
    """However narrow: names are broken, and where that is not enough each line becomes a block; nothing is cut."""
    lines = lines_at(run, columns, *options, of=command)
    shown = "\n".join(lines)
    assert "…" not in shown
    assert all(shown.count(figure) >= figures.count(figure) for figure in figures)
    if command != "models":  # its last lines are sentences
        assert max(map(len, lines)) <= columns
