"""Every command, and what happens to the errors of all of them."""

from __future__ import annotations

import atexit
import errno
import gc
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from reelbatch.cli.commands.batches import batches
from reelbatch.cli.commands.doctor import doctor
from reelbatch.cli.commands.export import export
from reelbatch.cli.commands.generate import generate
from reelbatch.cli.commands.init import init
from reelbatch.cli.commands.models import models
from reelbatch.cli.commands.plan import plan
from reelbatch.cli.commands.reconcile import reconcile
from reelbatch.cli.commands.report import report
from reelbatch.cli.commands.rerun import rerun
from reelbatch.cli.commands.review import review
from reelbatch.cli.commands.runs import runs
from reelbatch.cli.commands.sandbox import sandbox
from reelbatch.cli.commands.settle import settle
from reelbatch.cli.commands.spend import spend
from reelbatch.cli.commands.status import status
from reelbatch.cli.commands.webhook import webhook
from reelbatch.cli.commands_group import Commands, OneCommand, leave_closed_pipe
from reelbatch.cli.log_lines import log_on_stderr
from reelbatch.ctrl_c import INTERRUPTED
from reelbatch.errors import ReelbatchError, UsageError
from reelbatch.pipeline.asking_once import asking_once
from reelbatch.printable import is_utf8, replace_unprintable
from reelbatch.typed_options import noting

app = typer.Typer(
    cls=Commands,
    name="reelbatch",
    help="Bulk image-to-video over the Magic Hour API: a manifest in, every row paid for exactly once.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # they print local variables, and a key may be among them
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    init,
    plan,
    generate,
    rerun,
    settle,
    status,
    review,
    report,
    runs,
    batches,
    spend,
    models,
    export,
    reconcile,
    doctor,
    webhook,
    sandbox,
):
    app.command(cls=OneCommand)(command)

_COLLECT_AFTER = (100_000, 50, 50)
"""Objects between two looks for cycles: by default, a fifth of the time that a command takes goes there."""
_UNFINISHED = 1
_USAGE = 2
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        sys.stdout.write(f"reelbatch {version('reelbatch')}\n")
        raise typer.Exit


@app.callback()
def _before_any_command(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    del version  # its callback has answered
    try:
        Path.cwd()
    except OSError:
        raise UsageError("The current folder is not there any more: change to another one.") from None


def _stand_in_for_closed_streams() -> None:
    """Where a supervisor has closed one (`>&-`), Python has none; and a file that is opened would get its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - as long as the process


def _refuse_no_utf8(arguments: Sequence[str]) -> None:
    if (no_text := next((each for each in arguments if not is_utf8(each)), None)) is not None:
        raise UsageError(f'"{no_text}": is no UTF-8, and no table holds it. Rename the file, or name it otherwise.')


def main() -> None:
    """Run the command line; errors that have a message end with it and without a traceback."""
    _stand_in_for_closed_streams()
    replace_unprintable(sys.stdout, sys.stderr)
    gc.set_threshold(*_COLLECT_AFTER)
    atexit.register(gc.freeze)  # else Python's end, a fifth of a short command, looks for cycles in every module
    try:
        try:
            _refuse_no_utf8(sys.argv)
            with log_on_stderr(), asking_once(), noting():
                app(prog_name="reelbatch")
        finally:
            sys.stdout.flush()
    except ReelbatchError as error:
        from reelbatch.cli import render

        render.fail(str(error))
        sys.exit(_USAGE)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # `reelbatch status | head`
        leave_closed_pipe()
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        from reelbatch.cli import render

        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left of it goes nowhere
        render.fail(f"The output can't be written: {error.strerror}. The results table has what was done.")
        sys.exit(_UNFINISHED)
