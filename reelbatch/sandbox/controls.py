"""What only the sandbox has: its books, and the levers of tests and demos."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reelbatch.sandbox.answers import answer
from reelbatch.sandbox.books import Status, Video, iso
from reelbatch.sandbox.config import FaultSettings, PricingSettings, TopUp, UploadAge, explain
from reelbatch.sandbox.service import Service
from reelbatch.sandbox.users import Held
from reelbatch.sandbox.validation import Refused, read_json

_Settings = TypeVar("_Settings", bound=BaseModel)


def control_routes(service: Service) -> list[Route]:
    """The routes under /sandbox; they ask for no key, as only this machine can reach them."""
    controls = Controls(service)
    return [
        Route("/sandbox/health", controls.health, methods=["GET"]),
        Route("/sandbox/books", controls.books, methods=["GET"]),
        Route("/sandbox/faults", controls.faults, methods=["GET"]),
        Route("/sandbox/faults", controls.replace_faults, methods=["POST"]),
        Route("/sandbox/prices", controls.prices, methods=["GET"]),
        Route("/sandbox/prices", controls.replace_prices, methods=["POST"]),
        Route("/sandbox/uploads/age", controls.age_uploads, methods=["POST"]),
        Route("/sandbox/top-up", controls.top_up, methods=["POST"]),
        Route("/sandbox/webhooks", controls.webhooks, methods=["GET"]),
        Route("/sandbox/users/{word}", controls.hold, methods=["GET"]),
        Route("/sandbox/videos/{id}/cancel", controls.cancel, methods=["POST"]),
    ]


class Controls:
    """The handlers under /sandbox."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def health(self, _: Request) -> Response:
        """Whether it serves."""
        return answer({"status": "ok"})

    async def books(self, request: Request) -> Response:
        """Every charge and refund; with `?summary=1` only the totals."""
        service = self._service
        service.studio.refund_failed()
        report = service.books.summary()
        if request.query_params.get("summary", "0") in {"", "0"}:
            report["charges"] = [self._charge(video) for video in service.books.videos()]
        return answer(report)

    async def faults(self, _: Request) -> Response:
        """The fault settings in force."""
        return answer(self._service.faults.settings.model_dump(mode="json"))

    async def replace_faults(self, request: Request) -> Response:
        """Put other fault settings in force; calls are counted from one again."""
        settings = await _read(request, FaultSettings)
        self._service.replace_faults(settings)
        return answer(settings.model_dump(mode="json"))

    async def prices(self, _: Request) -> Response:
        """The prices in force beside the public rates."""
        return answer(_pricing(self._service.pricing))

    async def replace_prices(self, request: Request) -> Response:
        """Put other prices in force; videos that were charged before keep theirs."""
        self._service.pricing = await _read(request, PricingSettings)
        return answer(_pricing(self._service.pricing))

    async def age_uploads(self, request: Request) -> Response:
        """Make every upload older by a number of days, as if the sandbox had run for that long."""
        age = await _read(request, UploadAge)
        return answer({"aged": self._service.storage.age_uploads(age.days)})

    async def top_up(self, request: Request) -> Response:
        """Buy credits, as its owner could do in the web app."""
        self._service.books.top_up((await _read(request, TopUp)).credits)
        return answer({"balance": self._service.books.balance})

    async def webhooks(self, _: Request) -> Response:
        """How many webhook events were sent; `pending` videos still have some to come."""
        announcer = self._service.announcer
        return answer(dict(announcer.counts) if announcer else {})

    async def hold(self, request: Request) -> Response:
        """Use the sandbox as long as the connection lasts."""
        users = self._service.users
        if users.over or request.path_params["word"] != users.word:
            raise Refused(404, "Not Found")
        return Held(users)

    async def cancel(self, request: Request) -> Response:
        """Cancel a video, as its owner could do in the web app."""
        service = self._service
        video = service.books.video(request.path_params["id"])
        if video is None:
            raise Refused(404, "Not Found")
        if video.status != Status.OPEN:
            raise Refused(422, f"The video is {video.status}: only one that still renders can be canceled")
        return answer(service.studio.answer(service.studio.cancel(video), None))

    def _charge(self, video: Video) -> dict[str, Any]:
        return {
            "video_id": video.id,
            "token": video.token,
            "row": video.row,
            "name": video.name,
            "credits": video.credits,
            "final": video.final,
            "refunded": max(video.credits - video.final, 0) if video.final is not None else 0,
            "status": self._service.studio.status(video),
            "at": iso(video.created_at),
        }


async def _read(request: Request, kind: type[_Settings]) -> _Settings:
    try:
        return kind.model_validate(read_json(await request.body()))
    except ValidationError as error:
        raise Refused(400, explain(error)) from error


def _pricing(settings: PricingSettings) -> dict[str, Any]:
    return settings.model_dump(mode="json", include=set(PricingSettings.model_fields))
