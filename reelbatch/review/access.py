"""Who may ask the review page: the browser that was given the link, from its own page, and no other.

Loopback alone keeps no one out: other users of the machine reach it, and any page in the browser can send requests
there. So the link has a token that works once and becomes a cookie; a request has to name this machine as its host
(no DNS rebinding), and a page that writes has to be our own.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
_COOKIE = "reelbatch_review"
_SAFE = frozenset({"GET", "HEAD"})
_FROM_US = frozenset({"same-origin", "none"})  # none: typed, or opened from a terminal
REMOTE_IMAGES = "https: http:"


@dataclass(slots=True)
class Session:
    """One review: the secret of its browser, and the token of the link by which that gets it.

    The address has a part of its own, since cookies do not tell ports apart: what else listens on this machine is
    not sent this one.
    """

    secret: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    path: str = field(default_factory=lambda: f"/{secrets.token_hex(8)}")
    _token: str | None = field(default_factory=lambda: secrets.token_urlsafe(32))

    @property
    def link(self) -> str:
        """What is opened, from the server's root on."""
        return f"{self.path}/?token={self._token}"

    def admit(self, token: str) -> bool:
        """Whether `token` is the link's; it is only once."""
        if self._token is None or not _same(token, self._token):
            return False
        self._token = None
        return True

    def knows(self, connection: HTTPConnection) -> bool:
        """Whether the browser has been admitted."""
        return _same(connection.cookies.get(_COOKIE, ""), self.secret)

    @property
    def cookie(self) -> str:
        """What the browser is given."""
        return f"{_COOKIE}={self.secret}; Path={self.path}/; HttpOnly; SameSite=Strict"


def _same(stated: str, ours: str) -> bool:
    return hmac.compare_digest(stated.encode(), ours.encode())


def headers(*, remote_images: bool = False) -> Mapping[str, str]:
    """Of every answer: the page runs its own script alone and reaches nothing but this server."""
    images = f"'self' {REMOTE_IMAGES}" if remote_images else "'self'"
    policy = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": images,
        "media-src": "'self'",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    }


class Doorkeeper:
    """Middleware: refuses what does not come from our page, and puts the headers on every answer."""

    def __init__(self, app: ASGIApp, session: Session, answer_headers: Mapping[str, str]) -> None:
        self._app = app
        self._session = session
        self._headers = [(name.lower().encode(), value.encode()) for name, value in answer_headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                stated = message.setdefault("headers", [])
                stated.extend(self._headers)
                if not any(name.lower() == b"cache-control" for name, _ in stated):
                    stated.append((b"cache-control", b"no-store"))
            await send(message)

        why = None if scope["type"] != "http" else self._refusal(HTTPConnection(scope), scope["method"])
        app = self._app if why is None else PlainTextResponse(why, status_code=403)
        await app(scope, receive, send_with_headers)

    def _refusal(self, connection: HTTPConnection, method: str) -> str | None:
        asked = connection.headers
        host = asked.get("host", "")
        if host.rpartition(":")[0] not in _LOOPBACK and host not in _LOOPBACK:
            return "This server is for this machine alone."
        if "token" in connection.query_params and method in _SAFE and connection.url.path == f"{self._session.path}/":
            return None  # the page looks at it, and nothing else does
        if not self._session.knows(connection):
            return "Open the link that `reelbatch review` printed, or start it again for a new one."
        if method not in _SAFE and not _is_ours(asked, host):
            return "Only the page itself may write."
        if asked.get("sec-fetch-site", "none") not in _FROM_US:
            return "Another page may not ask."
        return None


def _is_ours(asked: Headers, host: str) -> bool:
    return asked.get("origin") == f"http://{host}" and asked.get("sec-fetch-site", "same-origin") == "same-origin"
