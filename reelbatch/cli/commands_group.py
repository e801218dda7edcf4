"""What all commands share: complaints that a terminal can show, no empty values, how Ctrl-C and a closed pipe end."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from reelbatch.ctrl_c import INTERRUPTED
from reelbatch.errors import UsageError
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


class OneCommand(TyperCommand):
    """Takes no empty value, as an unset variable leaves it: that is not the absence of one."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Says which option or argument is empty.

        Raises:
            UsageError: one is.
        """
        if not ctx.resilient_parsing:
            self._refuse_empty(args)
        return super().parse_args(ctx, args)

    def _refuse_empty(self, args: list[str]) -> None:
        options = {name for each in self.params if not getattr(each, "is_flag", True) for name in each.opts}
        before = ""
        for arg in args:
            name, _, value = arg.partition("=")
            if name in options and arg != name and not value.strip():
                raise UsageError(f"{name} is empty: state a value, or leave it out.")
            if not arg.strip():
                what = before if before in options else "An argument"
                raise UsageError(f"{what} is empty: state a value, or leave it out.")
            before = arg


@contextmanager
def _ending_well() -> Iterator[None]:
    """What Typer would make its own of: not every version of it ends with these codes."""
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except typer.Abort:  # Ctrl-D at a question
        sys.stderr.write("\n")
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
