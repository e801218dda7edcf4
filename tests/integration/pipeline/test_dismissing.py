"""Failed rows that are dismissed count for nothing, until they fail anew or someone takes that back."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import run_here
from sqlalchemy import select, update

import reelbatch
from reelbatch.ledger import Ledger
from reelbatch.ledger.schema import decisions, generations
from reelbatch.sandbox import RunningSandbox, start
from reelbatch.typed_options import joined


@pytest.fixture(scope="module")
def running() -> Iterator[RunningSandbox]:
    with start(render_seconds=0.1, queue_seconds=0.0, render_video=False) as sandbox:
        yield sandbox


class Shop:
    """A manifest of three rows, of which one is invalid and one is rejected."""

    def __init__(self, folder: Path, sandbox: RunningSandbox) -> None:
        self.folder, self.sandbox = folder, sandbox
        self.results = f"sqlite:///{folder / 'r.db'}"
        self.write("2")

    def write(self, seconds_of_b: str) -> None:
        """The manifest; row C can't be made by its model."""
        head = "row_key,image_path,prompt,end_seconds,model,resolution\n"
        rows = (("A", "2"), ("B", seconds_of_b), ("C", "900"))
        lines = (f"{key},https://x.example/{key}.png,{key},{seconds},ltx-2.3,480p\n" for key, seconds in rows)
        (self.folder / "spring.csv").write_text(head + "".join(lines), encoding="utf-8")

    def generate(self) -> reelbatch.pipeline.run_summary.RunReport:
        """One night."""
        url, key = self.sandbox.url, self.sandbox.key
        return reelbatch.generate(self.folder / "spring.csv", results=self.results, base_url=url, api_key=key)

    def rerun(self, *options: str) -> Any:
        """The command that dismisses."""
        return run_here(self.folder, "rerun", "--results", self.results, *options, COLUMNS="200")

    def status(self) -> dict[str, Any]:
        """The batch, as it is told to machines."""
        done = run_here(self.folder, "status", "--results", self.results, "--json")
        (batch,) = json.loads(done.out)["batches"]
        return dict(batch)


@pytest.fixture
def shop(tmp_path: Path, sandbox: RunningSandbox) -> Shop:
    made = Shop(tmp_path, sandbox)
    sandbox.set_faults(script=[None, "invalid"])
    assert made.generate().exit_code == 1
    sandbox.set_faults()
    return made


def test_what_takes_it_back_can_be_typed_as_it_stands(shop: Shop) -> None:
    """A key with blanks, signs of a shell or the comma between keys is quoted."""
    key = "Lamp, $5 & 'more'"
    with Ledger(shop.results) as ledger:
        renamed = update(generations).where(generations.c.row_key == "C").values(row_key=key)
        ledger.change(lambda connection: connection.execute(renamed))
    undo = shop.rerun("--dismiss", joined([key])).out.split("`")[1]
    back = shop.rerun(*shlex.split(undo)[-2:], "--json")
    assert json.loads(back.out) == {"batch": "spring", "undismissed": 1}


def test_dismissed_rows_no_longer_make_a_night_red(shop: Shop) -> None:
    """Exit 0 with nothing to do; they stay as they are, are not sent again, and status names how many there are."""
    said = shop.rerun("--dismiss", "B,C")
    undo = f"`reelbatch rerun --results {shop.results} --undismiss B,C` takes that back.\n"
    assert (said.code, said.out) == (0, f"2 of batch spring count for nothing from now on. {undo}")
    report = shop.generate()
    assert (report.exit_code, report.sent, report.status.needs_attention) == (0, 0, 0)
    preview = shop.rerun("--dry-run", "--json")
    assert json.loads(preview.out)["send"] == 0
    status = shop.status()
    assert (status["dismissed"], status["states"]["rejected"], status["states"]["invalid"]) == (2, 1, 1)


def test_a_plan_ends_with_what_the_run_ends_with(shop: Shop) -> None:
    """A dismissed row that fails its checks is named still, and is no problem; what it asks for anew is one again."""
    shop.rerun("--dismiss", "B,C")
    plan = ("plan", "spring.csv", "--results", shop.results)
    fine = run_here(shop.folder, *plan, COLUMNS="200")
    assert (fine.code, fine.err.count('column "end_seconds"')) == (0, 1)
    assert "1 problem in rows of which nothing is asked" in fine.err
    assert run_here(shop.folder, *plan, "--strict").code == 0
    manifest = shop.folder / "spring.csv"
    manifest.write_text(manifest.read_text(encoding="utf-8").replace(",900,", ",901,"), encoding="utf-8")
    anew = run_here(shop.folder, *plan)
    assert (anew.code, "1 problem in the manifest" in anew.err) == (1, True)
    assert shop.generate().exit_code == 1


def test_who_dismissed_what_is_kept_and_can_be_taken_back(shop: Shop) -> None:
    """Each with its time and user, in `decisions`; what is taken back counts again."""
    shop.rerun("--dismiss", "B,C")
    again = shop.rerun("--dismiss", "B", "--json")
    assert json.loads(again.out) == {"batch": "spring", "dismissed": 0}
    back = shop.rerun("--undismiss", "B,C", "--json")
    assert json.loads(back.out) == {"batch": "spring", "undismissed": 2}
    assert shop.generate().exit_code == 1
    with Ledger(shop.results) as ledger:
        kept = ledger.read(lambda connection: connection.execute(select(decisions)).mappings().all())
    assert [(row["row_key"], row["verdict"]) for row in kept] == [
        ("B", "dismissed"),
        ("C", "dismissed"),
        ("B", "recalled"),
        ("C", "recalled"),
    ]
    assert all(row["decided_by"] and row["decided_at"] for row in kept)


def test_a_dismissed_row_that_was_corrected_and_fails_anew_counts_again(shop: Shop) -> None:
    """A dismissal is about one failure, not about a row for ever."""
    shop.rerun("--dismiss", "B,C")
    shop.write("3")
    shop.sandbox.set_faults(script=["invalid"])
    report = shop.generate()
    assert (report.sent, report.status.needs_attention, report.exit_code) == (1, 1, 1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--dismiss", "A"], "A (queued)"),
        (["--dismiss", "Z"], 'batch "spring" has no row with the key Z'),
        (["--dismiss", "B", "--undismiss", "C"], "either with --dismiss KEY,… or with --undismiss KEY,…"),
    ],
    ids=["has its video", "unknown", "both"],
)
def test_what_can_not_be_dismissed_is_named(shop: Shop, options: list[str], said: str) -> None:
    """Exit code 2, one line, and nothing is changed."""
    done = shop.rerun(*options)
    assert done.code == 2
    assert said in done.err
    assert shop.status()["dismissed"] == 0
