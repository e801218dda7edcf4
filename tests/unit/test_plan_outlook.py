"""What `plan` says of the run to come: its requests, its time, how far the cap reaches; and that it reads."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from commands import Ran, run_here
from rich.console import Console

from reelbatch.cli.plan_text import ReadingLine
from reelbatch.ledger.selection import Action
from reelbatch.ledger.staging import ActionCount
from reelbatch.pipeline.duration import about, duration

URL = "https://x.test/a.png"


def planned(folder: Path, config: str, *options: str, **columns: Any) -> Ran:
    """What `plan` says of these rows."""
    rows = pd.DataFrame({"image_path": URL, "prompt": "Pan", "end_seconds": 5, "model": "ltx-2.3", **columns})
    rows.assign(resolution="480p").to_csv(folder / "m.csv", index=False)
    (folder / "c.yaml").write_text(config)
    return run_here(folder, "plan", "m.csv", "--config", "c.yaml", *options)


def test_the_first_requests_are_shown_as_they_would_be_sent(tmp_path: Path) -> None:
    """Defaults, template and mapping are in; signs stand for upload and token; no signature is shown."""
    config = (
        "manifest:\n  columns: {image_path: Photo}\n  prompt_template: 'Pan over {title}'\n"
        "  defaults: {end_seconds: 5, model: ltx-2.3, resolution: 480p}\n"
    )
    (tmp_path / "c.yaml").write_text(config + "image_checks: warn\n")
    addresses = [f"{URL}?signature=hush", "s3://shop/b.png", "api-assets/c.png", URL]
    rows = pd.DataFrame({"row_key": list("abcd"), "Photo": addresses, "title": ["Pot", "Jug", "Cup", "Pan"]})
    rows.to_csv(tmp_path / "m.csv", index=False)
    said = run_here(tmp_path, "plan", "m.csv", "--config", "c.yaml", "--json")
    requests = json.loads(said.out)["requests"]
    assert [request["assets"]["image_file_path"] for request in requests] == [
        f"{URL}?…",
        "<upload of s3://shop/b.png>",
        "api-assets/c.png",
    ]
    assert requests[1] == {
        "assets": {"image_file_path": "<upload of s3://shop/b.png>"},
        "end_seconds": 5.0,
        "model": "ltx-2.3",
        "name": "b <token>",
        "resolution": "480p",
        "style": {"prompt": "Pan over Jug"},
    }
    text = run_here(tmp_path, "plan", "m.csv", "--config", "c.yaml").out
    assert "The first 3 requests, as sent (files of images are uploaded before):" in text
    assert '"prompt": "Pan over Jug"' in text
    assert "hush" not in text + said.out


def test_only_requests_that_the_run_sends_are_shown(tmp_path: Path) -> None:
    """With a limit no more than it, and of a pilot its sample; in text and in JSON."""
    images = [f"https://x.test/{number}.png" for number in range(40)]
    columns = {"row_key": range(40), "image_path": images}
    said = planned(tmp_path, "concurrency: 1", "--limit", "1", **columns).out
    assert "The first request, as sent" in said
    assert said.count("end_seconds") == 1
    pilot = json.loads(planned(tmp_path, "concurrency: 1", "--pilot", "2", "--json", **columns).out)
    assert len(pilot["requests"]) == pilot["pilot_cost"]["rows"] == 2


def test_what_a_request_holds_does_not_act_on_the_terminal(tmp_path: Path) -> None:
    """Marks, colours and control signs of a prompt are text."""
    said = planned(tmp_path, "concurrency: 1", row_key=["a"], prompt="[bold]x[/] \x1b[31m \x9b1m").out
    assert "[bold]x[/]" in said
    assert not {"\x1b", "\x9b"} & set(said)


def test_nothing_to_send_shows_no_request(tmp_path: Path) -> None:
    """Rows that are invalid are no requests."""
    said = planned(tmp_path, "tier: creator", row_key=["a"], image_path="none.png")
    assert "request" not in said.out
    assert "Time:" not in said.out


@pytest.mark.parametrize(
    ("cap", "said"),
    [(650, "covers 5 of 6 rows"), (720, "covers all 6 rows"), (119, "covers 0 of 6 rows")],
)
def test_how_far_the_cap_reaches(tmp_path: Path, cap: int, said: str) -> None:
    """In rows, in the order in which they are sent; in JSON with the credits."""
    options = ("--max-credits", str(cap))
    assert (
        f"  what is left of it {said}\n" in planned(tmp_path, "concurrency: 1", *options, row_key=list("abcdef")).out
    )
    made = json.loads(run_here(tmp_path, "plan", "m.csv", "--config", "c.yaml", *options, "--json").out)
    covers = made["cap"]["covers"]
    assert (made["cap"]["left"], covers["of"], covers["credits"]) == (cap, 6, covers["rows"] * 120)


def test_a_pilots_cap_and_time_are_those_of_its_sample(tmp_path: Path) -> None:
    """Not of the rows that it leaves."""
    said = planned(tmp_path, "render_window: 1", "--pilot", "3", "--max-credits", "360", row_key=list("abcdefgh")).out
    assert "  what is left of it covers all 3 rows\n" in said
    assert "Time: window 1: about 4 min (assumed 1 min 14 s a video)\n" in said


def test_how_far_a_budget_reaches_is_said_without_asking_the_api(tmp_path: Path) -> None:
    """From the table alone, which has nothing yet; what was spent counts, once one account has paid for it."""
    config = "budget: {credits: 250, per: day, timezone: UTC}"
    assert "credits used (0 %), 250 left until" in (said := planned(tmp_path, config, row_key=list("abc"))).out
    assert "(UTC): covers 2 of 3 rows\n" in said.out
    assert "Budget" not in planned(tmp_path, "concurrency: 1", row_key=["a"]).out
    (tmp_path / "c.yaml").write_text(config)
    made = json.loads(run_here(tmp_path, "plan", "m.csv", "--config", "c.yaml", "--json").out)
    budget = made["budget"]
    assert (budget["credits"], budget["left"], budget["covers"]["rows"]) == (250, 250, 1)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("tier: creator", "Time: window 3 (tier creator): about 4 min (assumed 1 min 14 s a video)\n"),
        ("tier: creator\nrender_window: 1", "Time: window 1: about 11 min (assumed 1 min 14 s a video)\n"),
    ],
)
def test_how_long_a_run_takes_at_the_window(tmp_path: Path, config: str, said: str) -> None:
    """Nine videos, three or one at a time; without a window nothing is said."""
    assert said in planned(tmp_path, config, row_key=list("abcdefghi")).out
    assert "Time:" not in planned(tmp_path, "tier: business", row_key=["a"]).out
    assert "Time:" not in planned(tmp_path, "concurrency: 1", row_key=["a"]).out


def test_what_videos_took_before_counts_for_their_kind() -> None:
    """The rest is assumed, and said to be; no run is shorter than its longest video."""
    sends = [ActionCount.of(Action.SEND, "a", 48, 10), ActionCount.of(Action.SEND, "b", None, 2)]
    mixed = duration(sends, {("a", 48): 30.0}, 2, "creator")
    assert mixed is not None
    assert (mixed.seconds, mixed.assumed) == (224, 2)
    known = duration(sends[:1], {("a", 48): 30.0}, 100, None)
    assert known is not None
    assert (known.seconds, str(known)) == (30, "window 100: about 1 min")
    assert duration([], {}, 3, None) is None


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (20, "about 1 min"),
        (1500, "about 25 min"),
        (3599, "about 60 min"),
        (24_667, "about 6 h 50 min"),
        (7_199, "about 2 h"),
        (280_000, "about 3 days 6 h"),
    ],
)
def test_a_time_is_as_exact_as_it_is_known(seconds: int, said: str) -> None:
    """Minutes, then tens of minutes, then hours."""
    assert about(seconds) == said


def test_a_long_manifest_says_that_it_is_read() -> None:
    """On a terminal, with the rows so far; the line is gone at the end, and a short manifest has none."""
    screen = io.StringIO()
    for patience, batches, shown in ((3600.0, 3, False), (0.0, 1, False), (0.0, 2, True)):
        line = ReadingLine(Console(file=screen, force_terminal=True, width=80), patience)
        for rows in range(1, batches + 1):
            line(rows * 60_000)
        line.close()
        assert ("reading the manifest: 120,000 rows" in screen.getvalue()) is shown
    assert screen.getvalue().endswith("\x1b[2K")


def test_no_such_line_is_written_into_a_file(tmp_path: Path) -> None:
    """Where standard error is no terminal."""
    assert "reading" not in planned(tmp_path, "concurrency: 1", row_key=["a"]).err
