"""Reelbatch under measurement: its command line, and its library in a script."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.processes import Process, Usage, environment, module, run_process

DONE = (0, 1)  # everything that could be sent was sent
LONG_S = 4 * 3600.0


def command(*arguments: str) -> list[str]:
    """The command line as it is installed."""
    return [str(Path(sys.executable).with_name("reelbatch")), *arguments]


def table_url(folder: Path) -> str:
    """A results table in `folder`."""
    return f"sqlite:///{folder / 'results.db'}"


def generate_command(manifest: Path, url: str, table: str, concurrency: int, *more: str) -> list[str]:
    """`reelbatch generate`, told everything."""
    where = ("--base-url", url, "--results", table, "--concurrency", str(concurrency))
    return command("generate", str(manifest), *where, "--json", *more)


def start_script(work: str, manifest: Path | None, **options: Any) -> Process:
    """Start one work of benchmarks.script."""
    stated = {"manifest": str(manifest), "options": options}
    return Process(module("benchmarks.script", work, json.dumps(stated)), environment())


def run_script(work: str, manifest: Path | None, **options: Any) -> Usage:
    """The same, to its end."""
    return start_script(work, manifest, **options).wait(LONG_S)


def run_command(arguments: list[str], **env: str) -> Usage:
    """Run the command line to its end."""
    return run_process(arguments, environment(**env), LONG_S, DONE)
