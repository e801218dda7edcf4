"""What the core logs, as plain lines on standard error."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from reelbatch.printable import printable


class _Lines(logging.Handler):
    """The message alone: someone at a terminal needs neither its time nor the name of its logger."""

    def emit(self, record: logging.LogRecord) -> None:
        """Nothing in it acts on the terminal."""
        try:
            sys.stderr.write(f"{printable(record.getMessage())}\n")
        except Exception:  # noqa: BLE001 - as every handler of logging does
            self.handleError(record)


@contextmanager
def log_on_stderr() -> Iterator[None]:
    """While a command runs, its process has this one handler for the core, whatever Prefect does with the others."""
    core, handler = logging.getLogger("reelbatch"), _Lines()
    level, propagate = core.level, core.propagate
    core.addHandler(handler)
    core.setLevel(logging.INFO)
    core.propagate = False
    try:
        yield
    finally:
        core.removeHandler(handler)
        core.setLevel(level)
        core.propagate = propagate
