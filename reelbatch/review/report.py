"""The review page as one file that needs no network: read-only, for the person who paid."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from markupsafe import Markup

from reelbatch.domain import Batch, RowKey
from reelbatch.errors import UsageError
from reelbatch.home_folder import at_home
from reelbatch.ledger import Ledger, review, utc_now
from reelbatch.ledger.review import CardFilter, CardOrder
from reelbatch.pipeline.replaced_files import refuse_to_replace
from reelbatch.review.cards import RowLines, card_of, row_lines, row_of
from reelbatch.review.page import render, static_text
from reelbatch.review.pictures import Pictures, shrunk
from reelbatch.review.summary import open_questions, summary_of
from reelbatch.storage.files import redact_url, scheme_of
from reelbatch.storage.private_files import replacing

if TYPE_CHECKING:
    from sqlalchemy import Connection

_SUFFIXES = frozenset({".html", ".htm"})
_MANY = 2_000
_SIDE, _SMALL_SIDE = 320, 160
"""Pixels of a picture's longer side; the small one where there are more than `_MANY` rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions:
    """What a report is told. `embed`: the videos are inside, in place of links to them."""

    embed: bool = False
    dollars_per_credit: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A report that was written."""

    path: str
    batch: Batch
    rows: int
    pictures: int
    videos: int
    bytes: int

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


def write_report(
    ledger: Ledger,
    batch: Batch,
    target: str | Path,
    options: ReportOptions = ReportOptions(),
) -> Report:
    """Write a batch to `target`, an HTML file. It appears whole or not at all.

    Raises:
        UsageError: the name does not end in .html, the file can't be written, or it is no earlier report.
    """
    path = Path(at_home(str(target)))
    if scheme_of(str(target)) is not None or path.suffix.lower() not in _SUFFIXES:
        stated = redact_url(str(target))
        raise UsageError(f"{stated}: a report is a file on this machine; give it a name that ends in .html")
    refuse_to_replace(str(target), path)
    read = ledger.read(partial(_read, batch=batch, dollars_per_credit=options.dollars_per_credit))
    media = _Inside(ledger, path, embed=options.embed, side=_SIDE if len(read.rows) <= _MANY else _SMALL_SIDE)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        data = _data(read, media)
        text = _page(batch, data).encode("utf-8", "backslashreplace")
        with replacing(path) as file:
            file.write(text)
    except OSError as error:
        raise UsageError(f"{path}: can't be written: {error.strerror or error}") from error
    return Report(
        path=str(path),
        batch=batch,
        rows=len(read.rows),
        pictures=media.pictures,
        videos=media.videos,
        bytes=len(text),
    )


@dataclass(frozen=True, slots=True)
class _Read:
    """What the table says of a batch, at one moment."""

    rows: list[dict[str, Any]]
    details: dict[RowKey, RowLines]
    summary: dict[str, Any]
    open: dict[str, Any]


def _read(connection: Connection, batch: Batch, dollars_per_credit: float | None) -> _Read:
    wanted = CardFilter(batch=batch)
    rows = review.cards(connection, wanted, CardOrder.ROW, 0, review.count(connection, wanted))
    told = (RowKey(row["row_key"]) for row in rows if _has_more(row))
    details = {key: row_lines(connection, batch, key) for key in told}
    summary = summary_of(connection, batch, dollars_per_credit)
    return _Read(rows, details, summary, open_questions(connection, batch))


def _has_more(row: Mapping[str, Any]) -> bool:
    """Whether there is more to say of a row than its card does."""
    return row["lines"] or row["attempts"] > 1 or row["reviewed_at"] is not None


def _data(read: _Read, media: _Inside) -> dict[str, Any]:
    """The page's data. Pictures are made here, when the table is not held any more: that may take minutes."""
    return {
        "summary": read.summary,
        "open": read.open,
        "cards": [card_of(row, media) for row in read.rows],
        "details": {key: row_of(lines, media) for key, lines in read.details.items()},
        "written_at": utc_now().isoformat(timespec="seconds"),
    }


class _Inside:
    """Pictures as data, videos by a path from the report's folder, or as data too."""

    def __init__(self, ledger: Ledger, target: Path, *, embed: bool, side: int) -> None:
        self._shown: dict[tuple[str, int], str | None] = {}
        self._made: dict[Path, str] = {}
        self._linked: dict[Path, str] = {}
        self._pictures = Pictures(ledger)
        self._folder = target.absolute().parent
        self._embed = embed
        self._side = side

    @property
    def pictures(self) -> int:
        """How many are inside."""
        return sum(shown is not None for shown in self._shown.values())

    @property
    def videos(self) -> int:
        """How many can be played."""
        return len(self._linked)

    def picture(self, row: Mapping[str, Any]) -> str | None:
        """A small JPEG; None where there is none."""
        own = row["row_key"], row["generation"]
        if own not in self._shown:
            kept = self._pictures.any(row)
            self._shown[own] = None if kept is None else self._small(kept)
        return self._shown[own]

    def _small(self, kept: Path) -> str:
        """As data; several rows may share an image."""
        if kept not in self._made:
            self._made[kept] = _data_uri("image/jpeg", shrunk(kept, self._side))
        return self._made[kept]

    def video(self, row: Mapping[str, Any], path: Path) -> str | None:
        """Where the page finds it."""
        del row
        if path not in self._linked:
            self._linked[path] = (
                _data_uri("video/mp4", path.read_bytes()) if self._embed else _relative(path, self._folder)
            )
        return self._linked[path]

    def remote_picture(self, address: str) -> str | None:
        """None: the reader of a report is not made to ask other servers."""
        del address
        return None


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _relative(path: Path, folder: Path) -> str:
    """As a link; on another drive, where no path leads, the file's own address."""
    try:
        way = os.path.relpath(path, folder)
    except ValueError:
        return path.absolute().as_uri()
    return quote(way.replace(os.sep, "/"))


def _page(batch: Batch, data: Mapping[str, Any]) -> str:
    style, script = static_text("review.css"), static_text("review.js")
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; img-src data:; "
        "media-src 'self' file: https: data:; base-uri 'none'; form-action 'none'"
    )
    # In a script element of data nothing but its end tag acts, so no `<` is left in it.
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c")
    report = {"policy": policy, "style": Markup(style), "script": Markup(script), "data": Markup(text)}  # noqa: S704 - our own files, and JSON without `<`
    return render("page.html", batch=batch, report=report)


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
