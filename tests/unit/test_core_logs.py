"""What the core has to say goes to the logger `reelbatch`; only the command line writes to a terminal."""

from __future__ import annotations

import ast
import io
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import reelbatch
from reelbatch.cli.log_lines import log_on_stderr

ROOT = Path(reelbatch.__file__).parent
COMMANDS = ("cli/", "sandbox/__main__.py")
"""What is typed: the command line, and `python -m reelbatch.sandbox`, whose first line says where it listens."""


_STREAMS = {"sys.stdout", "sys.stderr", "sys.__stdout", "sys.__stderr"}


def _written(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            yield f"line {node.lineno}: print"
        if isinstance(node, ast.Attribute) and ast.unparse(node).strip("_") in _STREAMS:
            yield f"line {node.lineno}: {ast.unparse(node)}"


def test_only_the_command_line_writes_to_standard_output_or_error() -> None:
    """A script or a worker that uses the core decides by itself what becomes of its messages."""
    found = {
        name: written
        for path in ROOT.rglob("*.py")
        if not (name := path.relative_to(ROOT).as_posix()).startswith(COMMANDS)
        and (written := list(_written(path.read_text(encoding="utf-8"))))
    }
    assert found == {}
    assert list(_written("import sys\nprint(1, file=sys.stderr)\n")) != []


def test_the_command_line_shows_what_the_core_logs_as_plain_lines(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The text alone, printable, once; and nothing is left of it after the command."""
    log, shown = logging.getLogger("reelbatch"), io.StringIO()
    monkeypatch.setattr(sys, "stderr", shown)
    before = (list(log.handlers), log.level, log.propagate)
    with log_on_stderr():
        log.info("Settings from %s", "a\x1b[31m.yaml")
    assert shown.getvalue() == "Settings from a\\x1b[31m.yaml\n"
    assert (list(log.handlers), log.level, log.propagate) == before
    assert not caplog.records
