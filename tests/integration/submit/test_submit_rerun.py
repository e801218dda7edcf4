"""Failed rows again: what is shown is what is sent, at the cost that is shown; and nothing is stuck on the way."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from bench import PRICE, Answer, Bench, ScriptedApi, draw, scripted
from sqlalchemy import select, update

import reelbatch
from reelbatch.domain import Batch, RowState
from reelbatch.ledger import Ledger, reruns, settlements, utc_now
from reelbatch.ledger.due import Rendered
from reelbatch.ledger.reruns import Selection
from reelbatch.ledger.schema import generations
from reelbatch.ledger.settlements import Final

REFUSED = Answer(422, {"message": "no"})
RATE = 30


@pytest.fixture
def api() -> Iterator[ScriptedApi]:
    """An API that refuses everything, until the test says otherwise."""
    with scripted(lambda _: REFUSED) as refusing:
        yield refusing


@pytest.fixture
def bench(tmp_path: Path, api: ScriptedApi) -> Bench:
    """Runs against that API."""
    return Bench(tmp_path, api.url, batch="spring")


def accept(api: ScriptedApi) -> None:
    """From now on everything is taken."""
    api.script = lambda _: Answer()


def end_videos(bench: Bench, state: str) -> None:
    """All videos are rendered, or fail."""
    g = generations.c
    query = select(g.batch, g.row_key, g.video_id, g.token, g.state, g.generation).where(g.state == RowState.QUEUED)
    with Ledger(bench.results) as ledger:
        waiting = ledger.read(lambda connection: connection.execute(query).all())
        ended = [Final(row=Rendered(*row), state=RowState(state), at=utc_now()) for row in waiting]
        ledger.change(partial(settlements.record_finals, items=ended))


@pytest.mark.parametrize("which", [{}, {"limit": 1}, {"rows": ["spring-001"]}], ids=str)
def test_a_rate_that_is_stated_counts_for_rows_of_unknown_cost(
    bench: Bench, api: ScriptedApi, which: dict[str, Any]
) -> None:
    """In plan, cap and table. Without it they are of unknown cost as before, and not sent under a cap."""
    bench.generate(bench.rows(2, model=["brand-new", "ltx-2.3"]))
    accept(api)
    others = 0 if which else PRICE
    shown = reelbatch.rerun(dry_run=True, rate=RATE, **which, **bench.settings())
    assert (shown.credits_estimated, shown.unknown_rate) == (2 * RATE + others, 0)
    assert [row["credits_estimated"] for row in bench.table()] == [None, PRICE]
    shown = reelbatch.rerun(dry_run=True, **which, **bench.settings())
    assert (shown.credits_estimated, shown.unknown_rate) == (others, 1)
    assert reelbatch.rerun(rows=["spring-001"], **bench.settings(max_credits=1000)).sent == 0
    assert reelbatch.rerun(rate=RATE, **which, **bench.settings(max_credits=1000)).sent == (1 if which else 2)
    assert bench.table()[0]["credits_estimated"] == 2 * RATE


def test_a_rerun_treats_rows_paid_for_elsewhere_as_the_setting_says(bench: Bench, api: ScriptedApi) -> None:
    """They are held unless `repeats` is `send`; a plan counts them where they are sent, and says so where not."""
    bench.generate(bench.rows(1))
    accept(api)
    Bench(bench.folder, bench.url, batch="autumn").generate(bench.rows(1))
    for which in ({}, {"limit": 1}, {"rows": ["spring-001"]}):  # before it is held: the plan looks for itself
        shown = reelbatch.rerun(bench.batch, dry_run=True, **which, **bench.settings())
        assert (shown.send, shown.credits_estimated) == (0, 0)
        assert shown.left_alone == ["1 held are paid for under another name; see `repeats`"]
    assert reelbatch.rerun(bench.batch, dry_run=True, **bench.settings(repeats="send")).send == 1
    with Ledger(bench.results) as ledger:  # a rerun asked for it, and was interrupted
        ledger.change(partial(reruns.request, selection=Selection(batch=Batch(bench.batch))))
    assert reelbatch.rerun(bench.batch, dry_run=True, **bench.settings()).send == 0
    held = reelbatch.rerun(bench.batch, **bench.settings())
    assert (held.sent, held.held_rows, held.exit_code) == (0, 1, 1)
    shown = reelbatch.rerun(bench.batch, dry_run=True, **bench.settings())
    assert (shown.send, shown.left_alone) == (0, ["1 held are paid for under another name; see `repeats`"])
    assert reelbatch.rerun(bench.batch, **bench.settings(repeats="skip")).exit_code == 0
    stated = bench.settings(repeats="send")
    assert reelbatch.rerun(bench.batch, dry_run=True, **stated).send == 1
    assert reelbatch.rerun(bench.batch, **stated).sent == 1
    assert bench.states() == {"queued": 1}


@pytest.mark.parametrize("made_again", [False, True])
def test_a_row_whose_image_was_broken_in_a_rerun_is_sent_once_it_is_good(
    bench: Bench, api: ScriptedApi, *, made_again: bool
) -> None:
    """Also where it is a further video of its row: `generate` checks it again, as every row that is invalid."""
    image = draw(bench.folder / "chair.png")
    manifest = bench.rows(1, image_path=str(image))
    if made_again:
        accept(api)
        bench.generate(manifest)
        end_videos(bench, "complete")
        bench.generate(manifest, regenerate="all")
        end_videos(bench, "error")
    else:
        bench.generate(manifest)
        accept(api)
    image.write_bytes(b"no picture")
    assert reelbatch.rerun(**bench.settings()).sent == 0
    draw(image)
    assert bench.generate(manifest).sent == 1


def test_an_order_of_rejected_videos_tries_images_again_that_were_broken(bench: Bench, api: ScriptedApi) -> None:
    """No manifest states what it asks for, so the same command goes on with it; plan and run mean the same rows."""
    accept(api)
    image = draw(bench.folder / "chair.png")
    bench.generate(bench.rows(1, image_path=str(image)))
    end_videos(bench, "complete")
    with Ledger(bench.results) as ledger:
        rejected = update(generations).values(verdict="rejected")
        ledger.change(lambda connection: connection.execute(rejected))
    image.write_bytes(b"no picture")
    again = {"verdict": "rejected", "prompt_suffix": "soft light"}
    assert reelbatch.rerun(**again, **bench.settings()).sent == 0
    draw(image)
    assert reelbatch.rerun(dry_run=True, **again, **bench.settings()).send == 1
    assert reelbatch.rerun(**again, **bench.settings()).sent == 1
    assert reelbatch.rerun(**again, **bench.settings()).sent == 0


def test_a_failed_row_that_is_held_takes_no_place_within_a_limit(bench: Bench, api: ScriptedApi) -> None:
    """Another goes in its place, in plan and run; where all others have gone it is still said to be held."""
    bench.generate(bench.rows(3, prompt=["one", "two", "three"]))
    accept(api)
    Bench(bench.folder, bench.url, batch="autumn").generate(bench.rows(1, prompt="one"))
    for _ in range(2):
        shown = reelbatch.rerun(bench.batch, dry_run=True, limit=1, **bench.settings())
        assert (shown.send, shown.credits_estimated) == (1, PRICE)
        assert reelbatch.rerun(bench.batch, limit=1, **bench.settings()).sent == 1
    shown = reelbatch.rerun(bench.batch, dry_run=True, limit=1, **bench.settings())
    assert (shown.send, shown.left_alone[-1]) == (0, "1 held are paid for under another name; see `repeats`")
    ran = reelbatch.rerun(bench.batch, limit=1, **bench.settings())
    assert (ran.sent, ran.held_rows, ran.exit_code) == (0, 1, 1)
    assert reelbatch.rerun(bench.batch, limit=1, **bench.settings(repeats="send")).sent == 1


def test_rejected_videos_that_another_name_has_paid_for_are_held_by_plan_and_run(
    bench: Bench, api: ScriptedApi
) -> None:
    """A plan counts what is sent, also within a limit and where an order goes on. A suffix makes another request."""
    accept(api)
    image = draw(bench.folder / "chair.png")
    prompts = {"prompt": ["one", "two"], "image_path": str(image)}
    bench.generate(bench.rows(2, **prompts))
    autumn = Bench(bench.folder, bench.url, batch="autumn")
    autumn.generate(bench.rows(1, **{**prompts, "prompt": "one"}), repeats="send")
    end_videos(bench, "complete")
    with Ledger(bench.results) as ledger:
        rejected = update(generations).where(generations.c.batch == bench.batch).values(verdict="rejected")
        ledger.change(lambda connection: connection.execute(rejected))
    again = {"batch": bench.batch, "verdict": "rejected"}
    added = reelbatch.rerun(dry_run=True, prompt_suffix="soft light", **again, **bench.settings())
    assert (added.send, added.left_alone) == (2, [])
    shown = reelbatch.rerun(dry_run=True, limit=1, **again, **bench.settings())
    assert (shown.send, shown.credits_estimated) == (1, PRICE)
    assert shown.left_alone == ["1 held are paid for under another name; see `repeats`"]
    assert reelbatch.rerun(limit=0, **again, **bench.settings()).sent == 0  # the order is placed
    assert reelbatch.rerun(dry_run=True, limit=1, **again, **bench.settings()).left_alone == shown.left_alone
    assert reelbatch.rerun(dry_run=True, **again, **bench.settings(repeats="send")).send == 2
    ran = reelbatch.rerun(limit=1, **again, **bench.settings())
    assert (ran.sent, ran.exit_code) == (1, 1)
    shown = reelbatch.rerun(dry_run=True, **again, **bench.settings())
    assert (shown.send, len(shown.left_alone)) == (0, 1)
    assert reelbatch.rerun(**again, **bench.settings(repeats="send")).sent == 1


@pytest.mark.parametrize("verdict", [None, "rejected"], ids=["failed", "rejected by a reviewer"])
def test_smaller_rows_go_in_place_of_one_that_the_cap_has_no_room_for(
    bench: Bench, api: ScriptedApi, verdict: str | None
) -> None:
    """Within a limit, as `generate` does: in plan and run. The dear one takes no one's place."""
    if verdict is not None:
        accept(api)
    bench.generate(bench.rows(4, end_seconds=[20, 2, 2, 2]))
    accept(api)
    paid = 0 if verdict is None else 10 * PRICE + 3 * PRICE
    end_videos(bench, "complete")
    with Ledger(bench.results) as ledger:
        ledger.change(lambda connection: connection.execute(update(generations).values(verdict=verdict)))
    again = {"batch": bench.batch, "limit": 2, "max_credits": paid + 3 * PRICE}
    again |= {} if verdict is None else {"verdict": verdict}
    shown = reelbatch.rerun(dry_run=True, **again, **bench.settings())
    assert (shown.send, shown.credits_estimated) == (2, 2 * PRICE)
    ran = reelbatch.rerun(**again, **bench.settings())
    assert ran.sent == 2
    shown = reelbatch.rerun(dry_run=True, **again, **bench.settings())
    assert (shown.send, shown.credits_estimated) == (2, 11 * PRICE)  # the dear one beside the last that fits
    assert reelbatch.rerun(**again, **bench.settings()).sent == 1
