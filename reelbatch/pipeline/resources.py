"""What a command works with: the results table, the API's client, a sandbox. It imports no more than each needs."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from reelbatch.errors import LedgerError, LedgerUnusable, NoTableYet, SettingsError, UnusableKey
from reelbatch.printable import counted, one_line
from reelbatch.settings.table_urls import file_of, sandbox_data, sandbox_table
from reelbatch.signals import unwinding
from reelbatch.typed_options import MANIFEST, as_stated, command, note_manifests

if TYPE_CHECKING:
    from reelbatch.client import Client
    from reelbatch.domain import Batch, RowState
    from reelbatch.ledger import Ledger
    from reelbatch.settings import Settings
    from reelbatch.settings.config_file import ConfigFile

_log = logging.getLogger("reelbatch")
_NO_KEY = "There is no API key"
_RESCUED, _TAKEN = "*.rescue.jsonl*", ".taken"


@contextmanager
def opened_ledger(settings: Settings, *, must_exist: bool = False) -> Iterator[Ledger]:
    """The results table, with what dead workers left behind cleared up.

    Raises:
        LedgerUnusable: it can't be opened, or does not exist although it must.
        SettingsError: the history can't be written.
    """
    from reelbatch.ledger import Ledger, manifest_lock, run_history

    if not Ledger.exists(settings.results) and must_exist:
        _check_exists(settings)
    run_history.refuse_unusable(settings.history)
    with unwinding(), Ledger(settings.results, settings.lease_s, settings.history) as ledger:
        _clear_up(ledger, settings)
        note_manifests(ledger.read(manifest_lock.manifests))
        yield ledger


@contextmanager
def looked_at(settings: Settings, warn: Callable[[str], None]) -> Iterator[Ledger]:
    """The results table for a command that only reads it; one that can't be written is enough.

    It is cleared up where that is allowed; where it is not, `warn` is told what dead workers left behind.

    Raises:
        LedgerUnusable: it can't be opened, or does not exist.
    """
    from reelbatch.ledger import Ledger, manifest_lock

    _check_exists(settings)
    with unwinding(), Ledger.to_read(settings.results, settings.lease_s) as ledger:
        if not cleared_up(ledger, settings):
            _tell_what_is_left(ledger, settings, warn)
        note_manifests(ledger.read(manifest_lock.manifests))
        yield ledger


def the_batch(ledger: Ledger, stated: str | None) -> Batch:
    """The batch that is named, or the only one that is not archived.

    Raises:
        SettingsError: there is no such batch, or more than one to choose from.
    """
    from reelbatch.domain import Batch
    from reelbatch.ledger import queries

    known, stated = ledger.read(queries.batch_names), None if stated is None else str(stated).strip()  # as a run does
    if stated in known:
        return Batch(stated)
    if stated is not None:
        raise _no_such_batch(stated, known)
    current = ledger.read(queries.current_batches)
    if len(current) == 1:
        return current[0]
    archived = " (all of them archived)" if known and not current else ""
    names = ", ".join(current or known) or "none"
    raise SettingsError(f"--batch says which batch; the results table has: {names}{archived}")


def batches_named(ledger: Ledger, stated: str | None) -> list[Batch]:
    """The batch that is named, or all of the table that are not archived.

    Raises:
        SettingsError: there is no such batch.
    """
    from reelbatch.domain import Batch
    from reelbatch.ledger import queries

    if stated is None:
        return ledger.read(queries.current_batches)
    known, stated = ledger.read(queries.batch_names), str(stated).strip()  # as a run takes it
    if stated not in known:
        raise _no_such_batch(stated, known)
    return [Batch(stated)]


def states_named(stated: Sequence[str] | None, option: str = "--state") -> frozenset[RowState]:
    """The states that are named with `option`.

    Raises:
        SettingsError: there is no such state, or none is named.
    """
    from reelbatch.domain import RowState

    known = {state.value for state in RowState}
    if unknown := [name for name in stated or () if name not in known]:
        raise SettingsError(f'{option} "{unknown[0]}": rows are in one of the states {", ".join(RowState)}')
    if stated is not None and not stated:
        raise SettingsError(f"{option} names no state; for example: complete,error")
    return frozenset(map(RowState, stated or ()))


def _no_such_batch(stated: str, known: Sequence[Batch]) -> SettingsError:
    names = ", ".join(known) or "none"
    return SettingsError(f'--batch "{stated}": the results table has no such batch. It has: {names}')


def table_shown(settings: Settings) -> str:
    """Where the results table is: the whole path of a file, or a URL without its password."""
    from reelbatch.ledger.urls import parse_url, shown, sqlite_path

    url = parse_url(settings.results)
    path = sqlite_path(url)
    return str(path.absolute()) if path else shown(url)


def table_is_new(settings: Settings) -> bool:
    """Whether the results table is a file that is empty or does not exist yet, so that a run would make it."""
    from reelbatch.ledger import Ledger

    return not Ledger.exists(settings.results)


def table_notice(settings: Settings) -> str | None:
    """What to know before a run makes a results table anew; None where there is one."""
    return new_table(table_shown(settings)) if table_is_new(settings) else None


def new_table(where: str) -> str:
    """That the results table at `where` is yet to be made; rows that were expected in it are in another folder's."""
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


