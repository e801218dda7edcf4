"""The command line as someone types it at a terminal."""

from __future__ import annotations

import os
import pty
import select
import sys
import time
from collections.abc import Mapping
from pathlib import Path

WAIT_S = 60.0


def environment(folder: Path, **more: str) -> dict[str, str]:
    """This machine's, without settings of Reelbatch; with a key, and a Prefect folder in `folder`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("REELBATCH_", "MAGIC_HOUR"))}
    return {**kept, "MAGIC_HOUR_API_KEY": "of-no one", "PREFECT_HOME": str(folder / "prefect"), **more}


def typed(folder: Path, env: Mapping[str, str], *arguments: str, answer: str | None = None) -> tuple[int, bytes]:
    """Type a command in `folder`, and `answer` its question; exit code, and all bytes that the terminal was given."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execve(sys.executable, [sys.executable, "-m", "reelbatch", *arguments], env)  # noqa: S606 - the program itself
    shown, deadline = b"", time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 0.2)[0]:
            continue
        try:
            part = os.read(terminal, 65536)
        except OSError:  # the other end is gone
            break
        if not part:
            break
        shown += part
        if answer is not None and b"[y/N]" in shown:
            os.write(terminal, answer.encode())
            answer = None
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown
