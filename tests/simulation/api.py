"""The simulated API: requests in, answers out, as its published description has them, and as it really goes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple

from simulation.books import Books

ADDRESS = "http://127.0.0.1:9"
KEY = "simulated"
_SUCCESS = 200


class Answer(NamedTuple):
    """A response."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def has_id(self) -> bool:
        """Whether it is a success that names a video."""
        return self.status == _SUCCESS and b'"id": "v' in self.body

    def written(self) -> bytes:
        """As it goes over the line."""
        head = [f"HTTP/1.1 {self.status} Said", f"content-length: {len(self.body)}"]
        head += [f"{name}: {value}" for name, value in (("content-type", "application/json"), *self.headers)]
        return "\r\n".join([*head, "", ""]).encode() + self.body


class Asked(NamedTuple):
    """A request."""

    method: str
    path: str
    body: bytes

    @property
    def is_create(self) -> bool:
        """Whether it costs credits."""
        return (self.method, self.path) == ("POST", "/v1/image-to-video")


@dataclass(slots=True, kw_only=True)
class ApiFaults:
    """Shares of creates that go so; `questions`: of all other calls that are refused for a while."""

    refused_before: float = 0.0  # 429 500 502 503: nothing was created
    unclear: float = 0.0  # 408 504 520: created or not
    no_id: float = 0.0  # 200, charged, and no id in it
    id_in_refusal: float = 0.0  # 409 500 503 with an id: of the video, or of nothing
    odd_figure: float = 0.0
    questions: float = 0.0


@dataclass(slots=True)
class Api:
    """Answers requests. What it charges is in its books.

    `rejects`: parts of prompts that are refused with 422. `creates_each_s`: more than these get a 429.
    """

    books: Books
    chance: Random
    faults: ApiFaults
    creates_each_s: float | None = None
    rejects: str = "refused"
    knows_key: bool = True
    on_image: Callable[[str], None] = lambda _: None
    seen: dict[str, int] = field(default_factory=dict)
    _created_at: list[float] = field(default_factory=list)

    def answer(self, asked: Asked) -> Answer:
        """What comes back; a create that is taken is charged with it."""
        if not self.knows_key:
            return _refusal(401, "unauthorized", "no such key")
        if asked.is_create:
            return self._create(asked)
        if self.chance.random() < self.faults.questions:
            return self._refused_before("question")
        return self._question(asked)

    def _question(self, asked: Asked) -> Answer:
        match asked.method, asked.path.strip("/").split("/"):
            case "GET", ["v1", "account"]:
                known = {"id": "acc_sim", "email": "a@example.com", "credits": self.books.left, "tier": "business"}
                return _said({**known, "subscription": None})
            case "GET", ["v1", "video-projects", video_id]:
                found = self.books.charges.get(video_id)
                return (
                    _refusal(404, "not_found", "no such video") if found is None else _said(self.books.video(found))
                )
            case "POST", ["v1", "files", "upload-urls"]:
                return _said({"items": [self._slot() for _ in json.loads(asked.body)["items"]]})
            case "PUT", ["storage", *_]:
                return _said({})
        return _refusal(404, "not_found", asked.path)

    def _slot(self) -> dict[str, str]:
        path = self.books.upload()
        return {"upload_url": f"{ADDRESS}/storage/{path}", "expires_at": "2030-01-01T00:00:00Z", "file_path": path}

    def _create(self, asked: Asked) -> Answer:
        if self._too_fast():
            return self._count("too fast", Answer(429, _words("too fast"), (("retry-after", "2"),)))
        stated = json.loads(asked.body)
        body = {**stated, "image": stated["assets"]["image_file_path"], "prompt": stated["style"]["prompt"]}
        if (refused := self._refusal(body)) is not None:
            return refused
        drawn, faults = self.chance.random(), self.faults
        for share, act in (
            (faults.refused_before, lambda: self._refused_before("create")),
            (faults.unclear, lambda: self._unclear(body)),
            (faults.no_id, lambda: self._without_id(body)),
            (faults.id_in_refusal, lambda: self._id_in_refusal(body)),
            (faults.odd_figure, lambda: self._taken(body, odd=True)),
        ):
            if drawn < share:
                return act()
            drawn -= share
        return self._taken(body)

    def _too_fast(self) -> bool:
        if self.creates_each_s is None:
            return False
        now = self.books.now()
        self._created_at = [at for at in self._created_at if now - at < 1]
        if len(self._created_at) >= self.creates_each_s:
            return True
        self._created_at.append(now)
        return False

    def _refusal(self, body: dict[str, Any]) -> Answer | None:
        if self.rejects in str(body["prompt"]):
            return _refusal(422, "unprocessable_entity", "style.prompt: not allowed")
        image = str(body["image"])
        self.on_image(image)
        if image.startswith("api-assets/") and not self.books.has_upload(image):
            return self._count("upload gone", _refusal(404, "not_found", "assets.image_file_path: no such file"))
        if self.books.price(body) > self.books.left:
            return self._count("no credits", _refusal(402, "insufficient_credits", "the account is dry"))
        return None

    def _taken(self, body: dict[str, Any], *, odd: bool = False) -> Answer:
        charge = self.books.create(body)
        figure: Any = charge.credits
        if odd:
            figure = self._count("odd figure", self.chance.choice((None, -1, "many", 10_000_001)))
        return _said({"id": charge.video_id, "credits_charged": figure, "estimated_frame_cost": figure})

    def _refused_before(self, what: str) -> Answer:
        status = self.chance.choice((429, 500, 502, 503))
        wait = (("retry-after", str(self.chance.randint(0, 20))),) if self.chance.random() < 0.5 else ()
        return self._count(f"{what} {status}", Answer(status, _words("later"), wait))

    def _unclear(self, body: dict[str, Any]) -> Answer:
        if self.chance.random() < 0.5:
            self.books.create(body)
        status = self.chance.choice((408, 504, 520))
        return self._count(f"unclear {status}", Answer(status, b"<html>gateway</html>"))

    def _without_id(self, body: dict[str, Any]) -> Answer:
        charge = self.books.create(body)
        said = self.chance.choice((b"", b"OK", b'{"credits_charged": %d}' % charge.credits, b'{"id": ""}'))
        return self._count("no id", Answer(200, said))

    def _id_in_refusal(self, body: dict[str, Any]) -> Answer:
        status = self.chance.choice((409, 500, 503))
        video_id = (
            self.books.create(body).video_id if self.chance.random() < 0.5 else f"e{self.chance.randrange(10**9)}"
        )
        said = {"id": video_id, "code": "conflict", "message": "it went wrong"}
        return self._count(f"id in {status}", Answer(status, json.dumps(said).encode()))

    def _count(self, what: str, answer: Any) -> Any:
        self.seen[what] = self.seen.get(what, 0) + 1
        return answer


def _said(body: dict[str, Any]) -> Answer:
    return Answer(200, json.dumps(body).encode())


def _words(message: str) -> bytes:
    return json.dumps({"message": message}).encode()


def _refusal(status: int, code: str, message: str) -> Answer:
    return Answer(status, json.dumps({"code": code, "message": message}).encode())
