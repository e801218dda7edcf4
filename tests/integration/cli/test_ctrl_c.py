"""Ctrl-C and SIGTERM: exit code 130, and no traceback; with real processes, since it is theirs to answer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import forked
import pytest
from terminal import environment, typed
from waiting import wait_until

from reelbatch.domain import Batch, RowState
from reelbatch.ledger import Ledger, queries
from reelbatch.sandbox import SandboxConfig, start
from reelbatch.signals import SAID_AT_FIRST

ROWS = "image_path,prompt,end_seconds\nhttps://img.example/a.png,hello,5\n"


def started(
    folder: Path, *arguments: str, python: tuple[str, ...] = (), begun: Any = forked.Popen, **env: str
) -> subprocess.Popen[str]:
    """A command at work, in a group of its own; nothing of this machine's settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("REELBATCH_", "MAGIC_HOUR"))}
    return begun(
        [sys.executable, *python, "-m", "reelbatch", *arguments],
        cwd=folder,
        env={**kept, "PYTHONUNBUFFERED": "1", **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.parametrize(
    ("imported", "number"),
    [
        *(
            (imported, signal.SIGINT)
            for imported in ("reelbatch.ctrl_c", "typing", "typer", "reelbatch.cli.options", "pydantic", "numpy")
        ),
        ("reelbatch.ctrl_c", signal.SIGTERM),
        ("numpy", signal.SIGTERM),
    ],
)
def test_ctrl_c_while_the_program_is_imported(imported: str, number: signal.Signals, tmp_path: Path) -> None:
    """At the first moment that is ours, and at several after it."""
    (tmp_path / "m.csv").write_text(ROWS)
    telling = ("-X", "importtime")  # what has been imported
    process = started(tmp_path, "plan", "m.csv", python=telling, begun=subprocess.Popen)
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if line.rpartition("|")[2].strip() == imported:
            break
    if imported == "reelbatch.ctrl_c":  # the next that is imported, once it has done its part
        said.append(process.stderr.readline())
    process.send_signal(number)
    rest = process.communicate(timeout=60)[1]
    assert (process.returncode, "Traceback" in "".join([*said, rest])) == (130, False), rest


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_has_its_table_open_ends_by_either(number: signal.Signals, tmp_path: Path) -> None:
    """Once it is at work, and nothing is under way that would have to be waited for."""
    with Ledger(f"sqlite:///{tmp_path}/r.db"):
        pass
    process = started(tmp_path, "status", "--watch", "--interval", "0.1", "--results", f"sqlite:///{tmp_path}/r.db")
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(number)
    rest = process.communicate(timeout=60)[1]
    assert (process.returncode, rest) == (130, "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_says_that_a_second_stops_at_once(number: signal.Signals, tmp_path: Path) -> None:
    """While a request is under way: the first waits for it, the second does not, and the row is the next run's."""
    (tmp_path / "m.csv").write_text(ROWS)
    with start(SandboxConfig(latency_ms=120_000, data=str(tmp_path / "api"))) as api:
        where = ("--base-url", api.url, "--results", f"sqlite:///{tmp_path}/r.db")
        process = started(tmp_path, "generate", "m.csv", *where, "--yes", MAGIC_HOUR_API_KEY=api.key)
        assert process.stderr is not None
        wait_until(lambda: is_sending(tmp_path / "r.db") or process.poll() is not None, "a request is under way")
        process.send_signal(number)
        said = next(line for line in process.stderr if "no results table yet" not in line)
        process.send_signal(number)
        rest = process.communicate(timeout=60)[1]
    assert said == f"{SAID_AT_FIRST}\n"
    assert (process.returncode, rest) == (130, "")
    assert is_sending(tmp_path / "r.db")


def is_sending(path: Path) -> bool:
    """Whether the only row of the table is on its way."""
    if not Ledger.exists(f"sqlite:///{path}"):
        return False
    with Ledger.to_read(f"sqlite:///{path}") as ledger:
        return ledger.read(lambda connection: queries.counts(connection, Batch("m"))) == {RowState.SENDING: 1}


def test_ctrl_c_at_the_question(tmp_path: Path) -> None:
    """Typed at a terminal in place of an answer: nothing is sent, nothing is made, and the code is 130 here too."""
    (tmp_path / "m.csv").write_text(ROWS)
    env = environment(tmp_path)
    code, shown = typed(
        tmp_path, env, "generate", "m.csv", "--base-url", "https://api.example.invalid", answer="\x03"
    )
    assert (code, b"Send these rows?" in shown, b"Traceback" in shown) == (130, True, False)
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("command", ["plan", "generate"])
def test_ctrl_c_while_a_large_manifest_is_read(command: str, tmp_path: Path) -> None:
    """The terminal gets its cursor back, which the line of progress has hidden."""
    rows = (f"k{n},https://img.example/{n}.png,hello,5\n" for n in range(400_000))
    (tmp_path / "m.csv").write_text("row_key,image_path,prompt,end_seconds\n" + "".join(rows))
    arguments = (command, "m.csv", "--base-url", "https://api.example.invalid")
    env = environment(tmp_path, TERM="xterm")
    code, shown = typed(tmp_path, env, *arguments, interrupted_at=b"reading the manifest", begun=subprocess.Popen)
    assert (code, b"Traceback" in shown) == (130, False)
    assert shown.rindex(b"\x1b[?25h") > shown.rindex(b"\x1b[?25l")
    assert not (tmp_path / "results").exists()
