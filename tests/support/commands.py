"""The command line without a process of its own: what it says, writes and returns where Prefect has no part."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import IO, NamedTuple

import pytest

from reelbatch.cli import main

OURS = ("REELBATCH_", "MAGIC_HOUR")


class Ran(NamedTuple):
    """How a command ended, and each byte that it wrote to a pipe."""

    code: int
    stdout: bytes
    stderr: bytes

    @property
    def out(self) -> str:
        """Standard output as text."""
        return self.stdout.decode()

    @property
    def err(self) -> str:
        """Standard error as text."""
        return self.stderr.decode()


def run_here(folder: Path, *arguments: str | Path, stdin: IO[str] | None = None, **env: str) -> Ran:
    """Run a command in `folder`, without any setting of this machine; standard input is empty unless it is given.

    A process of its own takes a second of processor time, of which the command itself has the smallest part.
    """
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="surrogateescape") for _ in range(2))
    with pytest.MonkeyPatch.context() as patch, Path(os.devnull).open(encoding="utf-8") as nothing:
        for name in [name for name in os.environ if name.startswith(OURS)]:
            patch.delenv(name)
        for name, value in {"PREFECT_HOME": str(folder / "prefect"), "COLUMNS": "160", **env}.items():
            patch.setenv(name, value)
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["reelbatch", *map(str, arguments)])
        for stream, instead in (("stdin", stdin or nothing), ("stdout", out), ("stderr", err)):
            patch.setattr(sys, stream, instead)
        with pytest.raises(SystemExit) as left:
            main()
    for said in (out, err):
        said.flush()
    return Ran(int(left.value.code or 0), out.buffer.getvalue(), err.buffer.getvalue())  # type: ignore[attr-defined]  # a BytesIO
