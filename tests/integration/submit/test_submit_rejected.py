"""Videos that reviewers rejected are made again: those alone, once each, and the first ones stay."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from bench import GONE, PRICE, Answer, Bench, ScriptedApi, scripted
from commands import run_here
from databases import postgres_url
from sqlalchemy import select, update

import reelbatch
from reelbatch.domain import Batch, ReviewVerdict, RowKey, RunId
from reelbatch.errors import ManifestError, OrderOpen, SettingsError
from reelbatch.ledger import Ledger, orders, rejected, utc_now, verdicts
from reelbatch.ledger.rejected import RejectedVideos
from reelbatch.ledger.schema import generations
from reelbatch.ledger.verdicts import Said
from reelbatch.pipeline.advice import advice
from reelbatch.pipeline.run_summary import RunReport

SUFFIX, OTHER, RATE = "soft light", "ltx-2", 30
FIRST, SECOND, THIRD = (f"spring-{number:03}" for number in (1, 2, 3))


@pytest.fixture
def api() -> Iterator[ScriptedApi]:
    """An API that takes everything."""
    with scripted(lambda _: Answer()) as taking:
        yield taking


BOTH = pytest.mark.parametrize("bench", ["sqlite", "postgres"], indirect=True)
"""For tests of what the databases do, each in its own way."""


@pytest.fixture
def bench(request: pytest.FixtureRequest, tmp_path: Path, api: ScriptedApi) -> Bench:
    """Three finished videos, of which the first two were rejected."""
    database = postgres_url() if getattr(request, "param", "sqlite") == "postgres" else ""
    bench = Bench(tmp_path, api.url, batch="spring", database=database)
    bench.generate(bench.rows(3))
    finish(bench)
    for key, verdict in ((FIRST, "rejected"), (SECOND, "rejected"), (THIRD, "approved")):
        judge(bench, key, verdict)
    return bench


def finish(bench: Bench, state: str = "complete") -> None:
    """All videos are rendered, or fail."""
    done = update(generations).where(generations.c.state == "queued").values(state=state)
    with Ledger(bench.results) as ledger:
        ledger.change(lambda connection: connection.execute(done))


def judge(bench: Bench, key: str, verdict: str, generation: int = 1) -> None:
    """A reviewer says so of a video."""
    video = (Batch(bench.batch), RowKey(key), generation)
    said = Said(video=video, verdict=ReviewVerdict(verdict), note=None, by="anna", at=utc_now())
    with Ledger(bench.results) as ledger:
        assert ledger.change(partial(verdicts.say, said=said))


def again(bench: Bench, **options: Any) -> RunReport:
    """`rerun --verdict rejected`, as from a script."""
    return reelbatch.rerun(**{"verdict": "rejected", **options, **bench.settings()})


def lines(bench: Bench, key: str) -> list[dict[str, Any]]:
    """All videos of a row."""
    g = generations.c
    query = select(generations).where(g.row_key == key).order_by(g.generation)
    with Ledger(bench.results) as ledger:
        return ledger.read(lambda found: [dict(line) for line in found.execute(query).mappings()])


def sent_after(api: ScriptedApi, first: int) -> list[dict[str, Any]]:
    """The bodies of the creates after the first ones."""
    return [arrival.body for arrival in api.arrivals[first:]]


@BOTH
def test_rejected_videos_alone_are_made_again_and_only_once(bench: Bench, api: ScriptedApi) -> None:
    """The same command pays for nothing more, before the new videos are judged and after they are approved."""
    assert again(bench).sent == 2
    assert [len(lines(bench, key)) for key in (FIRST, SECOND, THIRD)] == [2, 2, 1]
    assert again(bench).sent == 0
    finish(bench)
    assert again(bench).sent == 0
    judge(bench, FIRST, "approved", generation=2)
    assert again(bench).sent == 0
    judge(bench, SECOND, "rejected", generation=2)
    assert again(bench).sent == 1
    assert len(api.arrivals) == 3 + 2 + 1


def test_rejected_variants_beside_an_approved_one_are_counted_before_anyone_is_asked(
    api: ScriptedApi, tmp_path: Path
) -> None:
    """They may not be wanted any more: a product has its winner. `--rows` chooses."""
    bench = Bench(tmp_path, api.url, batch="spring")
    bench.generate(bench.rows(5, row_key=["TEA#a", "TEA#b", "OAK#a", "OAK#b", "MUG"]))
    finish(bench)
    for key in ("TEA#a", "OAK#a", "OAK#b", "MUG"):
        judge(bench, key, "rejected")
    judge(bench, "TEA#b", "approved")
    asked = ("rerun", "--verdict", "rejected", "--dry-run", "--results", bench.results)
    assert (plan := json.loads(run_here(tmp_path, *asked, "--json").out))["send"] == 4
    assert plan["of_decided"] == 1
    assert "1  variants of products that have an approved one; --rows" in run_here(tmp_path, *asked).out
    assert json.loads(run_here(tmp_path, *asked, "--rows", "OAK#a,OAK#b", "--json").out)["of_decided"] == 0


def test_what_is_made_again_is_shown_in_dollars_where_a_rate_is_stated(bench: Bench) -> None:
    """As `plan` does: for a person before anything is sent, and in the JSON."""
    (bench.folder / "rate.yaml").write_text("dollars_per_credit: 0.5\n")
    asked = ("rerun", "--verdict", "rejected", "--dry-run", "--results", bench.results, "--config", "rate.yaml")
    cost = f"Estimated cost: {2 * PRICE} credits (about ${PRICE:,.2f})"
    assert cost in run_here(bench.folder, *asked).out
    assert json.loads(run_here(bench.folder, *asked, "--json").out)["dollars"] == PRICE


def test_rows_that_were_never_sent_are_left_to_generate(bench: Bench) -> None:
    """`rerun --verdict rejected` again makes videos of rejected ones, never those; nor does `generate --rows`."""
    bench.generate(bench.rows(5), limit=0)
    for report in (again(bench), bench.generate(bench.rows(5), regenerate="all", rows=[THIRD])):
        (line,) = [each for each in advice(report) if "still to be sent" in each]
        assert line == "2 rows are still to be sent: `reelbatch generate MANIFEST --batch spring`."


def test_an_order_of_rejected_videos_goes_on_in_pieces(bench: Bench, api: ScriptedApi) -> None:
    """`--limit 1` typed three times makes each once; what is rejected meanwhile is not part of it."""
    assert again(bench, limit=1).sent == 1
    judge(bench, THIRD, "rejected")
    assert again(bench, limit=1).sent == 1
    assert len(lines(bench, THIRD)) == 1
    assert again(bench, limit=1).sent == 1
    assert len(api.arrivals) == 3 + 3


def test_an_order_whose_run_was_killed_before_it_sent_goes_on(bench: Bench, api: ScriptedApi) -> None:
    """The rows are fixed in one transaction; the same command finds them, and another one is told of them."""
    which = RejectedVideos(batch=Batch(bench.batch), prompt_suffix=SUFFIX)
    with Ledger(bench.results) as ledger:
        for _ in range(2):
            ledger.change(partial(rejected.place, which=which, run_id=RunId("killed"), estimate=lambda _: PRICE))
    with pytest.raises(OrderOpen, match=f"`rerun --verdict rejected --prompt-suffix '{SUFFIX}'"):
        again(bench)
    with pytest.raises(OrderOpen, match="another order is open"):
        bench.generate(bench.rows(3), regenerate="all")
    assert len(api.arrivals) == 3
    assert again(bench, prompt_suffix=SUFFIX).sent == 2
    assert [body["style"]["prompt"] for body in sent_after(api, 3)] == [f"Slow pan {SUFFIX}"] * 2


def test_a_row_in_doubt_is_not_sent_again_by_the_same_command(bench: Bench, api: ScriptedApi) -> None:
    """The answer to a create was lost: its video may have been paid for."""
    api.script = lambda _: Answer(GONE)
    assert again(bench, rows=[FIRST]).exit_code == 1
    api.script = lambda _: Answer()
    came = len(api.arrivals)
    assert again(bench, rows=[FIRST]).sent == 0
    assert len(api.arrivals) == came
    assert [line["state"] for line in lines(bench, FIRST)] == ["complete", "in_doubt"]


@BOTH
@pytest.mark.parametrize("before", [None, "Another prompt"])
def test_a_row_that_is_held_goes_once_its_holder_has_failed(
    bench: Bench, api: ScriptedApi, before: str | None
) -> None:
    """Another batch asked for the same first; while that may be paid for, the row waits, and then it is sent.

    Also where the holder has an earlier video, which is of another request.
    """
    other = Bench(bench.folder, api.url, batch="autumn", database=bench.database)
    if before is not None:
        other.generate(other.rows(1, prompt=before))
        finish(bench)
    other.generate(other.rows(1, prompt=f"Slow pan {SUFFIX}"), regenerate="changed")
    came = len(api.arrivals)
    asked = {"batch": bench.batch, "prompt_suffix": SUFFIX, "rows": [FIRST]}

    def planned() -> int:
        return reelbatch.rerun(dry_run=True, verdict="rejected", **asked, **bench.settings()).send

    assert [again(bench, **asked).sent for _ in range(2)] == [0, 0]
    assert (lines(bench, FIRST)[1]["error_code"], planned()) == ("held", 0)
    finish(bench, "error")
    assert (planned(), again(bench, **asked).sent) == (1, 1)
    assert lines(bench, FIRST)[1]["error_code"] is None
    assert len(api.arrivals) == came + 1


@BOTH
def test_what_a_rerun_adds_is_kept_with_the_new_video(bench: Bench, api: ScriptedApi) -> None:
    """Suffix and model are sent, estimated and kept; the fingerprint is the manifest's, which changes nothing."""
    added = {"prompt_suffix": SUFFIX, "model": OTHER, "rate": RATE}  # 2 seconds each
    shown = reelbatch.rerun(dry_run=True, verdict="rejected", **added, **bench.settings())
    report = again(bench, **added, limit=1)
    first, second = lines(bench, FIRST)
    assert (first["prompt"], first["model"]) == ("Slow pan", "ltx-2.3")
    assert (second["prompt"], second["model"]) == (f"Slow pan {SUFFIX}", OTHER)
    assert second["fingerprint"] == first["fingerprint"]
    assert (first["credits_estimated"], second["credits_estimated"]) == (PRICE, 2 * RATE)
    assert (shown.send, shown.credits_estimated) == (2, 2 * 2 * RATE)
    (body,) = sent_after(api, 3)
    assert (body["style"]["prompt"], body["model"]) == (f"Slow pan {SUFFIX}", OTHER)
    assert report.status.order is not None
    # The manifest as it was, and another one: what was ordered is still what is sent.
    assert bench.generate(bench.rows(3)).sent == 0
    assert bench.generate(bench.rows(3, prompt="Fast zoom")).sent == 0
    assert again(bench, **added).sent == 1
    assert lines(bench, SECOND)[1]["prompt"] == f"Slow pan {SUFFIX}"


