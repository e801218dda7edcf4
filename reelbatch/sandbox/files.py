"""The storage's side of the API: files put to and fetched from signed URLs."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from reelbatch.sandbox.answers import faulty
from reelbatch.sandbox.faults import FAULTS, Call, Ending
from reelbatch.sandbox.service import Service
from reelbatch.sandbox.validation import Refused
from reelbatch.sandbox.wire import Truncated


def file_routes(service: Service) -> list[Route]:
    """The routes of the storage."""
    files = Files(service)
    return [
        Route("/storage/{key:path}", files.put, methods=["PUT"]),
        Route("/storage/{key:path}", files.get, methods=["GET"]),
    ]


class Files:
    """Uploads in, videos out. The URL is the permission; a key in a header is refused."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def put(self, request: Request) -> Response:
        """Store one upload."""
        service = self._service
        service.books.count(Call.PUT)
        key = service.storage.authorize(request)
        kind = service.faults.next(Call.PUT)
        if kind and FAULTS[kind].ending is not Ending.SLOW:
            async for _ in request.stream():
                pass  # the answer comes after the body, as from a real storage
            return faulty(kind, service.faults.settings)
        if kind:
            await asyncio.sleep(service.faults.settings.slow_seconds)
        return Response(headers={"ETag": await service.storage.receive(key, request)})

    async def get(self, request: Request) -> Response:
        """Give one video, or the range of it that is asked for."""
        service = self._service
        service.books.count(Call.DOWNLOAD)
        key = service.storage.authorize(request)
        video = service.books.video(key.partition("/")[0])
        path = service.storage.video_file(video.id) if video else None
        if video is None or path is None or not path.exists():
            raise Refused(404, "Not Found")
        kind = service.faults.next(Call.DOWNLOAD, text=video.name, key=video.row or video.id)
        if kind is None:
            return FileResponse(path, media_type="video/mp4")
        if FAULTS[kind].ending is Ending.TRUNCATED:
            content = await asyncio.to_thread(path.read_bytes)
            return Truncated(content, media_type="video/mp4", keep=len(content) // 2)
        return faulty(kind, service.faults.settings)
