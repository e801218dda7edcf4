"""`reelbatch spend`: every credit stands in one line, and the lines are what the API's books say."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from accounts import PRICE, Customer
from sqlalchemy import update

from reelbatch.domain import Batch
from reelbatch.ledger import Ledger, queries
from reelbatch.ledger.schema import attempts
from reelbatch.sandbox import RunningSandbox, start

UNUSABLE = 2

SUMS = ("estimated", "charged", "refunded", "final", "reserved", "in_doubt", "worst_case")


@pytest.fixture
def running() -> Iterator[RunningSandbox]:
    """An API whose books are this test's alone, and whose videos are finished at once."""
    with start(render_video=False, queue_seconds=0, render_seconds=0) as sandbox:
        yield sandbox


@pytest.fixture
def customer(tmp_path: Path, sandbox: RunningSandbox) -> Customer:
    return Customer(tmp_path, sandbox)


def added_up(lines: list[dict[str, Any]]) -> dict[str, int]:
    return {name: sum(line[name] for line in lines) for name in SUMS}


def test_after_reruns_refunds_and_two_workers_the_books_equal_spend(customer: Customer) -> None:
    """To the credit: a failed render, a corrected row, a row in doubt that was charged, videos made again."""
    customer.api.set_faults(
        match=[
            {"text": "breaks", "kind": "render_error", "times": 1},
            {"text": "refused", "kind": "invalid", "times": 1},
            {"text": "gets lost", "kind": "lost_after", "times": 1},
        ]
    )
    prompts = ["pan", "breaks", "refused", "gets lost", "zoom", "tilt", "turn", "rise"]
    spring = customer.manifest("spring", *prompts)
    customer.together(spring, settle=True)
    ((key, token),) = customer.tokens().items()
    found = customer.video_of(token)
    assert found is not None
    assert customer.run("reconcile", "--row", key, "--video-id", found).code == 0
    prompts[1:3] = ["repaired", "allowed"]
    customer.generate(customer.manifest("spring", *prompts), settle=True)
    customer.generate(spring, regenerate="all", rows=["spring-1"], settle=True)
    customer.generate(customer.manifest("autumn", "leaves", "rain", model="minimax-h3"), settle=True)
    assert customer.asked("batches", "--archive", "autumn")["batches"] != []

    books = customer.api.books()
    assert {charge["status"] for charge in books["charges"]} == {"complete", "error"}
    for by in ("day", "month", "model", "batch"):
        spent = customer.asked("spend", "--by", by)
        total = spent["total"]
        assert added_up(spent["lines"]) == {name: total[name] for name in SUMS}
        assert (total["charged"], total["refunded"], total["cost"]) == (
            books["charged"],
            books["refunded"],
            books["net"],
        )
        assert (total["in_doubt"], total["reserved"], total["unknown"]) == (0, 0, 0)
    named = {line["batch"]: line["cost"] for line in customer.asked("spend", "--by", "batch")["lines"]}
    assert set(named) == {"spring", "autumn"}  # what is archived still counts
    one = customer.asked("spend", "--batch", "autumn")
    assert one["total"]["cost"] == named["autumn"]


def test_spend_is_what_the_batches_sums_say(customer: Customer) -> None:
    """Also while a row is in doubt and videos are not settled."""
    customer.api.set_faults(script=[None, "lost_after"])
    customer.generate(customer.manifest("spring", "pan", "zoom", "tilt"), concurrency=1)
    total = customer.asked("spend")["total"]
    with Ledger(customer.results) as ledger:
        known = ledger.read(lambda connection: queries.credits_of(connection, Batch("spring")))
    assert {name: total[name] for name in SUMS} == {name: getattr(known, name) for name in SUMS}
    assert (total["charged"], total["in_doubt"], total["final"]) == (2 * PRICE, PRICE, 0)


def move(customer: Customer, *moments: datetime) -> None:
    """The batch's requests left at these moments, in the order of their rows."""

    def work(connection: Any) -> None:
        for number, moment in enumerate(moments, start=1):
            own = update(attempts).where(attempts.c.row_key == f"spring-{number}")
            connection.execute(own.values(started_at=moment))

    with Ledger(customer.results) as ledger:
        ledger.change(work)


def test_a_day_begins_at_midnight_of_the_stated_zone(customer: Customer) -> None:
    """Through a change of the clocks, and where it is still the day before in UTC; a refund counts for that day."""
    customer.api.set_faults(match=[{"text": "breaks", "kind": "render_error"}])
    customer.generate(customer.manifest("spring", "breaks", "pan", "zoom", "tilt"), settle=True)
    move(
        customer,
        datetime(2026, 10, 31, 6, 59, 59, tzinfo=UTC),  # Friday, 23:59:59 in Los Angeles
        datetime(2026, 11, 1, 7, 0, tzinfo=UTC),  # Sunday begins, still in summer time
        datetime(2026, 11, 2, 7, 59, 59, tzinfo=UTC),  # it has 25 hours
        datetime(2026, 11, 2, 8, 0, tzinfo=UTC),  # Monday
    )
    spent = customer.asked("spend", "--by", "day", "--timezone", "America/Los_Angeles")
    known = {line["day"]: (line["charged"], line["refunded"]) for line in spent["lines"]}
    assert known == {
        "2026-10-30": (PRICE, PRICE),
        "2026-11-01": (2 * PRICE, 0),
        "2026-11-02": (PRICE, 0),
    }
    months = {line["month"]: line["cost"] for line in customer.asked("spend", "--by", "month")["lines"]}
    assert months == {"2026-10": 0, "2026-11": 3 * PRICE}  # in UTC
    few = customer.asked(
        "spend", "--by", "day", "--since", "2026-11-01", "--until", "2026-11-01", "--timezone", "America/Los_Angeles"
    )
    assert (few["total"]["cost"], len(few["lines"])) == (2 * PRICE, 1)


