"""The question before anything is spent: at a terminal, about the live API, and about just what would be sent."""

from __future__ import annotations

import io
import re
import sys
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import update
from terminal import environment, typed

from reelbatch.cli.confirm import Spending, confirm_generate
from reelbatch.domain import Batch, RunId
from reelbatch.ledger import Ledger, samples
from reelbatch.ledger.schema import generations
from reelbatch.ledger.selection import Scope
from reelbatch.pipeline.load_manifest import load
from reelbatch.pipeline.plan import GenerateOptions, plan
from reelbatch.pipeline.row_options import send_options
from reelbatch.pipeline.run_listener import Agreement, NotAgreed
from reelbatch.settings import load_settings

API = "https://api.example.invalid"
ROWS = 12


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Twelve rows of 48 credits each."""
    rows = [f"K{n},https://img.example/{n}.jpg,Pan {n},2,ltx-2.3,480p" for n in range(ROWS)]
    path = tmp_path / "spring.csv"
    path.write_text("\n".join(["row_key,image_path,prompt,end_seconds,model,resolution", *rows]))
    return path


@pytest.fixture
def finished(manifest: Path, tmp_path: Path) -> str:
    """A table in which every row has its video."""
    url = f"sqlite:///{tmp_path}/r.db"
    settings = load_settings(options={"results": url, "base_url": API})
    with Ledger(url) as ledger:
        load(GenerateOptions(source=str(manifest)), settings, ledger)
        done = update(generations).values(state="complete", video_id="v")
        ledger.change(lambda connection: connection.execute(done))
    return url


def at_terminal(folder: Path, *arguments: str, answer: str = "n\n") -> tuple[int, str]:
    """Type a command and answer its question; exit code, and all that the terminal showed."""
    code, shown = typed(folder, environment(folder, COLUMNS="200"), *arguments, answer=answer)
    return code, re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", shown).decode(errors="replace")


def sent_line(shown: str) -> str:
    """What the plan says is to be sent."""
    return next(line.split()[2] for line in shown.splitlines() if line.strip().startswith("to send"))


@pytest.mark.parametrize(
    ("options", "rows", "credits_"),
    [([], ROWS, 576), (["--limit", "3"], 3, 144), (["--limit", "0"], 0, 0)],
    ids=str,
)
def test_the_question_is_about_this_run(
    manifest: Path, tmp_path: Path, options: list[str], rows: int, credits_: int
) -> None:
    """A limit counts in rows and in credits; where nothing is to be sent, no one is asked."""
    where = ["--base-url", API, "--results", f"sqlite:///{tmp_path}/r.db"]
    if not rows:  # plan says the same, and there is nothing to ask
        code, shown = at_terminal(tmp_path, "plan", str(manifest), *where, *options)
        assert (code, sent_line(shown), "[y/N]" in shown) == (0, "0", False)
        return
    code, shown = at_terminal(tmp_path, "generate", str(manifest), *where, *options)
    assert (code, sent_line(shown)) == (0, str(rows))
    assert f"Estimated cost: {credits_} credits" in shown
    assert "Send these rows?" in shown
    assert not (tmp_path / "r.db").exists()


def test_ctrl_d_is_no_answer(manifest: Path, tmp_path: Path) -> None:
    """Nothing is sent, and the exit code is that of a command that was stopped, and not of rows to look at."""
    code, shown = at_terminal(tmp_path, "generate", manifest.name, "--base-url", API, answer="\x04")
    assert (code, sent_line(shown)) == (130, str(ROWS))
    assert shown.endswith("[y/N]: \r\n")
    assert not (tmp_path / "results").exists()


def test_videos_that_are_made_again_are_asked_about(manifest: Path, tmp_path: Path, finished: str) -> None:
    """`--regenerate all` on a finished batch is not "0 to send"."""
    command = ("generate", str(manifest), "--base-url", API, "--results", finished, "--regenerate", "all")
    code, shown = at_terminal(tmp_path, *command)
    assert (code, sent_line(shown)) == (0, str(ROWS))
    code, shown = at_terminal(tmp_path, *command, "--rows", "K1,K2")
    assert (code, sent_line(shown)) == (0, "2")


def test_a_pilot_whose_sample_was_sent_asks_nothing(manifest: Path, tmp_path: Path) -> None:
    """Other rows wait, and this command sends none of them."""
    url = f"sqlite:///{tmp_path}/r.db"
    settings = load_settings(options={"results": url, "base_url": API})
    options = GenerateOptions(source=str(manifest), send=send_options(pilot=2))
    scope = Scope(Batch("spring"), RunId(""))
    with Ledger(url) as ledger:
        load(options, settings, ledger)
        drawn = ledger.read(partial(samples.sample, scope=scope, rows=2))
        done = update(generations).values(state="complete", video_id="v").where(generations.c.row_key.in_(drawn))
        ledger.change(lambda connection: connection.execute(done))
    where = ["--base-url", API, "--results", url, "--pilot"]
    assert "Send these rows?" in at_terminal(tmp_path, "generate", str(manifest), *where, "3")[1]
    shown = at_terminal(tmp_path, "generate", str(manifest), *where, "2")[1]
    assert "Pilot: none of a sample of 2 rows is left to send" in shown
    assert "Send these rows?" not in shown


class _Terminal(io.StringIO):
    """Someone who types these lines."""

    def isatty(self) -> bool:
        return True


def test_where_nothing_was_to_be_sent_no_one_has_said_yes(
    manifest: Path, finished: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All videos that are to be made again render, and finish between the plan and the run, which asks then."""
    settings = load_settings(options={"results": finished, "base_url": API, "api_key": "of-no-one"})
    options = GenerateOptions(source=str(manifest), send=send_options(regenerate="all"))
    _set_states(finished, "rendering")
    monkeypatch.setattr(sys, "stdin", _Terminal())  # no line is typed: there is no question
    question = confirm_generate(options, settings, Spending(given=False, as_json=False, sandbox=False))
    assert question is not None
    assert question.bind(plan(options, settings)) == Agreement(rows=0, credits_estimated=0, unknown_rate=0)
    _set_states(finished, "complete")
    found = plan(options, settings)
    monkeypatch.setattr(sys, "stdin", _Terminal("y\n"))
    assert question.bind(found) == Agreement(rows=ROWS, credits_estimated=576, unknown_rate=0)
    monkeypatch.setattr(sys, "stdin", _Terminal("n\n"))
    with pytest.raises(NotAgreed, match="more was to be sent"):
        question.bind(found)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with pytest.raises(NotAgreed, match="12 rows for 576 credits are to be sent by now; there were none before"):
        question.bind(found)


def _set_states(url: str, state: str) -> None:
    with Ledger(url) as ledger:
        ledger.change(lambda connection: connection.execute(update(generations).values(state=state)))
