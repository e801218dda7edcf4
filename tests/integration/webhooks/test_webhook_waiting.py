"""`reelbatch reconcile --wait`: it stays until events have cleared everything up, or until Ctrl-C."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import forked
import pytest
from waiting import wait_until
from webhook_stories import Receiving, intend, tell

from reelbatch.ledger import Ledger
from reelbatch.ledger.admission import Intent
from reelbatch.ledger.attempts import Ending

TOKENS = {"a": "rb_0123456789abcdef000a", "b": "rb_0123456789abcdef000b"}


class Waiting:
    """The command as a process, with what it says in files."""

    def __init__(self, folder: Path, url: str) -> None:
        self._out, self._err = folder / "out", folder / "err"
        command = [sys.executable, "-m", "reelbatch", "reconcile", "--results", url, "--wait", "--json"]
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = forked.Popen(command, stdin=forked.DEVNULL, stdout=out, stderr=err)

    def heard(self, *lines: str) -> None:
        """Wait until it has said these lines, and no others."""
        wait_until(lambda: self.said() == list(lines) or self.process.poll() is not None, f"it says {lines}")
        assert self.said() == list(lines)
        assert self.process.poll() is None

    def said(self) -> list[str]:
        """The lines on standard error."""
        return self._err.read_text().splitlines()

    def end(self) -> tuple[int, Any]:
        """Its exit code and its JSON, if any, once it has ended."""
        code = self.process.wait(60)
        out = self._out.read_text()
        return code, json.loads(out) if out else None


@pytest.fixture
def doubtful(ledger: Ledger) -> list[Intent]:
    """Two rows in doubt."""
    intents = [intend(ledger, key, token) for key, token in TOKENS.items()]
    for intent in intents:
        tell(ledger, intent, Ending.IN_DOUBT, code="connection_lost", message="no answer")
    return intents


@pytest.fixture
def waiting(doubtful: list[Intent], table: str, tmp_path: Path) -> Iterator[Waiting]:
    """The command, which has found both rows."""
    command = Waiting(tmp_path, table)
    try:
        command.heard("2 in doubt, waiting for events")
        yield command
    finally:
        command.process.kill()
        command.process.wait()


def test_it_returns_when_an_event_clears_the_last_row(
    waiting: Waiting, receiving: Receiving, doubtful: list[Intent]
) -> None:
    """It says how many are left, once for each number, and ends with 0 when there are none."""
    first, last = doubtful
    assert receiving.send("video.started", first, "vid-1") == 200
    waiting.heard("2 in doubt, waiting for events", "1 in doubt, waiting for events")
    assert receiving.send("video.completed", last, "vid-2") == 200
    assert waiting.end() == (0, {"in_doubt": [], "resolved": []})


def test_ctrl_c_ends_it(waiting: Waiting, ledger: Ledger) -> None:
    """Exit code 130 without a traceback; rows in doubt stay so."""
    waiting.process.send_signal(signal.SIGINT)
    assert waiting.end() == (130, None)
    assert waiting.said() == ["2 in doubt, waiting for events"]