@contextmanager
def sandboxed(settings: Settings, *, enabled: bool = True) -> Iterator[Settings]:
    """Settings that point to a sandbox in a process of its own, which ends with the last of those who use it.

    What it stores lies beside the results table, so that a later command finds its videos again.

    Raises:
        LedgerUnusable: the results table holds rows of the live API.
        UsageError: the extra `sandbox` is not installed, or the sandbox can't be started or joined.
    """
    if not enabled:
        yield settings
        return
    from pydantic import SecretStr

    from reelbatch import extras
    from reelbatch.ledger.urls import parse_url, sqlite_path
    from reelbatch.sandbox.config import build_config
    from reelbatch.sandbox.process import shared

    extras.require("sandbox", "The sandbox")
    refuse_live_rows(settings)
    stated = dict(settings.sandbox)
    if "data" not in stated and (path := sqlite_path(parse_url(settings.results))):
        stated["data"] = str(sandbox_data(path))
    with unwinding(), shared(build_config({**stated, "port": stated.get("port", 0)})) as sandbox:
        yield settings.model_copy(update={"base_url": sandbox.url, "api_key": SecretStr(sandbox.key)})


def as_sandboxed(settings: Settings) -> Settings:
    """What such settings say of who pays, without a sandbox."""
    from pydantic import SecretStr

    from reelbatch.sandbox.config import build_config

    key = build_config(settings.sandbox).key
    return settings.model_copy(update={"base_url": "http://127.0.0.1", "api_key": SecretStr(key)})


def with_key(settings: Settings) -> Settings:
    """The same settings.

    Raises:
        UnusableKey: there is none.
    """
    if settings.api_key is None:
        raise UnusableKey(_NO_KEY)
    return settings


def open_client(settings: Settings) -> Client:
    """The API's client.

    Raises:
        UnusableKey: there is none, or it can't be one.
    """
    from reelbatch.client import Client, ClientOptions

    if settings.api_key is None:
        raise UnusableKey(_NO_KEY)
    connection = ClientOptions(
        base_url=settings.base_url,
        concurrency=settings.concurrency,
        timeout_s=settings.request_timeout_s,
        questions=settings.poll_concurrency,
    )
    return Client(settings.api_key, connection)


def describe_config(file: ConfigFile) -> str:
    """What to know of a `reelbatch.yaml` that was found: where it is, and what it says of API and results table."""
    lines = [
        *(f"{path} belongs to another user and is not used; --config {path} uses it." for path in file.foreign),
        *(f"{path} can be written by others and is not used; `chmod go-w` it first." for path in file.shared),
    ]
    if file.path is not None:
        parts = ", ".join(_shown_parts(file))
        lines.append(f"Settings from {file.path}{f' ({parts})' if parts else ''}")
    return "\n".join(map(one_line, map(as_stated, lines)))


