"""`reelbatch runs` and `batches`: what ran, what the table holds, and what an archived batch still counts for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from accounts import PRICE, Customer
from pydantic import SecretStr

from reelbatch.domain import Batch
from reelbatch.ledger import Ledger
from reelbatch.ledger.accounts import Payer, unfinished
from reelbatch.pipeline.settle import batches_of, open_settler
from reelbatch.sandbox import RunningSandbox, start
from reelbatch.settings import load_settings


@pytest.fixture(scope="module")
def running() -> Iterator[RunningSandbox]:
    """One API for all tests here; no video is ever finished."""
    with start(render_video=False, queue_seconds=600) as sandbox:
        yield sandbox


@pytest.fixture
def customer(tmp_path: Path, sandbox: RunningSandbox) -> Customer:
    return Customer(tmp_path, sandbox)


def names(customer: Customer, *options: str) -> list[str]:
    return [entry["batch"] for entry in customer.asked("batches", *options)["batches"]]


def test_runs_say_who_ran_what_why_it_ended_and_what_it_cost(customer: Customer) -> None:
    """With the cap of that time, and the next step beside the newest run of each batch alone."""
    spring = customer.manifest("spring", "pan", "zoom", "tilt")
    customer.generate(spring, max_credits=2 * PRICE)
    customer.generate(spring, max_credits=10 * PRICE)
    newest, first = customer.asked("runs")["runs"]
    assert (first["exit_reason"], first["cost"], first["max_credits"], first["videos"]) == ("cap", 96, 96, 2)
    assert (newest["exit_reason"], newest["cost"], newest["max_credits"]) == ("done", 48, 480)
    assert (newest["account"], newest["batch"], bool(newest["user_name"])) == ("sandbox", "spring", True)
    assert first["next_step"] is None
    assert newest["next_step"].startswith(f"reelbatch settle --results {customer.results} --batch spring")
    shown = customer.run("runs", COLUMNS="80").out
    assert "cap" in shown
    assert "→ spring: reelbatch settle" in shown


def test_a_run_counts_what_its_own_requests_cost(customer: Customer) -> None:
    """Also those in doubt; one that sent nothing has cost nothing."""
    customer.api.set_faults(script=["lost_after"])
    spring = customer.manifest("spring", "pan", "zoom")
    customer.generate(spring, concurrency=1)
    customer.generate(spring)
    second, first = customer.asked("runs", "--batch", "spring")["runs"]
    assert (first["requests"], first["cost"], first["credits"]["in_doubt"]) == (2, PRICE, PRICE)
    assert (second["requests"], second["cost"]) == (0, 0)
    assert len(customer.asked("runs", "--last", "1")["runs"]) == 1


def test_batches_say_how_each_stands(customer: Customer) -> None:
    """Rows by state, credits, the last run and the next step."""
    customer.api.set_faults(match=[{"text": "refused", "kind": "invalid"}])
    customer.generate(customer.manifest("spring", "pan", "refused"))
    (entry,) = customer.asked("batches")["batches"]
    assert entry["states"] == {"queued": 1, "rejected": 1}
    assert (entry["credits"]["worst_case"], entry["last_run"]["exit_reason"]) == (PRICE, "done")
    assert "reelbatch settle" in entry["next_step"]
    assert "1 queued · 1 rejected" in customer.run("batches").out


def test_what_is_archived_leaves_the_defaults_and_counts_all_the_same(customer: Customer) -> None:
    """Status, runs, reconcile and the list; not the money, and not the look for what is paid for already."""
    customer.api.set_faults(script=["lost_after"])
    customer.generate(customer.manifest("winter", "snow", "ice"), concurrency=1)
    customer.generate(customer.manifest("spring", "pan"))
    before = customer.asked("spend")["total"]
    said = customer.run("batches", "--archive", "winter")
    assert "not finished or in doubt" in said.err  # nothing that is open is lost sight of unsaid
    assert "and 1 archived" in said.out
    assert (names(customer), names(customer, "--all")) == (["spring"], ["spring", "winter"])
    assert [each["batch"] for each in customer.asked("status")["batches"]] == ["spring"]
    assert [each["batch"] for each in customer.asked("status", "--rows", "1")["batches"]] == ["spring"]
    assert {run["batch"] for run in customer.asked("runs")["runs"]} == {"spring"}
    assert customer.asked("reconcile")["in_doubt"] == []
    assert customer.asked("spend")["total"] == before
    assert len(customer.asked("reconcile", "--batch", "winter")["in_doubt"]) == 1
    assert customer.asked("status", "--batch", "winter")["batches"][0]["rows"] == 2
    again = customer.generate(customer.manifest("winter", "snow", "ice"), batch="dated")
    assert (again.sent, again.held_rows) == (0, 2)
    assert customer.run("batches", "--unarchive", " winter ").code == 0
    assert names(customer) == ["dated", "spring", "winter"]


async def test_settle_follows_no_archived_batch_unless_it_is_named(customer: Customer) -> None:
    """Nor does it export one; the render window of a run counts its videos all the same."""
    for batch in ("spring", "winter"):
        customer.generate(customer.manifest(batch, f"a {batch}"))
    customer.run("batches", "--archive", "winter")
    stated = {"results": customer.results, "base_url": customer.api.url, "api_key": SecretStr(customer.api.key)}
    settings = load_settings(options=stated)
    with Ledger(customer.results) as ledger:
        for batch, polled in ((None, 1), (Batch("winter"), 1), (Batch("spring"), 0)):  # it was asked about just now
            async with open_settler(ledger, settings, batch, wait=False) as settler:
                assert (await settler.run()).polled == polled
        assert batches_of(ledger, settings, None) == ["spring"]
        assert ledger.read(lambda connection: unfinished(connection, Payer("local"))) == 2


def test_only_one_that_is_not_archived_is_the_only_one(customer: Customer) -> None:
    """So `rerun` and `reconcile --undo` need no name; where all are archived, that is said."""
    for batch in ("spring", "winter"):
        customer.generate(customer.manifest(batch, f"a {batch}"))
    several = customer.run("rerun", "--dry-run")
    assert (several.code, "spring, winter" in several.err) == (2, True)
    customer.run("batches", "--archive", "winter")
    assert "Batch spring" in customer.run("rerun", "--dry-run").out
    customer.run("batches", "--archive", "spring")
    none = customer.run("rerun", "--dry-run")
    assert (none.code, "all of them archived" in none.err) == (2, True)


def test_a_run_takes_its_batch_back_in(customer: Customer) -> None:
    """What is worked on is seen."""
    spring = customer.manifest("spring", "pan")
    customer.generate(spring)
    customer.run("batches", "--archive", "spring")
    customer.generate(spring)
    assert names(customer) == ["spring"]


def test_a_batch_that_is_not_there_is_not_archived(customer: Customer) -> None:
    """Exit 2, and the names that there are."""
    customer.generate(customer.manifest("spring", "pan"))
    ran = customer.run("batches", "--archive", "sprnig")
    assert (ran.code, "It has: spring" in ran.err) == (2, True)
