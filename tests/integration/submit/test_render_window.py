"""A plan that renders few videos at once."""

from __future__ import annotations

from pathlib import Path

from watching import unfinished_watched

import reelbatch
from reelbatch.sandbox import start

ROWS = 12


def test_never_more_than_the_plan_s_videos_are_unfinished(tmp_path: Path) -> None:
    """The creator plan renders three at once: `generate` settles as it goes, and all rows get their video."""
    manifest = tmp_path / "m.csv"
    lines = [f"https://img.example/{number}.png,a prompt,5" for number in range(ROWS)]
    manifest.write_text("\n".join(["image_path,prompt,end_seconds", *lines]))
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
