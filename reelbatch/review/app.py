"""The review page's addresses: the page, its data, pictures and videos, and the verdicts that come back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from reelbatch.domain import Batch, ReviewVerdict, RowKey, RowState
from reelbatch.errors import LedgerError
from reelbatch.ledger import Ledger, review, utc_now, verdicts
from reelbatch.ledger.due import RowId
from reelbatch.ledger.review import CardFilter, CardOrder, Reviewed
from reelbatch.ledger.runs import user_name
from reelbatch.ledger.verdicts import Said
from reelbatch.manifest.parsing import storable
from reelbatch.review.access import Doorkeeper, Session, headers
from reelbatch.review.cards import card_of, row_lines, row_of
from reelbatch.review.page import STATIC, render
from reelbatch.review.pictures import Pictures
from reelbatch.review.summary import summary_of
from reelbatch.review.video_files import local_video

if TYPE_CHECKING:
    from sqlalchemy import Connection

MOST_CARDS = 50_000
"""Rows that a page scrolls through: browsers draw nothing taller. A filter shows others."""
_WINDOW = 120
_LONGEST_BODY = 64 * 1024
_PICTURES_AT_ONCE = 2
_A_DAY = "private, max-age=86400"
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewing:
    """What is reviewed, by whom, and what the page may load."""

    ledger: Ledger
    batch: Batch
    remote_images: bool = False
    dollars_per_credit: float | None = None
    reviewer: str = field(default_factory=user_name)


class Word(BaseModel):
    """What the page sends: the verdict and the note that a video has from now on."""

    model_config = ConfigDict(extra="forbid")

    key: str = Field(max_length=10_000)
    generation: int = Field(ge=1, le=2**31 - 1)  # of a column in Postgres
    verdict: ReviewVerdict | None
    note: str | None = Field(max_length=4_000)


class _Addresses:
    """Where the page finds pictures and videos: at this server."""

    def __init__(self, *, remote_images: bool) -> None:
        self._remote_images = remote_images

    def picture(self, row: Mapping[str, Any]) -> str | None:
        """The thumbnail; nothing is made yet."""
        return _address("picture", row)

    def video(self, row: Mapping[str, Any], path: Path) -> str | None:
        """The file, which is looked up again when it is asked for."""
        del path
        return _address("video", row)

    def remote_picture(self, address: str) -> str | None:
        """For the browser to load, where the reviewer allows it."""
        return address if self._remote_images else None


def _address(kind: str, row: Mapping[str, Any]) -> str:
    return f"{kind}?{urlencode({'key': row['row_key'], 'generation': row['generation']})}"


class _Page:
    """One review, as its browser sees it."""

    def __init__(self, reviewing: Reviewing, session: Session) -> None:
        self._of = reviewing
        self._session = session
        self._addresses = _Addresses(remote_images=reviewing.remote_images)
        self._pictures = Pictures(reviewing.ledger)
        self._drawing = asyncio.Semaphore(_PICTURES_AT_ONCE)

    def routes(self) -> list[Route | Mount]:
        """All of them lie under the session's own path."""
        return [
            Route("/", self.page),
            Route("/summary", self.summary),
            Route("/cards", self.cards),
            Route("/row", self.row),
            Route("/picture", self.picture),
            Route("/video", self.video),
            Route("/verdict", self.verdict, methods=["POST"]),
            Route("/undo", self.undo, methods=["POST"]),
            Mount("/static", StaticFiles(directory=STATIC)),
        ]

    async def page(self, request: Request) -> Response:
        """The page; with the link's token a step before it, which takes the token out of the address."""
        if (token := request.query_params.get("token")) is not None:
            return self._opened(token)
        return HTMLResponse(render("page.html", batch=self._of.batch, report=None))

    def _opened(self, token: str) -> Response:
        # A page that goes on by itself, and no redirect: after a link in another page's context the browser would
        # not send the cookie along with one.
        if not self._session.admit(token):
            return HTMLResponse(render("used.html"), status_code=403)
        return HTMLResponse(render("opening.html"), headers={"Set-Cookie": self._session.cookie})

    async def summary(self, _: Request) -> Response:
        """The side bar."""
        rate = self._of.dollars_per_credit
        return JSONResponse(await self._read(partial(summary_of, batch=self._of.batch, dollars_per_credit=rate)))

    async def cards(self, request: Request) -> Response:
        """A window of the rows that a filter lets through."""
        asked = request.query_params
        try:
            wanted = filter_of(self._of.batch, asked)
            order = CardOrder(asked.get("sort", CardOrder.ROW))
            first, limit = (max(0, int(asked.get(name, usual))) for name, usual in (("first", 0), ("limit", _WINDOW)))
        except ValueError as error:
            raise HTTPException(400, str(error)) from error

        def window(connection: Connection) -> tuple[int, list[dict[str, Any]]]:
            whole = review.count(connection, wanted)
            return whole, review.cards(connection, wanted, order, min(first, MOST_CARDS), min(limit, _WINDOW))

        whole, rows = await self._read(window)
        found = await asyncio.to_thread(lambda: [card_of(row, self._addresses) for row in rows])
        return JSONResponse({"rows": whole, "shown": min(whole, MOST_CARDS), "first": first, "cards": found})

    async def row(self, request: Request) -> Response:
        """All of one row: its videos and its variants' side by side, every request, everything that was said."""
        return JSONResponse(await self._row(RowKey(request.query_params.get("key", ""))))

    async def _row(self, key: RowKey) -> dict[str, Any]:
        lines = await self._read(partial(row_lines, batch=self._of.batch, key=key))
        if not lines.videos:
            raise HTTPException(404, "The batch has no such row.")
        others = await self._read(partial(review.variants, batch=self._of.batch, row_key=key))

        def shown() -> dict[str, Any]:
            return {**row_of(lines, self._addresses), "variants": [card_of(row, self._addresses) for row in others]}

        return await asyncio.to_thread(shown)

    async def picture(self, request: Request) -> Response:
        """A thumbnail, made at the first time."""
        row = await self._line(request)
        async with self._drawing:
            picture = await asyncio.to_thread(self._pictures.any, row)
        if picture is None:
            raise HTTPException(404, "There is no picture of it.")
        return FileResponse(picture, media_type="image/jpeg", headers={"Cache-Control": _A_DAY})

    async def video(self, request: Request) -> Response:
        """A row's video, or the part of it that is asked for."""
        row = await self._line(request)
        path = await asyncio.to_thread(local_video, row)
        if path is None:
            raise HTTPException(404, "The video is not on this machine.")
        return FileResponse(path, media_type="video/mp4")

    async def _line(self, request: Request) -> Mapping[str, Any]:
        asked = request.query_params
        question = partial(review.videos, batch=self._of.batch, row_key=RowKey(asked.get("key", "")))
        lines = await self._read(question)
        found = next((line for line in lines if str(line["generation"]) == asked.get("generation")), None)
        if found is None:
            raise HTTPException(404, "The batch has no such row.")
        return found

    async def verdict(self, request: Request) -> Response:
        """Record what the reviewer says."""
        word = await _word(request)
        said = Said(
            video=(self._of.batch, RowKey(word.key), word.generation),
            verdict=word.verdict,
            note=storable((word.note or "").strip()) or None,
            by=self._of.reviewer,
            at=utc_now(),
        )
        if not await self._change(partial(verdicts.say, said=said)):
            raise HTTPException(409, "There is no finished video to judge.")
        return JSONResponse(await self._row(RowKey(word.key)))

    async def undo(self, _: Request) -> Response:
        """Take back the last thing that this reviewer said."""
        work = partial(verdicts.undo, batch=self._of.batch, by=self._of.reviewer, at=utc_now())
        video: RowId | None = await self._change(work)
        return JSONResponse(None if video is None else await self._row(video[1]))

    async def _read(self, question: Callable[[Connection], Answer]) -> Answer:
        return await asyncio.to_thread(self._of.ledger.read, question)

    async def _change(self, work: Callable[[Connection], Answer]) -> Answer:
        return await asyncio.to_thread(self._of.ledger.change, work)


