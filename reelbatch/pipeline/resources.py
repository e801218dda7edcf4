"""Opening the results table for a command. It imports no more than a look at the table needs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from reelbatch.errors import LedgerError, LedgerUnusable
from reelbatch.printable import one_line, say
from reelbatch.settings.table_urls import file_of, sandbox_table

if TYPE_CHECKING:
    from reelbatch.ledger import Ledger
    from reelbatch.settings import Settings
    from reelbatch.settings.config_file import ConfigFile

_RESCUED, _TAKEN = "*.rescue.jsonl*", ".taken"


@contextmanager
def opened_ledger(settings: Settings, *, must_exist: bool = False) -> Iterator[Ledger]:
    """The results table, with what dead workers left behind cleared up.

    Raises:
        LedgerUnusable: it can't be opened, or does not exist although it must.
    """
    from reelbatch.ledger import Ledger

    if must_exist:
        _check_exists(settings)
    with Ledger(settings.results, settings.lease_s) as ledger:
        _clear_up(ledger, settings)
        yield ledger


@contextmanager
def looked_at(settings: Settings, warn: Callable[[str], None]) -> Iterator[Ledger]:
    """The results table for a command that only reads it; one that can't be written will do.

    It is cleared up where that is allowed; where it is not, `warn` is told what dead workers left behind.

    Raises:
        LedgerUnusable: it can't be opened, or does not exist.
    """
    from reelbatch.ledger import Ledger
    from reelbatch.ledger.engine import is_unwritable

    _check_exists(settings)
    with Ledger.to_read(settings.results, settings.lease_s) as ledger:
        try:
            _clear_up(ledger, settings)
        except (LedgerError, PermissionError) as error:
            if isinstance(error, LedgerError) and not is_unwritable(error):
                raise
            _tell_what_is_left(ledger, settings, warn)
        yield ledger


def table_shown(settings: Settings) -> str:
    """Where the results table is: the whole path of a file, or a URL without its password."""
    from reelbatch.ledger.engine import parse_url, shown, sqlite_path

    url = parse_url(settings.results)
    path = sqlite_path(url)
    return str(path.absolute()) if path else shown(url)


def table_is_new(settings: Settings) -> bool:
    """Whether the results table is a file that does not exist yet, so that a run would make it."""
    from reelbatch.ledger import Ledger

    return not Ledger.exists(settings.results)


def table_notice(settings: Settings) -> str | None:
    """What to know before a run makes a results table anew; None where there is one."""
    return new_table(table_shown(settings)) if table_is_new(settings) else None


def new_table(where: str) -> str:
    """That the results table at `where` is yet to be made: whoever expected rows in it stands in the wrong folder."""
    return f"There is no results table yet; a new one will be made: {where}"


def refuse_live_rows(settings: Settings) -> None:
    """The sandbox keeps out of a table in which something was paid for.

    Raises:
        LedgerUnusable: it holds a batch of another API than this machine's.
    """
    from reelbatch.ledger import Ledger, runs

    if table_is_new(settings):
        return
    with Ledger.to_read(settings.results) as ledger:
        live = ledger.read(runs.live_batches)
        where = ledger.shown_url
    if live:
        batch, api = live[0]
        raise LedgerUnusable(
            f'{where}: holds live rows (batch "{batch}" of {api}), and --sandbox keeps out of such a table. '
            "Leave --sandbox out, or --results, or state another table there."
        )


def describe_config(file: ConfigFile) -> str:
    """What to know of a `reelbatch.yaml` that was found: where it is, and what it says of API and results table."""
    lines = [
        *(f"{path} belongs to another user and is not used; --config {path} uses it." for path in file.foreign),
        *(f"{path} can be written by others and is not used; `chmod go-w` it first." for path in file.shared),
    ]
    if file.path is not None:
        parts = ", ".join(_shown_parts(file))
        lines.append(f"Settings from {file.path}{f' ({parts})' if parts else ''}")
    return "\n".join(map(one_line, lines))


def _shown_parts(file: ConfigFile) -> Iterator[str]:
    if isinstance(base_url := file.stated.get("base_url"), str):
        from reelbatch.storage.files import redact_url

        yield f"base_url: {redact_url(base_url)}"
    if isinstance(results := file.stated.get("results"), str):
        from reelbatch.ledger.engine import parse_url, shown

        yield f"results: {shown(parse_url(results))}"


def say_config(file: ConfigFile) -> None:
    """The same on standard error, once in each process."""
    text = describe_config(file)
    if text not in _said:
        _said.add(text)
        say(text)


_said: set[str] = set()


def any_rescued(path: Path | None) -> bool:
    """Whether there are answers that a table would not take, in the folder for temporary files or beside `path`.

    Those of whichever table: only where there are any does it matter whose they are.
    """
    folders = [Path(tempfile.gettempdir()), *([path.resolve().parent] if path else [])]
    return any(found.suffix != _TAKEN for folder in folders for found in folder.glob(_RESCUED))


def _check_exists(settings: Settings) -> None:
    if table_is_new(settings):
        text = f"{table_shown(settings)}: there is no results table yet. `reelbatch generate` makes one."
        trial = file_of(sandbox_table(settings.results))
        hint = " What --sandbox made is seen with --sandbox." if trial and trial.exists() else ""
        raise LedgerUnusable(f"{text}{hint}")


def _clear_up(ledger: Ledger, settings: Settings) -> None:
    if any_rescued(ledger.path):  # first: what is known of a row is worth more than that its worker is gone
        from reelbatch.ledger import rescue_files

        rescue_files.replay(ledger)
    ledger.recover(timedelta(seconds=settings.lease_s))


def _tell_what_is_left(ledger: Ledger, settings: Settings, warn: Callable[[str], None]) -> None:
    from reelbatch.ledger import rescue_files

    left = []
    if rows := ledger.left_behind(timedelta(seconds=settings.lease_s)):
        left.append(f"{rows:,} rows that dead workers held are shown as claimed or sending")
    if rescue_files.lying(ledger):
        left.append("answers that are kept in a rescue file are missing")
    if left:
        warn(f"{ledger.shown_url} can't be written from here, so it is shown as it is: {', and '.join(left)}.")