def _shown_parts(file: ConfigFile) -> Iterator[str]:
    if isinstance(base_url := file.stated.get("base_url"), str):
        from reelbatch.storage.files import redact_url

        yield f"base_url: {redact_url(base_url)}"
    if isinstance(results := file.stated.get("results"), str):
        from reelbatch.ledger.urls import parse_url, shown

        yield f"results: {shown(parse_url(results))}"


def log_config(file: ConfigFile) -> None:
    """The same to the log, once in each process; a file that is passed over is a warning."""
    text = describe_config(file)
    if text and text not in _logged:
        _logged.add(text)
        _log.log(logging.WARNING if file.foreign or file.shared else logging.INFO, "%s", text)


_logged: set[str] = set()


def any_rescued(path: Path | None) -> bool:
    """Whether there are answers that a table would not take, in the folder for temporary files or beside `path`.

    Those of whichever table: only where there are any does it matter whose they are.
    """
    folders = [Path(tempfile.gettempdir()), *([path.resolve().parent] if path else [])]
    return any(found.suffix != _TAKEN for folder in folders for found in folder.glob(_RESCUED))


def refuse_places(settings: Settings, source: object, batch: str | None) -> None:
    """Places that a run from `source` could not write to, for a plan, which makes nothing there.

    Raises:
        UsageError: the results table, the history or the export can't be written there, or would replace `source`.
    """
    from reelbatch.ledger import run_history
    from reelbatch.ledger.inspection import cannot_be_made
    from reelbatch.pipeline.replaced_files import refuse_manifest_as_export

    run_history.refuse_unusable(settings.history, makes=False)
    refuse_manifest_as_export(settings, source, batch)
    path = file_of(settings.results)
    if path and table_is_new(settings) and (why := cannot_be_made(path)):
        raise LedgerUnusable(f"--results {path}: can't be made: {why}. Choose another place.")
    if settings.export:
        from reelbatch.pipeline.export import refuse_export

        refuse_export(settings.export, source)


def _check_exists(settings: Settings) -> None:
    if table_is_new(settings):
        path, makes = file_of(settings.results), command("generate", MANIFEST)
        text = f"{table_shown(settings)}: there is no results table yet. `{makes}` makes one."
        if path and path.exists():
            text = f"{table_shown(settings)}: is empty. `{makes}` makes the table."
        trial = file_of(sandbox_table(settings.results))
        hint = " What --sandbox made is seen with --sandbox." if trial and trial.exists() else ""
        raise NoTableYet(f"{text}{hint}")


def cleared_up(ledger: Ledger, settings: Settings) -> bool:
    """Clear up what dead workers left behind; False where the table can't be written."""
    from reelbatch.ledger.engine import is_unwritable

    try:
        _clear_up(ledger, settings)
    except (LedgerError, PermissionError) as error:
        if isinstance(error, LedgerError) and not is_unwritable(error):
            raise
        return False
    return True


def _clear_up(ledger: Ledger, settings: Settings) -> None:
    if any_rescued(ledger.path):  # first: what is known of a row is worth more than that its worker is gone
        from reelbatch.ledger import rescue_files

        rescue_files.replay(ledger)
    ledger.recover(timedelta(seconds=settings.lease_s))


def _tell_what_is_left(ledger: Ledger, settings: Settings, warn: Callable[[str], None]) -> None:
    from reelbatch.ledger import rescue_files

    left = []
    if rows := ledger.left_behind(timedelta(seconds=settings.lease_s)):
        left.append(f"as claimed or sending it shows {counted(rows, 'row')} of dead workers")
    if rescue_files.lying(ledger):
        left.append("answers that are kept in a rescue file are missing")
    if left:
        warn(f"{ledger.shown_url} can't be written from here, so it is shown as it is: {', and '.join(left)}.")