def filter_of(batch: Batch, asked: Mapping[str, str]) -> CardFilter:
    """The filter that the page's address states.

    Raises:
        ValueError: it names something that can't be filtered by.
    """
    return CardFilter(
        batch=batch,
        state=RowState(asked["state"]) if asked.get("state") else None,
        reviewed=Reviewed(asked["verdict"]) if asked.get("verdict") else None,
        model=asked.get("model") or None,
        error=asked.get("error") or None,
        search=asked.get("search", "").strip(),
    )


async def _word(request: Request) -> Word:
    if int(request.headers.get("content-length", _LONGEST_BODY + 1)) > _LONGEST_BODY:
        raise HTTPException(413, "That is too long.")
    try:
        return Word.model_validate_json(await request.body())
    except ValidationError as error:
        raise HTTPException(400, f"This is no verdict: {error.error_count()} mistakes") from error


async def _failed(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, status_code=503)


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - that is what it is registered for
    return JSONResponse({"error": error.detail}, status_code=error.status_code)


def review_app(reviewing: Reviewing, session: Session) -> Starlette:
    """The ASGI application of one review."""
    page = _Page(reviewing, session)
    answer_headers = headers(remote_images=reviewing.remote_images)
    return Starlette(
        routes=[Mount(session.path, routes=page.routes())],
        middleware=[Middleware(Doorkeeper, session=session, answer_headers=answer_headers)],
        exception_handlers={LedgerError: _failed, HTTPException: _refused},
    )