@BOTH
@pytest.mark.parametrize("state", ["complete", "error"])
def test_a_manifest_that_asks_for_what_was_sent_last_changes_nothing(bench: Bench, state: str) -> None:
    """As an export that is handed back does: its prompts and models are those of the new videos."""
    again(bench, prompt_suffix=SUFFIX, model=OTHER, rate=RATE)
    finish(bench, state)
    back = bench.folder / "back.csv"
    reelbatch.export(back, results=bench.results)
    stated = {"batch": bench.batch, "regenerate": "changed", **bench.settings()}
    made = reelbatch.plan(back, **stated)
    assert (made.send, made.changed, made.skip + made.failed) == (0, 0, 3)
    reelbatch.export(bench.folder / "all.csv", results=bench.results, all_videos=True)
    with pytest.raises(ManifestError, match=r"of one batch without `all_videos`. `rerun` makes") as refused:
        reelbatch.plan(bench.folder / "all.csv", **stated)
    assert "Give every row its own row_key" not in str(refused.value)
    edited = pd.read_csv(back).replace(f"Slow pan {SUFFIX}", "Fast zoom")
    assert reelbatch.plan(edited, **stated).send == reelbatch.generate(edited, **stated).sent == 2


def test_a_corrected_row_whose_new_video_failed_is_sent_as_announced(bench: Bench) -> None:
    """Once the order is through, its failed videos are the manifest's again."""
    again(bench, prompt_suffix=SUFFIX)
    finish(bench, "error")
    corrected = bench.rows(3, prompt="Fast zoom")
    stated = bench.settings()
    assert reelbatch.plan(corrected, batch=bench.batch, **stated).send == bench.generate(corrected).sent == 2
    assert lines(bench, FIRST)[-1]["prompt"] == "Fast zoom"