def test_dollars_only_where_a_rate_is_stated(customer: Customer) -> None:
    """A tier is none: a subscriber pays other dollars than usage-based billing asks for."""
    customer.generate(customer.manifest("spring", "pan", "zoom"), settle=True)
    plain = customer.asked("spend", REELBATCH_TIER="creator")
    assert (plain["dollars_per_credit"], plain["total"]["dollars"]) == (None, None)
    by_credit = customer.asked("spend", REELBATCH_DOLLARS_PER_CREDIT="0.01")
    assert by_credit["total"]["dollars"] == pytest.approx(2 * PRICE / 100)
    stated = {"REELBATCH_SUBSCRIPTION": '{"price": 19, "credits": 12000}'}
    assert customer.asked("spend", **stated)["total"]["dollars"] == pytest.approx(0.152)
    assert "$19 for 12,000 credits" in customer.run("spend", **stated).out


def test_the_csv_has_a_line_for_each_and_no_formula(customer: Customer) -> None:
    """For a spreadsheet, which adds up itself; a batch may have any name."""
    path = customer.manifest("spring", "pan", "zoom")
    customer.generate(path, batch="=1+1", settle=True)
    assert customer.run("spend", "--by", "batch", "--csv", "spend.csv").code == 0
    text = (customer.folder / "spend.csv").read_text(encoding="utf-8")
    (line,) = csv.DictReader(io.StringIO(text))
    assert (line["batch"], line["charged"], line["cost"]) == ("'=1+1", "96", "96")
    assert customer.run("spend", "--by", "batch", "--csv", "-").out == text
    assert (customer.folder / "spend.csv").stat().st_mode & 0o077 == 0
    assert customer.run("spend", "--csv", "new/folder/spend.csv").code == 0  # as `export` and `report` make one
    assert (customer.folder / "new/folder/spend.csv").is_file()


def test_only_an_earlier_export_is_replaced(customer: Customer) -> None:
    """Not what a batch is made from, nor a table, a picture or settings; a second export is as good as the first."""
    spring = customer.manifest("spring", "pan")
    customer.generate(spring)
    folder = customer.folder
    picture = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
    for name in ("photo.csv", "photo.png", "a.parquet", "report.html"):
        (folder / name).write_bytes(picture)
    (folder / "my.yaml").write_text("concurrency: 4\n")
    (folder / "table.csv").write_bytes((folder / "r.db").read_bytes())
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file() and "r.db" not in path.name}
    refused = [["export", name] for name in ("spring.csv", "photo.csv", "a.parquet", "table.csv")]
    refused += [["spend", "--csv", name] for name in ("spring.csv", "photo.png", "r.db", "my.yaml")]
    refused += [["report", "report.html"], ["generate", spring, "--export", "photo.csv"]]
    for command in refused:
        ran = customer.run(*command)
        assert (ran.code, "would be replaced" in ran.err) == (UNUSABLE, True), (command, ran)
    assert {path: path.read_bytes() for path in before} == before
    for command in (["export", "new.parquet"], ["export", "new.csv"], ["spend", "--csv", "spend.csv"]):
        assert [customer.run(*command).code for _ in range(2)] == [0, 0]


def test_what_can_not_be_meant_is_said_in_one_line(customer: Customer) -> None:
    """A zone that does not exist, a batch that the table does not have, a file below a file."""
    customer.generate(customer.manifest("spring", "pan"))
    for arguments, words in (
        (("--timezone", "Mars/Olympus"), "no such time zone"),
        (("--batch", "winter"), "no such batch"),
        (("--csv", "spring.csv/at/all.csv"), "can't be written"),
        (("--since", "0000-01-01"), "does not match"),
    ):
        ran = customer.run("spend", *arguments)
        assert (ran.code, "Traceback" in ran.err) == (2, False)
        assert words in ran.err


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Etc/GMT+12"])
def test_the_calendars_first_and_last_day_bound_nothing(customer: Customer, zone: str) -> None:
    """Wherever their midnights would be."""
    customer.generate(customer.manifest("spring", "pan"))
    whole = customer.asked("spend", "--timezone", zone)["total"]
    assert whole["cost"] > 0
    for by in ("day", "batch"):
        ends = customer.asked(
            "spend", "--timezone", zone, "--by", by, "--since", "0001-01-01", "--until", "9999-12-31"
        )
        assert ends["total"] == whole
    for nowhere in (("--since", "9999-12-31"), ("--until", "0001-01-01")):
        assert customer.asked("spend", "--timezone", zone, *nowhere)["total"]["cost"] == 0
