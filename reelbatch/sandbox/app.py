"""The API: what each call does, and the controls that only the sandbox has."""

from __future__ import annotations

import hmac
import logging
import sqlite3
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from reelbatch.sandbox.answers import answer, error_body, faulty, refusal
from reelbatch.sandbox.books import iso, split_name
from reelbatch.sandbox.controls import control_routes
from reelbatch.sandbox.faults import FAULTS, Call, FaultKind
from reelbatch.sandbox.files import file_routes
from reelbatch.sandbox.prices import stated_charge
from reelbatch.sandbox.service import Service
from reelbatch.sandbox.validation import Refused, read_json, read_upload_items

_log = logging.getLogger("uvicorn.error")  # of the server, whose errors are printed


def build_app(service: Service) -> Starlette:
    """The ASGI application over `service`."""
    api = Api(service)
    return Starlette(
        routes=[
            Route("/v1/image-to-video", api.create, methods=["POST"]),
            Route("/v1/video-projects/{id}", api.video, methods=["GET"]),
            Route("/v1/files/upload-urls", api.upload_urls, methods=["POST"]),
            Route("/v1/account", api.account, methods=["GET"]),
            *file_routes(service),
            *control_routes(service),
        ],
        exception_handlers={
            Refused: _refused,
            HTTPException: _not_here,
            ClientDisconnect: _gone,
            **dict.fromkeys((OSError, sqlite3.OperationalError), _Unwritable(service.storage.root)),
        },
    )


class Api:
    """The calls of the API itself; each asks for the key."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._expected = f"Bearer {service.config.key}".encode()

    async def create(self, request: Request) -> Response:
        """Queue one video and charge for it."""
        service = self._service
        service.creates_in_flight += 1
        service.books.note_in_flight(service.creates_in_flight)
        try:
            return await self._create(request)
        finally:
            service.creates_in_flight -= 1

    async def video(self, request: Request) -> Response:
        """How a video stands."""
        self._authorize(request)
        service = self._service
        service.books.count(Call.GET)
        video = service.books.video(request.path_params["id"])
        if video is None:
            raise Refused(404, "Not Found")
        if kind := service.faults.next(Call.GET, text=video.name, key=video.row or video.id):
            return faulty(kind, service.faults.settings)
        video = await service.studio.advanced(video)
        return answer(service.studio.answer(video, service.download(str(request.base_url), video)))

    async def upload_urls(self, request: Request) -> Response:
        """Signed URLs for files to upload, in the order in which they were asked for."""
        self._authorize(request)
        service = self._service
        service.books.count(Call.UPLOAD_URLS)
        body = await request.body()
        if kind := service.faults.next(Call.UPLOAD_URLS):
            return faulty(kind, service.faults.settings)
        paths = [service.storage.new_path(extension) for extension in read_upload_items(read_json(body))]
        return answer({"items": [self._upload(request, path) for path in paths]})

    async def account(self, request: Request) -> Response:
        """Whose account it is, and the credits that are left."""
        self._authorize(request)
        service = self._service
        service.books.count(Call.ACCOUNT)
        if kind := service.faults.next(Call.ACCOUNT):
            return faulty(kind, service.faults.settings)
        service.studio.refund_failed()
        return answer(service.account())

    async def _create(self, request: Request) -> Response:
        self._authorize(request)
        service = self._service
        service.books.count(Call.CREATE)
        raw = await request.body()
        await service.half_latency()
        body = read_json(raw)
        text, row = _words(body)
        kind = service.faults.next(Call.CREATE, text=text, key=row)
        if kind and not service.faults.charges(kind):
            await service.half_latency()
            return faulty(kind, service.faults.settings)
        content = self._charged(body, kind)
        await service.half_latency()
        return self._ended(kind, content)

    def _charged(self, body: Mapping[str, Any], kind: FaultKind | None) -> dict[str, Any]:
        service = self._service
        create = service.checker.create(body)
        fate = service.studio.fate(service.books.creates + 1, doomed=kind is FaultKind.RENDER_ERROR)
        if create.credits > service.books.balance:
            service.studio.refund_failed()
        video = service.books.charge(create, fate)
        if video is None:
            what = f"Not enough credits: this video costs {create.credits}, and {service.books.balance} are left"
            raise Refused(402, what, code="insufficient_credits")
        says = (FAULTS[kind].says if kind else None) or service.pricing.charge_says
        content = {"id": video.id, **stated_charge(says, video.credits)}
        if service.config.frame_cost_field:
            content["estimated_frame_cost"] = video.credits
        return content

    def _ended(self, kind: FaultKind | None, content: dict[str, Any]) -> Response:
        return faulty(kind, self._service.faults.settings, content) if kind else answer(content)

    def _authorize(self, request: Request) -> None:
        given = request.headers.get("authorization", "").encode()
        if not hmac.compare_digest(given, self._expected):
            raise Refused(401, "Unauthorized")

    def _upload(self, request: Request, path: str) -> dict[str, str]:
        service = self._service
        signed = service.storage.signed(str(request.base_url), "PUT", path, service.config.upload_url_ttl_s)
        return {"upload_url": signed.url, "expires_at": iso(signed.expires_at), "file_path": path}


def _words(body: Mapping[str, Any]) -> tuple[str, str]:
    """The text that fault rules look at, and the row that they count by."""
    style, name = body.get("style"), body.get("name")
    prompt = style.get("prompt") if isinstance(style, dict) else None
    row = split_name(name)[0] if isinstance(name, str) else None
    return f"{name or ''}\n{prompt or ''}", row or str(prompt or "")


def _refused(_: Request, error: Exception) -> Response:
    return refusal(error) if isinstance(error, Refused) else answer(error_body(500, str(error)), 500)


def _not_here(_: Request, error: Exception) -> Response:
    status = HTTPStatus(error.status_code) if isinstance(error, HTTPException) else HTTPStatus.NOT_FOUND
    return answer(error_body(status, status.phrase), status)


def _gone(_: Request, __: Exception) -> Response:
    return Response(status_code=499)  # no one is left to read it


class _Unwritable:
    """The answer where the sandbox's own folder can't be written, as on a full disk; who started it is told once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._said = False

    def __call__(self, _: Request, error: Exception) -> Response:
        """An internal error, which clients try again. Nothing was charged."""
        why = (isinstance(error, OSError) and error.strerror) or str(error)
        said = f"The sandbox can't write to {self._folder}: {why}. Make room, and run the same command again."
        if not self._said:
            self._said = True
            _log.error(said)
        return answer(error_body(HTTPStatus.INTERNAL_SERVER_ERROR, said), HTTPStatus.INTERNAL_SERVER_ERROR)
