"""Answers that the results table has not taken, in files beside it: found by the table's identity, and signed.

A line is the run's id, an HMAC-SHA256 under the secret of that run's row, and the answer as JSON. Only a
reader of the table can write one. A line that can't be read or verified stays where it is, is reported, and is never
brought in.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import hmac
import json
import logging
import os
import re
import secrets
import stat
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from pathlib import Path

from sqlalchemy import Connection, select

from reelbatch.domain import RunId, Token
from reelbatch.failpoints import point
from reelbatch.ledger import attempts, schema
from reelbatch.ledger.attempts import Answer
from reelbatch.ledger.ledger import Ledger
from reelbatch.ledger.schema import runs
from reelbatch.typed_options import command

_log = logging.getLogger("reelbatch")
_RESCUE, _TAKING, _TAKEN = ".rescue.jsonl", ".taking", ".taken"
_NAMED = re.compile(r"reelbatch-([0-9a-f]{32})\.")
"""How a file's name begins that says whose it is."""
_LARGEST = 1 << 30
_PARTS = 3
_FLAGS = os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) if os.name == "posix" else 0
_TRIES = 5


def folders(ledger: Ledger) -> Iterator[Path]:
    """Where answers go: beside a SQLite file, wherever links lead to it; else to the folder for temporary files."""
    if ledger.path is not None:
        yield ledger.path.resolve().parent
    yield Path(tempfile.gettempdir())


def lying(ledger: Ledger) -> list[Path]:
    """Files of this table whose answers were not brought in, and those of an older form that may be its own."""
    names = [f"reelbatch-{ledger.identity}.*{_RESCUE}*", f"{glob.escape(ledger.label)}*{_RESCUE}*"]
    if ledger.path is not None:
        names.append(f"{glob.escape(ledger.path.resolve().stem)}-*{_RESCUE}*")
    found = {path for folder in folders(ledger) for name in names for path in folder.glob(name)}
    return sorted(path for path in found if path.suffix != _TAKEN and not _is_of_another(ledger, path))


def _is_of_another(ledger: Ledger, path: Path) -> bool:
    """Whether its name says so: that of an older form may begin as those of every `reelbatch.db` do."""
    named = _NAMED.match(path.name)
    return named is not None and named[1] != ledger.identity


class RescueFile:
    """Answers of this process that the table has not taken yet; the file goes when the table has them all."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._paths = [
            folder / f"reelbatch-{ledger.identity}.{secrets.token_hex(6)}{_RESCUE}" for folder in folders(ledger)
        ]
        self._kept: set[Token] = set()
        self._lines: Counter[Path] = Counter()

    def keep(self, answers: Sequence[Answer]) -> bool:
        """Keep answers outside of the table; False where no file took them."""
        lines = [self._signed(answer) for answer in answers]
        for path in self._paths:
            with contextlib.suppress(OSError):
                _append(path, "".join(f"\n{line}\n" for line in lines).encode())
                self._say(path, lines)
                self._kept |= {answer.token for answer in answers}
                self._lines[path] += len(lines)
                return True
        text = "\n".join(lines)
        _log.critical("The results table could not be written, nor any file. Keep these lines:\n%s", text)
        return False

    def _signed(self, answer: Answer) -> str:
        content = json.dumps(asdict(answer), default=str, ensure_ascii=True)
        secret = self._ledger.secret_of(answer.run_id)
        return f"{answer.run_id} {_seal(self._ledger.identity, secret, content)} {content}"

    def _say(self, path: Path, lines: Sequence[str]) -> None:
        if not self._kept:
            _log.error("The results table could not be written. Answers are kept in %s for the next run.", path)
        if self._ledger.path is None:  # a container's folder for temporary files may go with it
            _log.critical("%s", "\n".join(lines))

    def committed(self, answer: Answer) -> None:
        """The table has it now."""
        if answer.token in self._kept:
            self._kept.discard(answer.token)
            if not self._kept:
                point("rescue.unlink")
                for path in self._paths:
                    with contextlib.suppress(OSError):
                        path.unlink()
                self._lines.clear()

    def log(self) -> None:
        """How much of it lies there, at the end."""
        for path, lines in self._lines.items():
            answers = "1 answer is" if lines == 1 else f"{lines:,} answers are"
            where = f"in files whose names begin with {path}"  # who takes them in renames them
            _log.warning("%s kept for the next run, %s: the results table did not take all of them.", answers, where)


def _append(path: Path, content: bytes) -> None:
    """Write it through to the disk. Anyone who brings the file in renames it first: then it is written anew."""
    for _ in range(_TRIES):
        point("rescue.open")
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | _FLAGS, 0o600)
        try:
            before = os.fstat(file)
            try:
                point("rescue.write")
                if os.write(file, content) != len(content):
                    raise OSError("the disk is full")  # noqa: TRY301 - what was written of it goes
                point("rescue.fsync")
                os.fsync(file)
                point("rescue.synced")
            except OSError:
                os.ftruncate(file, before.st_size)
                raise
            with contextlib.suppress(FileNotFoundError):
                if path.lstat().st_ino == before.st_ino:
                    return
        finally:
            os.close(file)
    raise OSError("it was taken away again and again")


def _seal(identity: str, secret: str | None, content: str) -> str:
    return hmac.new((secret or "").encode(), f"{identity}\n{content}".encode(), hashlib.sha256).hexdigest()


@dataclass(slots=True)
class _Content:
    """Of one file."""

    answers: list[Answer] = field(default_factory=list)
    lines: int = 0
    problem: str | None = None


def replay(ledger: Ledger) -> int:
    """Bring what can be verified into the table, and report the rest; returns how many answers there were."""
    return sum(_replay(ledger, path) for path in lying(ledger))


def _replay(ledger: Ledger, path: Path) -> int:
    path = _set_aside(path)
    content = _read(ledger, path)
    if content.answers:
        ledger.change(partial(attempts.record_answers, items=content.answers))
    if content.problem is not None:
        _log.warning("%s: %s. %s", path, content.problem, _remedy())
        return len(content.answers)
    with contextlib.suppress(FileNotFoundError, PermissionError):  # another process was quicker, or it is not ours
        point("rescue_taken.rename")
        path.rename(path.with_name(f"{path.name.removesuffix(_TAKING)}{_TAKEN}"))
        point("rescue_taken.renamed")
    return len(content.answers)


def _remedy() -> str:
    tries = command("reconcile", "--row", "KEY", "--video-id", "ID")
    return (
        "It stays there, and while it does no row of this table can be declared not created. "
        f"Ids in it can be tried with `{tries}`; then take it away"
    )


def _set_aside(path: Path) -> Path:
    """Under a name that no one adds to. One that is another user's stays as it is, and is read by every run."""
    if path.suffix == _TAKING:
        return path
    mine = path.with_name(f"{path.name}.{secrets.token_hex(4)}{_TAKING}")
    with contextlib.suppress(FileNotFoundError, PermissionError):
        point("rescue_taking.rename")
        mine = path.rename(mine)
        point("rescue_taking.renamed")
        return mine
    return path


