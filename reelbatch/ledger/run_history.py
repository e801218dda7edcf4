"""A history of runs, for support: each step of each create as one line of JSON, in the order in which it happened.

Lines are appended, so that several processes may write one file. A line has no prompt, address or key in it. What the
table was told is written when it is committed, in the commit's order; a process that is killed between a commit and
its lines leaves them out, and docs/failures.md says how to read that.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from reelbatch.domain import ClaimedRow, RunId, Token
from reelbatch.errors import SettingsError
from reelbatch.ledger.transactions import Done
from reelbatch.machine import utc_now
from reelbatch.storage.private_files import owner_only, try_folder

_log = logging.getLogger("reelbatch")
Line = dict[str, Any]
_START = b'{"at": '
"""Of each line."""


class RunHistory:
    """The file that is named, or none. Where a line can't be written, that is said once, and the run goes on."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: int | None = None
        self._turn = threading.Lock()  # the table's writer appends, and those who send

    def committed(self, done: Iterable[Done]) -> None:
        """Writes that the table has."""

        def lines() -> list[Line]:
            from reelbatch.ledger.history_lines import lines_of  # most runs have no history

            return [line for write in done for line in lines_of(write)]

        self._append(lines)

    def changed(self, work: Callable[..., Any], given: Mapping[str, Any], result: Any) -> None:
        """A write outside of the groups, with its keyword arguments."""
        if "items" in given and isinstance(result, list):
            self.committed((work, item, each) for item, each in zip(given["items"], result, strict=True))
        elif "selection" in given:
            self.committed([(work, given["selection"], result)])

    def sent(self, row: ClaimedRow, run_id: RunId, token: Token) -> None:
        """The create is handed to the connection; whether a byte of it left, `answered` says."""
        self._append(lambda: [{"event": "sent", "run_id": run_id, "token": token, **_of_row(row)}])

    def answered(self, row: ClaimedRow, run_id: RunId, token: Token, said: Mapping[str, Any]) -> None:
        """What came back, before it is in the table. `said`: the outcome's figures, as JSON has them."""
        self._append(lambda: [{"event": "answered", "run_id": run_id, "token": token, **_of_row(row), **said}])

    def close(self) -> None:
        """Let go of the file."""
        with self._turn:
            if self._file is not None:
                os.close(self._file)
            self._path = self._file = None

    def _append(self, lines: Callable[[], list[Line]]) -> None:
        if self._path is None:
            return
        stamp = {"at": utc_now().isoformat(timespec="microseconds"), "pid": os.getpid()}
        try:
            if text := "".join(f"{json.dumps({**stamp, **line})}\n" for line in lines()):
                with self._turn:
                    if self._file is None and self._path is not None:
                        self._file = owner_only(str(self._path), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
                    if self._file is not None:
                        _write(self._file, text.encode())
        except Exception as error:  # noqa: BLE001 - no answer is lost, and no writer ends, over a line for support
            why = error.strerror if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
            _log.warning("The history %s can't be written any more (%s); the run goes on.", self._path, why)
            self.close()


def _write(file: int, content: bytes) -> None:
    """In one piece, since other processes append as well; no part of a line stays, which the next one would join.

    Raises:
        OSError: there is no room for all of it.
    """
    written = os.write(file, content)
    if written < len(content):
        end = os.lseek(file, 0, os.SEEK_CUR)  # of what was appended
        if os.fstat(file).st_size == end:
            os.ftruncate(file, end - written)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def refuse_unusable(path: Path | None, *, makes: bool = True) -> None:
    """Before anything is sent. Without `makes`, a file that is not there is not made; that it could be is tried.

    Raises:
        SettingsError: no line can be appended to it, or it is a file of another kind, which lines would spoil.
    """
    if path is None:
        return
    try:
        if path.is_file() and not _is_history(path):
            raise SettingsError(f"--history {path}: is a file of another kind. Name a history, or a new file.")
        _try_appending(path, makes=makes)
    except (OSError, ValueError) as error:  # ValueError: a name that no file has
        why = getattr(error, "strerror", None) or str(error)
        raise SettingsError(f"--history {path}: can't be written: {why}. Name a file in another folder.") from error


def _try_appending(path: Path, *, makes: bool) -> None:
    flags = os.O_WRONLY | os.O_APPEND | getattr(os, "O_NONBLOCK", 0)  # a pipe without a reader is said
    try:
        os.close(owner_only(str(path), flags | os.O_CREAT if makes else flags))
    except FileNotFoundError:
        if makes:
            raise
        try_folder(path.parent)


def _is_history(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(len(_START))
    return not start or start == _START


def _of_row(row: ClaimedRow) -> Line:
    return {"batch": row.batch, "row_key": row.row_key, "generation": row.generation}
