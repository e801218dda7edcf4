"""The command line as someone types it at a terminal."""

from __future__ import annotations

import os
import pty
import select
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import forked

WAIT_S = 60.0
CTRL_C = "\x03"
_AGAIN_S = 3.0


def environment(folder: Path, **more: str) -> dict[str, str]:
    """This machine's, without settings of Reelbatch; with a key, and a Prefect folder in `folder`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("REELBATCH_", "MAGIC_HOUR"))}
    return {**kept, "MAGIC_HOUR_API_KEY": "of-no one", "PREFECT_HOME": str(folder / "prefect"), **more}


def typed(
    folder: Path,
    env: Mapping[str, str],
    *arguments: str,
    answer: str | None = None,
    interrupted_at: bytes | None = None,
    begun: Any = forked.Popen,
) -> tuple[int, bytes]:
    """Type a command in `folder`, and `answer` its question; exit code, and all bytes that the terminal was given.

    Ctrl-C is typed again where nothing comes of it, as people do: of a signal that comes between the prompt and the
    wait for an answer, Python takes note with the next one. It gets a SIGINT once it has shown `interrupted_at`.
    """
    terminal, screen = pty.openpty()
    command = [sys.executable, "-m", "reelbatch", *arguments]
    process = begun(command, cwd=folder, env=env, stdin=screen, stdout=screen, stderr=screen, start_new_session=True)
    os.close(screen)
    shown, deadline, typed_at = b"", time.monotonic() + WAIT_S, 0.0
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 0.2)[0]:
            if typed_at and answer == CTRL_C and time.monotonic() > typed_at + _AGAIN_S:
                typed_at = _type(terminal, CTRL_C)
            continue
        try:
            part = os.read(terminal, 65536)
        except OSError:  # the other end is gone
            break
        if not part:
            break
        shown += part
        if answer is not None and not typed_at and b"[y/N]" in shown:
            typed_at = _type(terminal, answer)
        if interrupted_at is not None and interrupted_at in shown:
            process.send_signal(signal.SIGINT)
            interrupted_at = None
    try:
        return process.wait(WAIT_S), shown
    finally:
        os.close(terminal)  # not before: a process that is still ending would be hung up on


def _type(terminal: int, keys: str) -> float:
    os.write(terminal, keys.encode())
    return time.monotonic()