def test_the_cap_holds_for_rejected_videos(bench: Bench, api: ScriptedApi) -> None:
    """Credits for one more video make one more, and a larger cap makes the rest."""
    assert again(bench, max_credits=4 * PRICE).sent == 1
    assert again(bench).sent == 1
    assert len(api.arrivals) == 5


def test_the_approved_video_of_a_row_is_the_one_that_is_taken(bench: Bench) -> None:
    """Else the last one with an id; `--all-videos` has all of them."""
    again(bench)
    finish(bench)
    first, second = (line["video_id"] for line in lines(bench, FIRST))
    out, every = bench.folder / "out.csv", bench.folder / "all.csv"

    def taken() -> str:
        reelbatch.export(out, results=bench.results)
        reelbatch.export(every, all_videos=True, results=bench.results)
        (in_frame,) = [row["video_id"] for row in bench.table() if row["row_key"] == FIRST]
        assert [name in every.read_text() for name in (first, second)] == [True, True]
        assert (first in out.read_text(), second in out.read_text()) == (in_frame == first, in_frame == second)
        return str(in_frame)

    assert taken() == second
    judge(bench, FIRST, "approved")
    assert taken() == first
    judge(bench, FIRST, "approved", generation=2)
    assert taken() == second


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"verdict": "approved"}, "only videos that were rejected"),
        ({"verdict": None, "model": OTHER}, "add `verdict` rejected"),
        ({"model": "ltx-3.2"}, "not in the table of models"),
        ({"state": "error"}, "leave out `state`"),
        ({"prompt_suffix": " "}, "`prompt_suffix` is empty"),
        ({"rows": ["no one"]}, "no row with the key no one"),
        ({"prompt_suffix": "a" * 200_000}, "characters long"),
    ],
    ids=str,
)
def test_options_that_can_not_be_carried_out_place_no_order(bench: Bench, options: Any, said: str) -> None:
    """One clear error, and nothing is changed."""
    with pytest.raises(SettingsError, match=said):
        again(bench, **options)
    with Ledger(bench.results) as ledger:
        assert ledger.read(lambda connection: orders.open_order(connection, Batch(bench.batch))) is None


def test_the_command_line_shows_them_first(bench: Bench) -> None:
    """`--dry-run` says how many and at what cost; another order that is open is exit code 2."""
    table = ("--results", bench.results)
    shown = run_here(bench.folder, "rerun", "--verdict", "rejected", "--dry-run", *table)
    assert (shown.code, f"{2 * PRICE} credits" in shown.out) == (0, True)
    assert len(lines(bench, FIRST)) == 1
    again(bench, limit=1)
    other = run_here(bench.folder, "rerun", "--verdict", "rejected", "--model", OTHER, "--dry-run", *table)
    assert other.code == 2
    assert f"`reelbatch rerun --results {bench.results} --batch {bench.batch} --verdict rejected`" in other.err
