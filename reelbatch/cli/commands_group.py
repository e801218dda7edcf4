"""What all commands share: complaints that a terminal can show, and how Ctrl-C and a closed pipe end them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from reelbatch.ctrl_c import INTERRUPTED
from reelbatch.printable import one_line

PIPE_CLOSED = 141
"""As of a program that SIGPIPE ends: 128 and the signal's number."""


class Commands(TyperGroup):
    """Complains about what was typed without repeating what acts on a terminal; a script may have put it there."""

    def make_context(self, *args: Any, **more: Any) -> Any:
        """Reads what stands before a command."""
        with _ending_well():
            return super().make_context(*args, **more)

    def invoke(self, ctx: Any) -> Any:
        """Reads what stands behind it."""
        with _ending_well():
            return super().invoke(ctx)


@contextmanager
def _ending_well() -> Iterator[None]:
    """What Typer would make its own of: not every version of it ends with these codes."""
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:
        leave_closed_pipe()
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # of Typer's own screen for `--help`, by rich's exit code
            leave_closed_pipe()
        raise
    except Exception as error:
        # Typer's own class for them is not public, and has moved between its versions.
        if hasattr(error, "format_message") and isinstance(message := getattr(error, "message", None), str):
            vars(error)["message"] = one_line(message)
        raise


def leave_closed_pipe() -> None:
    """No one reads on (`reelbatch status | head`): end without a word, as other tools do.

    Raises:
        SystemExit: always.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left of the output goes nowhere
    raise SystemExit(PIPE_CLOSED)
