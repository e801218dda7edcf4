"""Commands as a user types them, each in a process forked from this one, which has imported everything already."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from reelbatch import failpoints
from reelbatch.cli import main

CRASHED = 70
"""The exit code of a command that ended with a traceback."""
KILLED = -9


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended, and what it said."""

    code: int  # KILLED: by a fail point
    out: str
    err: str

    @property
    def killed(self) -> bool:
        """Whether it did not get to its end."""
        return self.code == KILLED

    @property
    def has_traceback(self) -> bool:
        """Whether the user was shown one."""
        return self.code == CRASHED or "Traceback (most recent call last)" in self.err + self.out


@dataclass(frozen=True, slots=True)
class Running:
    """A command that runs."""

    pid: int
    said: Path  # its output, without the ending

    def wait(self) -> Done:
        """Its end."""
        _, status = os.waitpid(self.pid, 0)
        out, err = (self.said.with_suffix(ending).read_text("utf-8", "replace") for ending in (".out", ".err"))
        return Done(os.waitstatus_to_exitcode(status), out, err)


def start(folder: Path, argv: Sequence[str], points: str | None = None) -> Running:
    """Type a command in `folder`; `points` are the rules of its fail points."""
    said = folder / "said" / str(len(list((folder / "said").glob("*.out"))))
    pid = os.fork()
    if not pid:
        _become(folder, argv, said, points)
    return Running(pid, said)


def run(folder: Path, argv: Sequence[str], points: str | None = None) -> Done:
    """Type a command and wait for its end."""
    return start(folder, argv, points).wait()


def _become(folder: Path, argv: Sequence[str], said: Path, points: str | None) -> NoReturn:
    """Be the command, and end with its exit code; nothing of the process that it was forked from goes on here."""
    code = CRASHED
    try:
        _redirect(said)
        os.chdir(folder)
        tempfile.tempdir = str(folder / "tmp")
        sys.argv = ["reelbatch", *argv]
        failpoints.arm(points)
        code = exit_code_of_main()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:  # noqa: BLE001 - whatever it is, it may not go on as the parent
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def exit_code_of_main() -> int:
    """Run the command line that is in `sys.argv`."""
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _redirect(said: Path) -> None:
    for number, (path, flags) in enumerate(
        [
            (Path(os.devnull), os.O_RDONLY),
            (said.with_suffix(".out"), os.O_WRONLY | os.O_CREAT),
            (said.with_suffix(".err"), os.O_WRONLY | os.O_CREAT),
        ]
    ):
        descriptor = os.open(path, flags, 0o600)
        os.dup2(descriptor, number)
        os.close(descriptor)
