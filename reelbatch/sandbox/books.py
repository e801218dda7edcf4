"""The account: every charge and refund, kept in SQLite and committed before an answer leaves."""

from __future__ import annotations

import re
import secrets
import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from reelbatch.errors import SandboxInUse, SettingsError
from reelbatch.sandbox.faults import Call
from reelbatch.sandbox.validation import Create

_SCHEMA = """
CREATE TABLE IF NOT EXISTS videos (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    row TEXT,
    token TEXT,
    image TEXT NOT NULL,
    end_image TEXT,
    seconds REAL NOT NULL,
    fps REAL NOT NULL,
    nominal_fps REAL NOT NULL,
    credits INTEGER NOT NULL,
    fate TEXT,
    created_at REAL NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('open', 'complete', 'error', 'canceled')),
    final INTEGER CHECK ((final IS NULL) = (status = 'open')),
    error TEXT CHECK ((error IS NOT NULL) = (status = 'error')),
    width INTEGER NOT NULL DEFAULT -1,
    height INTEGER NOT NULL DEFAULT -1
) STRICT;
CREATE INDEX IF NOT EXISTS videos_by_row ON videos (row) WHERE row IS NOT NULL;
CREATE INDEX IF NOT EXISTS videos_doomed ON videos (created_at) WHERE status = 'open' AND fate IS NOT NULL;
CREATE TABLE IF NOT EXISTS counts (what TEXT PRIMARY KEY, n INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS secrets (what TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
"""
_COLUMNS = (
    "id, name, row, token, image, end_image, seconds, fps, nominal_fps, credits, fate, created_at, "
    "status, final, error, width, height"
)
_TOKEN = re.compile(r"(?:(?P<row>.*\S)\s+|\s*)(?P<token>rb_[0-9a-z]{16,32})\s*", re.DOTALL)
_IN_FLIGHT = "max_in_flight"
_TOPPED_UP = "topped_up"


class Status(StrEnum):
    """How a video stands in the books. `open` is queued or rendering: the clock tells which."""

    OPEN = "open"
    COMPLETE = "complete"
    ERROR = "error"
    CANCELED = "canceled"


class Video(NamedTuple):
    """One charge and the video it pays for, in the order of the columns."""

    id: str
    name: str
    row: str | None  # the name without its token
    token: str | None
    image: str
    end_image: str | None
    seconds: float
    fps: float
    nominal_fps: float  # what the charge assumed
    credits: int  # charged by the create
    fate: str | None  # the error that the render will end in
    created_at: float  # unix seconds
    status: str
    final: int | None  # None while open
    error: str | None
    width: int
    height: int


class Settled(NamedTuple):
    """How a video ended."""

    status: Status
    final: int
    error: str | None = None
    width: int = -1
    height: int = -1