def unverified(ledger: Ledger) -> list[Path]:
    """Files that can't be read or verified: what they hold may be the id of any row in doubt."""
    return [path for path in lying(ledger) if _read(ledger, path).problem is not None]


def objection(ledger: Ledger) -> str | None:
    """Why no row of the table may be declared not created now; None where nothing stands against it."""
    replay(ledger)
    if not (files := unverified(ledger)):
        return None
    names = ", ".join(str(path) for path in files)
    return f"answers that can't be read or verified lie in {names}, and may be this row's; see to them first"


def _read(ledger: Ledger, path: Path) -> _Content:
    try:
        lines = _lines(path)
    except FileNotFoundError:
        return _Content()
    except OSError as error:
        return _Content(problem=f"may not be read ({error.strerror or error})")
    parts = [line.split(" ", _PARTS - 1) for line in lines]
    sealed = [(RunId(part[0]), part[1], part[2]) for part in parts if len(part) == _PARTS]
    answers = ledger.read(partial(_verified, identity=ledger.identity, sealed=sealed))
    bad = len(lines) - len(answers)
    return _Content(answers, len(lines), f"{bad} of {len(lines)} lines can't be verified" if bad else None)


def _lines(path: Path) -> list[str]:
    """Raises OSError where it is no plain file, as a link, a pipe or a device that someone put there."""
    file = os.open(path, os.O_RDONLY | _FLAGS)
    with os.fdopen(file, "rb") as opened:
        about = os.fstat(file)
        if not stat.S_ISREG(about.st_mode) or about.st_size > _LARGEST:
            raise OSError("no plain file, or too large")
        return [line.decode("utf-8", "replace") for line in opened.read().split(b"\n") if line.strip()]


def _verified(connection: Connection, identity: str, sealed: Sequence[tuple[RunId, str, str]]) -> list[Answer]:
    """The answers that a run of this table wrote, and that agree with its attempts."""
    known = {run_id: connection.scalar(select(runs.c.secret).where(runs.c.run_id == run_id)) for run_id, *_ in sealed}
    found = []
    for run_id, seal, content in sealed:
        secret = known[run_id]
        genuine = _seal(identity, secret, content).encode()
        if secret and hmac.compare_digest(genuine, seal.encode()):
            answer = _answer(content)
            if answer is not None and answer.run_id == run_id and _agrees(connection, answer):
                found.append(answer)
    return found


def _answer(content: str) -> Answer | None:
    """None where it is not what this version writes."""
    from pydantic import TypeAdapter

    try:
        if set(json.loads(content)) != {each.name for each in fields(Answer)}:
            return None
        answer = TypeAdapter(Answer).validate_json(content, strict=True)
    except (ValueError, TypeError, RecursionError):
        return None
    return answer if answer.at.tzinfo is not None else None


def _agrees(connection: Connection, answer: Answer) -> bool:
    """With the attempt; a table restored from a backup may lack it, and the signed id is kept all the same."""
    a = schema.attempts.c
    query = select(a.batch, a.row_key, a.run_id, a.generation).where(a.token == answer.token)
    attempt = connection.execute(query).one_or_none()
    stated = (answer.batch, answer.row_key, answer.run_id, answer.generation)
    return attempt is None or tuple(attempt) == stated
