"""A plan that renders few videos at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench import GOOD, Bench, scripted
from watching import unfinished_watched

import reelbatch
from reelbatch.sandbox import start

ROWS = 12


def test_never_more_than_the_plan_s_videos_are_unfinished(tmp_path: Path) -> None:
    """The creator plan renders three at once: `generate` settles as it goes, and all rows get their video."""
    manifest = _manifest(tmp_path, ROWS)
    with start(render_seconds=0.2, queue_seconds=0.0, render_video=False) as api, unfinished_watched(api) as seen:
        report = reelbatch.generate(
            manifest,
            results=f"sqlite:///{tmp_path}/r.db",
            base_url=api.url,
            api_key=api.key,
            tier="creator",
            poll_interval_s=0.1,
        )
    assert report.submitted == ROWS
    assert 1 <= max(seen) <= 3


def test_every_video_of_a_run_that_settles_is_downloaded(tmp_path: Path) -> None:
    """The looks beside the sending save no file, so they end when the last row was sent."""
    with start(render_seconds=0.4, queue_seconds=0.0, render_video=False) as api:
        report = reelbatch.generate(
            _manifest(tmp_path, 2 * ROWS),
            results=f"sqlite:///{tmp_path}/r.db",
            base_url=api.url,
            api_key=api.key,
            render_window=2 * ROWS,
            poll_interval_s=0.02,
            settle=True,
            downloads=str(tmp_path / "videos"),
        )
    assert report.submitted == 2 * ROWS
    assert len(list((tmp_path / "videos").glob("*.mp4"))) == 2 * ROWS


@pytest.mark.parametrize("failed", [0.0, 1.0])
def test_the_videos_of_the_whole_run_are_counted(tmp_path: Path, failed: float) -> None:
    """Also those that were seen to finish while the window had rows wait, with their credits and refunds."""
    with start(render_seconds=0.05, queue_seconds=0.0, render_video=False, render_error_share=failed) as api:
        report = reelbatch.generate(
            _manifest(tmp_path, 2 * ROWS),
            results=f"sqlite:///{tmp_path}/r.db",
            base_url=api.url,
            api_key=api.key,
            render_window=2,
            poll_interval_s=0.05,
            settle=True,
        )
    stats, money = report.settled, report.status.credits
    assert stats is not None
    assert (stats.complete, stats.error) == ((2 * ROWS, 0) if not failed else (0, 2 * ROWS))
    assert (stats.outstanding, stats.unsettled) == (2 * ROWS, 0)
    assert (stats.credits_charged, stats.credits_final) == (report.credits_charged, money.final)
    assert stats.credits_refunded == money.refunded


def test_the_window_is_the_account_s(tmp_path: Path) -> None:
    """Videos of another account in the same table hold no place, and no one asks about them."""
    with scripted(lambda _: GOOD) as api:
        api.accounts = {"key-x": "acc-x", "key-y": "acc-y"}
        for key, rows in (("key-x", 3), ("key-y", 1)):
            bench = Bench(tmp_path, api.url, key)
            api.asked_about.clear()
            report = bench.generate(bench.rows(rows, prompt=f"by {key}"), tier="creator", repeats="send")
            assert (report.sent, report.exit_code) == (rows, 0)
        assert set(api.asked_about) <= {f"vid{4:06}"}


def _manifest(folder: Path, rows: int) -> Path:
    manifest = folder / "m.csv"
    lines = [f"https://img.example/{number}.png,a prompt,5" for number in range(rows)]
    manifest.write_text("\n".join(["image_path,prompt,end_seconds", *lines]))
    return manifest
