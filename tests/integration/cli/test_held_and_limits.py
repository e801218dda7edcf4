"""Rows whose requests are paid for under another name, in what plans say of a limit and of an open order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from accounts import Customer
from pictures import landscape

import reelbatch
from reelbatch.sandbox import RunningSandbox, start


@pytest.fixture(scope="module")
def running() -> Iterator[RunningSandbox]:
    with start(render_video=False, queue_seconds=0, render_seconds=0.01) as sandbox:
        yield sandbox


def test_a_limit_counts_only_rows_that_will_be_sent(sandbox: RunningSandbox, tmp_path: Path) -> None:
    """A row that waited already, and was paid for in another batch since, takes no place in the first N."""
    customer = Customer(tmp_path, sandbox)
    same = "https://img.example/same.png"
    later = customer.manifest("later", "one", "two", "three", image_path=same, resolution=["480p", "1080p", "1080p"])
    customer.generate(later, limit=0)
    customer.generate(customer.manifest("first", "one", image_path=same))
    where = {"results": customer.results, "base_url": sandbox.url, "api_key": sandbox.key}
    plans = [reelbatch.plan(later, **where, limit=limit) for limit in (1, 3)]
    assert [(made.send, made.held_rows, made.beyond_limit) for made in plans] == [(1, 1, 1), (2, 1, 0)]
    before = {charge["token"] for charge in customer.charges()}
    customer.generate(later, limit=1)
    (new,) = [charge for charge in customer.charges() if charge["token"] not in before]
    assert (new["row"], new["credits"]) == ("later-2", plans[0].credits_estimated)


@pytest.mark.parametrize(("repeats", "code"), [("hold", 1), ("skip", 0), ("send", 0)])
def test_a_plan_ends_as_its_run_does_where_rows_are_held(
    sandbox: RunningSandbox, tmp_path: Path, repeats: str, code: int
) -> None:
    """Held rows need someone, and skipped ones no one."""
    customer = Customer(tmp_path, sandbox)
    same = "https://img.example/same.png"
    customer.generate(customer.manifest("first", "pan", image_path=same))
    later = customer.manifest("later", "pan", image_path=same)
    assert customer.run("plan", later, "--repeats", repeats).code == code
    assert customer.generate(later, repeats=repeats).exit_code == code


def test_a_plan_says_what_a_pilot_costs(sandbox: RunningSandbox, tmp_path: Path) -> None:
    """To the credit what it is charged, over all kinds; what was sent of it costs nothing more."""
    customer = Customer(tmp_path, sandbox)
    resolution = ["480p", "1080p", "480p", "720p", "480p", "480p"]
    spring = customer.manifest("spring", *(f"pan {number}" for number in range(6)), resolution=resolution)
    for size in (4, 4, 5):
        before = len(customer.charges())
        options = ("plan", spring, "--pilot", str(size))
        cost = customer.asked(*options)["pilot_cost"]
        said = f"estimated cost of {cost['rows']:,}: {cost['credits']:,} credits."
        assert said in customer.run(*options).out
        customer.generate(spring, pilot=size)
        new = customer.charges()[before:]
        assert cost == {"rows": len(new), "credits": sum(charge["credits"] for charge in new), "unknown": 0}
    customer.generate(spring, settle=True)
    again = customer.asked("plan", spring, "--pilot", "6", "--regenerate", "all")["pilot_cost"]
    assert again["rows"] == len(resolution)
    assert customer.asked("plan", spring)["pilot_cost"] is None


def test_lines_of_an_open_order_are_not_subtracted_from_a_plain_plan(sandbox: RunningSandbox, tmp_path: Path) -> None:
    """They ask for what the rows have, so another batch may have paid for the same; a plan without them is 0."""
    customer = Customer(tmp_path, sandbox)
    same = "https://img.example/same.png"
    both = customer.manifest("both", "one", "two", image_path=same)
    customer.generate(both, settle=True)
    customer.generate(both, regenerate="all", limit=0)
    customer.generate(customer.manifest("other", "one", "two", image_path=same), repeats="send", settle=True)
    where = {"results": customer.results, "base_url": sandbox.url, "api_key": sandbox.key}
    made = reelbatch.plan(both, **where)
    assert (made.send, made.credits_estimated) == (0, 0)
    customer.generate(both)
    assert customer.generate(both, regenerate="all", repeats="send").sent == 2


def test_a_finished_row_whose_new_request_is_invalid_counts_as_one(sandbox: RunningSandbox, tmp_path: Path) -> None:
    """Plan and run end with 1: a row of the manifest is invalid. Its video stays, and the report says what to do."""
    customer = Customer(tmp_path, sandbox)
    customer.generate(customer.manifest("spring", "one", "two"), settle=True)
    spring = customer.manifest("spring", "one", "two", end_seconds=[2, 999])
    assert customer.run("plan", spring).code == 1
    ran = customer.run("generate", spring)
    assert ran.code == 1
    assert "→ The manifest asks for something invalid for 1 row with a video" in ran.out
    assert (customer.asked("generate", spring)["changed_invalid"], customer.generate(spring).exit_code) == (1, 1)
    assert [each["states"]["complete"] for each in customer.asked("status")["batches"]] == [2]
    spring = customer.manifest("spring", "one", "changed")
    assert (customer.run("plan", spring).code, customer.run("generate", spring).code) == (0, 0)


def test_a_finished_row_may_lose_its_image(sandbox: RunningSandbox, tmp_path: Path) -> None:
    """Nothing is asked of it any more: plan and run end with 0, and the plan says what is missing."""
    customer = Customer(tmp_path, sandbox)
    image = landscape(tmp_path / "one.png")
    spring = customer.manifest("spring", "one", image_path=image.name)
    customer.generate(spring, settle=True)
    image.unlink()
    planned = customer.run("plan", spring)
    assert (planned.code, customer.run("generate", spring).code) == (0, 0)
    assert "1 problem in rows of which nothing is asked" in planned.err
    assert customer.run("generate", spring, "--strict").code == 0
    made = customer.asked("plan", spring)
    assert (made["problem_count"], made["finished_invalid"], made["to_correct"]) == (1, 1, False)
    spring = customer.manifest("spring", "one", "two", image_path=image.name)
    assert (customer.run("plan", spring).code, customer.run("generate", spring).code) == (1, 1)
    assert customer.run("generate", spring, "--strict").code == 2


def test_an_export_that_is_handed_back_asks_for_nothing_new(sandbox: RunningSandbox, tmp_path: Path) -> None:
    """It says how wide a finished video is, not how wide the manifest wants it; what is mapped is meant."""
    customer = Customer(tmp_path, sandbox)
    customer.generate(customer.manifest("spring", "one", "two"), settle=True)
    for name in ("back.csv", "back.parquet", "back.jsonl"):
        back = tmp_path / name
        assert customer.run("export", back).code == 0
        read = pd.read_csv(back) if name.endswith("csv") else None
        assert read is None or read["width"].notna().all()
        made = customer.asked("plan", back, "--batch", "spring", "--regenerate", "changed")
        assert (made["skip"], made["changed"], made["send"], made["warnings"]) == (2, 0, 0, [])
    meant = {"REELBATCH_MANIFEST": '{"columns": {"width": "width"}}'}
    assert customer.asked("plan", tmp_path / "back.csv", "--batch", "spring", **meant)["changed"] == 2


def test_an_export_has_all_that_a_row_asked_for(sandbox: RunningSandbox, tmp_path: Path) -> None:
    """Also end images and sizes: handed back without them, such rows would count as changed."""
    customer = Customer(tmp_path, sandbox)
    more = {"model": ["kling-2.5", "ltx-2.3"], "end_seconds": [5, 2], "resolution": ["720p", "480p"]}
    ends = ["https://img.example/end.png", None]
    customer.generate(customer.manifest("spring", "one", "two", end_image_path=ends, width=[None, 512], **more))
    assert customer.run("export", tmp_path / "back.csv").code == 0
    made = customer.asked("plan", tmp_path / "back.csv", "--batch", "spring")
    assert (made["skip"], made["changed"]) == (2, 0)
