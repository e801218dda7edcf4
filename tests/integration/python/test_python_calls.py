"""`import reelbatch`: each command as a call, with the command's own parameters, beside a running event loop too."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from dataclasses import FrozenInstanceError
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import reelbatch
from reelbatch.domain import RowState
from reelbatch.errors import LedgerUnusable, SettingsError, UsageError
from reelbatch.pipeline.generate import assignment, submit_all
from reelbatch.pipeline.load_manifest import load_manifest
from reelbatch.pipeline.notebook import NotebookProgress
from reelbatch.pipeline.plan import GenerateOptions, Plan
from reelbatch.pipeline.resources import opened_ledger
from reelbatch.pipeline.run_context import open_run
from reelbatch.sandbox import RunningSandbox, start
from reelbatch.settings import load_settings

CALLS = {"plan", "generate", "rerun", "settle", "status", "reconcile", "export", "results", "create"}
EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture
def at(running: RunningSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Where everything is."""
    monkeypatch.chdir(tmp_path)
    return {"base_url": running.url, "api_key": running.key, "results": f"sqlite:///{tmp_path}/r.db"}


def _frame(*prompts: str, seconds: int = 2) -> pl.DataFrame:
    numbers = range(len(prompts))
    return pl.DataFrame(
        {
            "row_key": [f"K{number}" for number in numbers],
            "image_path": [f"https://x.test/{number}.png" for number in numbers],
            "prompt": prompts,
            "end_seconds": [seconds] * len(prompts),
            "model": ["ltx-2.3"] * len(prompts),
        }
    )