class Books:
    """The only owner of the account's state. One thread uses it, so a charge needs no lock."""

    def __init__(self, path: Path, balance_start: int) -> None:
        self.balance_start = balance_start
        self._db = _open(path)
        self.charged, self.refunded, self.creates = self._db.execute(
            "SELECT coalesce(sum(max(credits, coalesce(final, 0))), 0),"
            " coalesce(sum(max(credits - coalesce(final, credits), 0)), 0), count(*) FROM videos"
        ).fetchone()
        self._counts = dict(self._db.execute("SELECT what, n FROM counts"))
        again = "SELECT row FROM videos WHERE row IS NOT NULL GROUP BY row HAVING count(*) > 1"
        self._paid_again = {row for (row,) in self._db.execute(again)}

    @property
    def balance(self) -> int:
        """Credits left; what a create may cost at most."""
        left: int = self.balance_start + self.topped_up - self.charged + self.refunded
        return left

    @property
    def topped_up(self) -> int:
        """Credits that were bought since the start."""
        return int(self._counts.get(_TOPPED_UP, 0))

    def top_up(self, credits_: int) -> None:
        """Someone buys credits."""
        self._counts[_TOPPED_UP] = self.topped_up + credits_
        self._db.execute("INSERT OR REPLACE INTO counts VALUES (?, ?)", (_TOPPED_UP, self.topped_up))

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def secret(self) -> bytes:
        """The key that signs URLs; it outlives a restart."""
        fresh = secrets.token_hex(32)
        self._db.execute("INSERT OR IGNORE INTO secrets VALUES ('urls', ?)", (fresh,))
        (value,) = self._db.execute("SELECT value FROM secrets WHERE what = 'urls'").fetchone()
        return bytes.fromhex(value)

    def charge(self, create: Create, fate: str | None) -> Video | None:
        """Take the credits and open the video, or None where the balance does not cover it."""
        if create.credits > self.balance:
            return None
        (row, token), now = split_name(create.name), time.time()
        video = Video(
            id=f"c{secrets.token_hex(12)}",
            name=create.name or f"Image To Video - {iso(now)}",
            row=row,
            token=token,
            image=create.image,
            end_image=create.end_image,
            seconds=create.seconds,
            fps=create.fps,
            nominal_fps=create.nominal_fps,
            credits=create.credits,
            fate=fate,
            created_at=now,
            status=Status.OPEN,
            final=None,
            error=None,
            width=-1,
            height=-1,
        )
        self._note_row(row)
        self._db.execute(_INSERT, video)
        self.charged += video.credits
        self.creates += 1
        return video

    def settle(self, video: Video, end: Settled) -> Video:
        """Close an open video and correct its cost; one that is closed already stays as it is."""
        moved = self._db.execute(
            "UPDATE videos SET status = ?, final = ?, error = ?, width = ?, height = ?"
            " WHERE id = ? AND status = 'open'",
            (*end, video.id),
        )
        if moved.rowcount:
            self.charged += max(end.final - video.credits, 0)
            self.refunded += max(video.credits - end.final, 0)
        return self.video(video.id) or video

    def refund_failed(self, created_before: float) -> None:
        """Refund the renders that have failed by now, whether or not someone asked for them."""
        doomed = "SELECT {} FROM videos WHERE status = 'open' AND fate IS NOT NULL AND created_at <= ?"
        for video in self._videos(doomed, created_before):
            self.settle(video, Settled(Status.ERROR, 0, video.fate))

    def video(self, video_id: str) -> Video | None:
        """The video with this id."""
        return next(self._videos("SELECT {} FROM videos WHERE id = ?", video_id), None)

    def videos(self, skip: int = 0) -> Iterator[Video]:
        """All charges, oldest first, without the first `skip`."""
        return self._videos("SELECT {} FROM videos ORDER BY seq LIMIT -1 OFFSET ?", skip)

    def double_charged(self) -> dict[str, list[str]]:
        """Rows with more than one charge that was not refunded, each with its video ids."""
        live = "SELECT {} FROM videos WHERE row = ? AND status NOT IN ('error', 'canceled') ORDER BY seq"
        found = {row: [video.id for video in self._videos(live, row)] for row in sorted(self._paid_again)}
        return {row: ids for row, ids in found.items() if len(ids) > 1}

    def count(self, call: Call) -> None:
        """Count one more request of this sort."""
        self._counts[call] = self._counts.get(call, 0) + 1
        self._db.execute(_COUNT, (call,))

    def note_in_flight(self, now: int) -> None:
        """Remember the largest number of creates that were handled at once."""
        if now > self._counts.get(_IN_FLIGHT, 0):
            self._counts[_IN_FLIGHT] = now
            self._db.execute("INSERT OR REPLACE INTO counts VALUES (?, ?)", (_IN_FLIGHT, now))

    def summary(self) -> dict[str, Any]:
        """The account in numbers, without the list of charges."""
        return {
            "balance_start": self.balance_start,
            "topped_up": self.topped_up,
            "balance": self.balance,
            "charged": self.charged,
            "refunded": self.refunded,
            "net": self.charged - self.refunded,
            "creates": self.creates,
            "double_charged": self.double_charged(),
            "max_in_flight": self._counts.get(_IN_FLIGHT, 0),
            "requests": {str(call): self._counts.get(call, 0) for call in Call},
        }

    def _videos(self, query: str, *values: object) -> Iterator[Video]:
        rows = self._db.execute(query.format(_COLUMNS), values).fetchall()
        return (Video(*row) for row in rows)

    def _note_row(self, row: str | None) -> None:
        if row is not None and self._db.execute("SELECT 1 FROM videos WHERE row = ?", (row,)).fetchone():
            self._paid_again.add(row)


def _open(path: Path) -> sqlite3.Connection:
    try:
        db = sqlite3.connect(path, timeout=1, isolation_level=None)
        db.execute("PRAGMA locking_mode = EXCLUSIVE")  # the totals in memory are right for one owner only
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = OFF")  # a killed process loses nothing; a power cut may
        db.executescript(_SCHEMA)
    except sqlite3.Error as error:
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
            message = f"{path}: another sandbox uses these books. End it, or state another `data`."
            raise SandboxInUse(message) from error
        raise SettingsError(f"{path}: the books can't be opened: {error}. State another `data`.") from error
    return db


_INSERT = f"INSERT INTO videos ({_COLUMNS}) VALUES ({', '.join('?' * len(Video._fields))})"  # noqa: S608 - constants
_COUNT = "INSERT INTO counts VALUES (?, 1) ON CONFLICT (what) DO UPDATE SET n = n + 1"


def split_name(name: str | None) -> tuple[str | None, str | None]:
    """A video's name as (row, token): the token is its last word, if that looks like one."""
    found = _TOKEN.fullmatch(name) if name else None
    if found:
        return found["row"], found["token"]
    return name or None, None


def iso(moment: float) -> str:
    """Unix seconds as the API writes times: UTC, milliseconds, Z."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