def test_what_is_offered_shows_before_it_is_imported() -> None:
    """In `dir` and so in a notebook's completion; importing the package imports none of what it offers."""
    script = (
        "import json, sys, reelbatch; heavy = ('reelbatch', 'pandas', 'sqlalchemy')\n"
        "print(json.dumps([dir(reelbatch), [name for name in sys.modules if name.split('.')[0] in heavy]]))"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    names, loaded = json.loads(shown)
    assert set(names) >= CALLS | {"Client"}
    assert loaded == ["reelbatch"]


def test_settle_stays_a_function() -> None:
    """Although a package of this name is imported by most calls; what is in that is found all the same."""
    from reelbatch.settle import Settler  # noqa: F401 - puts the package in the function's place, where it can

    assert callable(reelbatch.settle)
    assert reelbatch.settle.__name__ == "settle"
    with pytest.raises(AttributeError, match="no attribute 'setle'"):
        _ = reelbatch.setle


def test_the_whole_way_from_a_polars_frame_to_an_export(at: dict[str, Any], tmp_path: Path) -> None:
    """Plan, generate, settle, status, export and results say the same of the same rows."""
    frame = _frame("Pan", "Orbit")
    assert reelbatch.plan(frame, batch="spring", **at).send == 2
    report = reelbatch.generate(frame, batch="spring", **at)
    assert (report.submitted, report.exit_code) == (2, 0)
    settled = reelbatch.settle("spring", **at)
    assert (settled.complete, settled.exit_code, settled.credits_final) == (2, 0, report.credits_charged)
    status = reelbatch.status(results=at["results"])
    assert (len(status), status["spring"].rows, status.as_json()["batches"][0]["states"]["complete"]) == (1, 2, 2)
    exported = reelbatch.export(tmp_path / "out.csv", "spring", results=at["results"])
    assert (exported.rows, (tmp_path / "out.csv").read_text().count("\n")) == (2, 3)
    failed = reelbatch.export(tmp_path / "failed.csv", "spring", states=["error", "rejected"], results=at["results"])
    assert (failed.rows, (tmp_path / "failed.csv").read_text().count("\n")) == (0, 1)
    assert reelbatch.export(tmp_path / "out.csv", states="complete", results=at["results"]).rows == 2
    with pytest.raises(SettingsError, match=r'states "done": rows are in one of'):
        reelbatch.export(tmp_path / "out.csv", states="done", results=at["results"])
    assert list(reelbatch.results(at["results"], "spring")["state"]) == ["complete", "complete"]
    file = Path(at["results"].removeprefix("sqlite:///"))
    assert len(reelbatch.results(file, "spring")) == len(reelbatch.results(str(file))) == 2
    assert reelbatch.plan(frame, batch="spring", **at).send == 0


def test_without_a_key_no_table_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on the command line: what can't be used leaves nothing behind."""
    monkeypatch.delenv("MAGIC_HOUR_API_KEY", raising=False)
    with pytest.raises(SettingsError, match="There is no API key"):
        reelbatch.generate(_frame("Pan"), batch="spring", results=f"sqlite:///{tmp_path}/new.db")
    assert list(tmp_path.glob("new.db*")) == []


async def test_all_of_it_works_beside_a_running_event_loop(at: dict[str, Any]) -> None:
    """As in a notebook, whose own loop runs already."""
    assert asyncio.get_running_loop().is_running()
    assert reelbatch.generate(_frame("Pan"), batch="loop", **at).submitted == 1
    assert reelbatch.settle("loop", **at).complete == 1
    assert reelbatch.reconcile("loop", **at).exit_code == 0


def test_failed_and_doubtful_rows(at: dict[str, Any]) -> None:
    """A doubt is listed, decided and taken back; of rows that failed `dry_run` says which, and then only those go."""
    faults = {
        "render_error_share": 1.0,
        "queue_seconds": 0,
        "render_seconds": 0,
        "faults": {"script": ["lost_after"]},
    }
    with start(**faults) as troubled:
        there = {**at, "base_url": troubled.url, "api_key": troubled.key}
        first = reelbatch.generate(_frame("Pan", "Orbit"), batch="failed", concurrency=1, **there)
        assert (first.submitted, first.exit_code) == (1, 1)
        doubt = reelbatch.reconcile(**there).in_doubt[0]
        young = reelbatch.reconcile(row=doubt.row_key, not_created=True, **there)
        assert "look again after 300 s" in str(young.resolved[0].problem)
        assert repr(young).endswith("in_doubt=1, resolved=0, problems=1>")
        decided = reelbatch.reconcile(row=[doubt.row_key], not_created=True, now=True, **there)
        assert decided.exit_code == 0
        assert repr(decided).endswith("in_doubt=0, resolved=1, problems=0>")
        assert len(reelbatch.reconcile("failed", undo=True, **there).in_doubt) == 1
        assert reelbatch.settle(**there).error == 1
        assert reelbatch.rerun(dry_run=True, **there).send == 1
        assert reelbatch.rerun("failed", state="error", **there).sent == 1


def test_what_contradicts_itself_is_refused(at: dict[str, Any]) -> None:
    """By the names of the call's own parameters, before anything is opened."""
    for said, why in (
        ({"row": "K0"}, "video_id=… or not_created=True"),
        ({"video_id": "v"}, "row says which row"),
        ({"row": ["a", "b"], "video_id": "v"}, "one row"),
        ({"row": "a", "video_id": "v", "not_created": True}, "video_id and not_created can't be meant together"),
        ({"now": True}, "now goes with"),
    ):
        with pytest.raises(SettingsError, match=why):
            reelbatch.reconcile(**said, **at)
    for call in (reelbatch.rerun, reelbatch.settle, reelbatch.reconcile, reelbatch.status):
        with pytest.raises(LedgerUnusable, match="there is no results table yet"):
            call(**at)


@pytest.mark.parametrize("limit", [-1, 1.5, "2", True])
def test_a_limit_that_is_none_is_refused(at: dict[str, Any], limit: Any) -> None:
    """By each call that takes one, alike, and before anything is opened."""
    rows = [_frame("Pan")]
    for call, source in ((reelbatch.plan, rows), (reelbatch.generate, rows), (reelbatch.rerun, [])):
        with pytest.raises(SettingsError, match="rows are counted from 0 on"):
            call(*source, limit=limit, **at)


def test_videos_that_have_nowhere_to_go_are_said_before_anything_is_sent(at: dict[str, Any], tmp_path: Path) -> None:
    """A run that settles is refused for a folder that can't be made, and has paid for nothing."""
    (tmp_path / "file").touch()
    where = {**at, "batch": "nowhere", "downloads": str(tmp_path / "file")}
    with pytest.raises(SettingsError, match="The videos can't be put into"):
        reelbatch.generate(_frame("Pan"), settle=True, **where)
    assert len(reelbatch.status(results=at["results"])) == 0
    assert reelbatch.generate(_frame("Pan"), **where).submitted == 1


def test_a_plan_takes_what_generate_takes(at: dict[str, Any]) -> None:
    """A pilot is planned before it is paid for; a sample of no whole number of rows is refused."""
    rows = _frame("Pan", "Orbit", "Zoom")
    planned = reelbatch.plan(rows, pilot=2, settle=True, **at)
    assert (planned.pilot, planned.announced.rows) == (2, 2)
    for pilot in (0, 2.5, "2", True):
        for call in (reelbatch.plan, reelbatch.generate):
            with pytest.raises(SettingsError, match="a sample has 1 to 1,000 rows"):
                call(rows, pilot=pilot, **at)


def test_what_is_called_json_is_json(at: dict[str, Any]) -> None:
    """Of each answer, times included: as the command line prints it, it can be written down."""
    with start(render_video=False, faults={"script": ["lost_after"]}) as api:
        where = {**at, "base_url": api.url, "api_key": api.key}
        answers = [
            reelbatch.generate(_frame("Pan", "Orbit"), batch="odd", concurrency=1, **where),
            reelbatch.settle("odd", **where),
            reelbatch.status(results=where["results"]),
            reelbatch.reconcile(results=where["results"]),
            reelbatch.rerun("odd", dry_run=True, results=where["results"]),
            reelbatch.plan(_frame("Pan"), batch="odd", results=where["results"]),
        ]
    said = [json.loads(json.dumps(answer.as_json())) for answer in answers]
    assert said[2]["batches"][0]["last_run"]["started_at"] < said[3]["in_doubt"][0]["since"]


def test_keys_that_are_numbers_are_named_as_numbers(at: dict[str, Any]) -> None:
    """As a column of a frame has them: 2 and 2.0 mean the key `2`; a number that is no key is said."""
    rows = _frame("Pan", "Orbit").with_columns(row_key=pl.Series([1, 2]))
    assert reelbatch.generate(rows, batch="numbers", **at).submitted == 2
    assert reelbatch.settle("numbers", **at).complete == 2
    assert reelbatch.plan(rows, batch="numbers", regenerate="all", rows=[2.0], **at).send == 1
    assert reelbatch.rerun("numbers", rows=[1, 2], dry_run=True, **at).send == 0
    for call in (reelbatch.rerun, lambda **given: reelbatch.plan(rows, batch="numbers", regenerate="all", **given)):
        with pytest.raises(UsageError, match="no row with the key 3"):
            call(rows=[3], **at)


def test_a_batch_may_be_named_by_a_number(at: dict[str, Any]) -> None:
    """As a year or an id of a campaign is at hand: it is the text of it."""
    assert reelbatch.generate(_frame("Pan"), batch=2026, **at).batch == "2026"
    assert reelbatch.settle(2026, **at).complete == 1
    assert [each.batch for each in reelbatch.status(2026, **at).batches] == ["2026"]
    assert reelbatch.status(2026, by_model=True, **at)["2026"].rows == 1
    assert reelbatch.export("out.csv", 2026, **at).rows == len(reelbatch.results(at["results"], 2026)) == 1
    with pytest.raises(SettingsError, match='`batch` "2025": the results table has no such batch'):
        reelbatch.status(2025, **at)


def test_paths_may_be_of_pathlib(at: dict[str, Any], tmp_path: Path) -> None:
    """As settings too, and a table whose name says that it is one."""
    places = {"results": tmp_path / "r.db", "downloads": Path("videos"), "export": Path("out.csv")}
    report = reelbatch.generate(_frame("Pan"), batch="paths", settle=True, **{**at, **places})
    assert report.status.count(RowState.COMPLETE) == 1
    assert len(list((tmp_path / "videos").iterdir())) == 1
    assert len(reelbatch.status(results=Path("r.db"))) == 1


def test_numbers_may_be_of_numpy(at: dict[str, Any]) -> None:
    """As the sum of a column and a cell of a row are."""
    rows = _frame("Pan", "Orbit", "Zoom")
    assert reelbatch.plan(rows, pilot=np.int64(2), **at).pilot == 2
    assert reelbatch.generate(rows, batch="counted", limit=np.int64(2), max_credits=np.int64(10**6), **at).sent == 2
    assert reelbatch.rerun("counted", limit=np.int64(1), **at).sent == 0
    image = "https://x.test/one.png"
    where = {"base_url": at["base_url"], "api_key": at["api_key"]}
    assert reelbatch.create(image_path=image, prompt="Pan", end_seconds=np.int64(5), **where).id
    with pytest.raises(TypeError, match="Decimal is no text, number or truth value, and can't be sent"):
        reelbatch.create(image_path=image, prompt="Pan", end_seconds=Decimal(5), **where)


def test_one_row_may_be_named_without_a_list(at: dict[str, Any]) -> None:
    """A text is one key, and never the keys of its letters."""
    reelbatch.generate(_frame("Pan", "Orbit"), batch="named", **at)
    assert reelbatch.settle("named", **at).complete == 2
    assert reelbatch.plan(_frame("Pan", "Orbit"), batch="named", regenerate="all", rows="K1", **at).send == 1
    with pytest.raises(UsageError, match="no row with the key 7"):
        reelbatch.reconcile("named", row=7, not_created=True, **at)


def test_reports_are_frozen_and_show_text_as_text(at: dict[str, Any]) -> None:
    """A name, a key or a message from outside is never HTML, and a report's line is one line."""
    plan = reelbatch.plan(_frame("", EVIL), batch="a&b", **at)
    report = reelbatch.generate(_frame(EVIL), batch="a&b", **at)
    for shown in (
        plan,
        report,
        report.status,
        reelbatch.status(**at),
        reelbatch.settle(**at),
        reelbatch.reconcile(**at),
    ):
        html = shown._repr_html_()
        assert html.startswith("<table>")
        assert "<img" not in html
        assert "a&b" not in html
        assert len(repr(shown).splitlines()) == 1
    assert "problems" not in repr(plan)
    assert "prompt" in plan._repr_html_()
    with pytest.raises(FrozenInstanceError):
        plan.send = 3
    bad = Plan(
        **{**{name: getattr(plan, name) for name in plan.__dataclass_fields__}, "problems": [EVIL], "manifest": EVIL}
    )
    assert "&lt;img" in bad._repr_html_()
    assert "<img" not in bad._repr_html_()


class _Output:
    """One output of a notebook's cell, and all that was shown in it."""

    def __init__(self, text: str) -> None:
        self.said = [text]

    def update(self, obj: dict[str, str], **_: Any) -> None:
        self.said.append(obj["text/plain"])


async def test_progress_has_one_output_that_is_replaced(at: dict[str, Any]) -> None:
    """However long the run, and the last line stays; one that can't be shown is no reason to end the run."""
    outputs: list[_Output] = []

    def show(text: str) -> _Output:
        outputs.append(_Output(text))
        return outputs[-1]

    def broken(text: str) -> _Output:
        raise ConnectionError(text)

    settings = load_settings(options=at)
    for batch, way in (("shown", show), ("unseen", broken)):
        options = GenerateOptions(source=_frame(*[f"Pan over {batch}"] * 3), batch=batch)
        with opened_ledger(settings) as ledger:
            async with (
                NotebookProgress(way).watching(),
                open_run(ledger, settings, assignment(options, settings)) as run,
            ):
                await load_manifest(run, options)
                await submit_all(run, limit=None)
                assert run.stats.submitted == 3
    assert len(outputs) == 1
    assert outputs[0].said[-1].startswith("3/3 rows")
    assert len(set(outputs[0].said)) == len(outputs[0].said)
