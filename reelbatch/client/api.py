"""The calls of the API, and its JSON."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

import httpx
from pydantic import SecretStr

from reelbatch.client.answers import (
    Account,
    Created,
    UploadSlot,
    Video,
    account,
    create_body,
    lenient_object,
    upload_slot,
    video,
)
from reelbatch.client.files import one_piece, open_pieces
from reelbatch.client.masking import KeyMask
from reelbatch.client.streaming import streamed
from reelbatch.client.ways import Ways
from reelbatch.client.wire import Call, Origin, Seen, Waits, always
from reelbatch.domain import Request
from reelbatch.errors import ApiError, CreateError, OtherVideo, SettingsError, UnreadableAnswer, UploadError
from reelbatch.failpoints import point
from reelbatch.outcome import Exchange, Kind, classify
from reelbatch.settings import LIVE_URL, is_loopback
from reelbatch.storage.addresses import guard_logs, without_secrets

_WRITE_TIMEOUT_S = 300.0
_TRANSFERS = 16
_HTTP_ERRORS = (httpx.HTTPError, httpx.InvalidURL, TimeoutError)
_ENCODE = json.JSONEncoder(ensure_ascii=False).encode
_HEADERS = [("User-Agent", "reelbatch"), ("Accept", "*/*")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """How to reach the API.

    Args:
        base_url: https, or http on this machine.
        concurrency: creates in flight.
        timeout_s: longest wait for the answer to one call, in seconds.
        questions: calls in flight that cost nothing, such as those about a video.
        download_s: longest time that one try to download a video takes, in seconds; the next one goes on from there.
        transport: in place of the network, for tests.
    """

    base_url: str = LIVE_URL
    concurrency: int = 16
    timeout_s: float = 60.0
    questions: int = 16
    download_s: float = 3600.0
    transport: httpx.AsyncBaseTransport | None = None


class Client:
    """An asynchronous client for image-to-video.

    The key goes to the API's own host and to no other: never to an upload or download address.

    Args:
        api_key: the API key; it is never logged.
        connection: where the API is and how it is reached.
    """

    def __init__(self, api_key: str | SecretStr, connection: Connection = Connection()) -> None:
        self._key = api_key if isinstance(api_key, SecretStr) else SecretStr(api_key)
        _check_key(self._key)
        self._mask = KeyMask(self._key)
        _check_address(connection.base_url)
        guard_logs()
        self._base = httpx.URL(connection.base_url)
        self._longest_download_s = connection.download_s
        self._origin, path = Origin.split(connection.base_url)
        self._path = path.rstrip("/")
        self._creating = 0
        self._idle = asyncio.Event()
        self._idle.set()
        # A proxy has no business between this process and its own machine.
        ways = Ways(connection.transport, trust_env=not is_loopback(urlsplit(connection.base_url).hostname))
        waits = Waits.of(connection.timeout_s)
        self._creates = ways.wire(connection.concurrency, waits)
        self._questions = ways.wire(connection.questions, waits)
        # A file may wait for a connection as long as the files before it take.
        waits = replace(waits, place=None, write=_WRITE_TIMEOUT_S)
        self._uploads = ways.wire(_TRANSFERS, waits)
        self._downloads = ways.pools(_TRANSFERS, waits)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections, once creates under way have their answers: each may have been paid for."""
        await self._idle.wait()
        for wire in (self._creates, self._questions, self._uploads, self._downloads):
            await wire.close()

    async def create(
        self,
        *,
        image_path: str | Path,
        end_seconds: float,
        prompt: str | None = None,
        end_image_path: str | Path | None = None,
        **options: Any,
    ) -> Created:
        """Create one video; local images are uploaded first. It is charged once, and never sent twice.

        Args:
            image_path: a local file, an `api-assets/…` or `saved-items/…` path, or a URL.
            end_seconds: length of the video in seconds, 1 to 60.
            prompt: what should happen in the video.
            end_image_path: the last frame, for models that take one.
            options: `name`, `resolution`, `model`, `audio`, and the deprecated `width` and `height`.

        Raises:
            CreateError: it was refused, or it is in doubt; `error.outcome` says which.
            UploadError: an image could not be uploaded; nothing was charged.
        """
        name = options.pop("name", None)
        request = Request(str(image_path), prompt, end_seconds, **options)
        image = await self.asset(request.image_path)
        end_image = await self.asset(str(end_image_path)) if end_image_path else None
        exchange = await self.send_create(create_body(request, image, end_image, name))
        outcome = classify(exchange)
        if outcome.kind is not Kind.SUBMITTED or outcome.video_id is None:
            what = f"{outcome.kind.replace('_', ' ')}: {outcome.message}"
            raise CreateError(what, status=outcome.status, outcome=outcome.kind.value)
        raw = lenient_object(exchange.body)
        return Created(outcome.video_id, outcome.credits_charged, outcome.estimated_frame_cost, raw)

    async def send_create(self, body: Mapping[str, Any], may_leave: Callable[[], bool] = always) -> Exchange:
        """One POST of `body`; whatever happens comes back as an Exchange, with what is known about it.

        `may_leave` is asked just before the first byte; where it says no, nothing leaves.
        """
        seen = Seen()
        call = replace(self._call("POST", "/v1/image-to-video", body), may_leave=may_leave)
        self._creating += 1
        self._idle.clear()
        try:
            await self._creates.exchange(call, seen)
        except Exception as error:  # noqa: BLE001 - classified by outcome.py, which knows every kind
            return seen.exchange(error, self._mask)
        finally:
            self._creating -= 1
            if not self._creating:
                self._idle.set()
            point("create.answered")
        return seen.exchange(None, self._mask)

    async def upload_urls(self, extensions: Sequence[str]) -> list[UploadSlot]:
        """Ask for one upload address for each of `extensions`, in the same order. Costs nothing.

        Raises:
            ApiError: the API refused or could not be reached.
        """
        items = [{"type": "image", "extension": extension} for extension in extensions]
        answer = await self._ask("POST", "/v1/files/upload-urls", {"items": items})
        try:
            slots = [upload_slot(item) for item in answer["items"]]
        except (KeyError, TypeError) as error:
            raise ApiError("the API's answer to upload-urls lacks addresses") from error
        if len(slots) != len(items):
            raise ApiError(f"the API gave {len(slots)} upload addresses for {len(items)} images")
        return slots

    async def put_file(self, slot: UploadSlot, path: str | Path) -> None:
        """Stream a local file to its upload address. The key does not go along.

        Raises:
            UploadError: the storage refused it or could not be reached; trying again is safe.
        """
        try:
            async with open_pieces(path) as (size, pieces):
                await self._put(slot, size, pieces)
        except OSError as error:
            raise UploadError(f"{path}: the image can't be read: {error.strerror or error}") from error

    async def put_bytes(self, slot: UploadSlot, content: bytes) -> None:
        """The same with a file's content.

        Raises:
            UploadError: as `put_file`.
        """
        await self._put(slot, len(content), one_piece(content))

    async def _put(self, slot: UploadSlot, size: int, pieces: AsyncIterator[bytes]) -> None:
        try:
            origin, target = Origin.split(slot.upload_url)
            headers = [*_HEADERS, ("Content-Length", str(size))]
            status = await self._uploads.put(Call("PUT", origin, target, headers), pieces)
        except _HTTP_ERRORS as error:
            raise UploadError(f"the upload broke off ({_words(error)})") from error
        point("upload.answered")
        if status >= 300:  # noqa: PLR2004 - anything but success
            raise UploadError(f"the storage answered with status {status}", status=status)

    async def asset(self, path: str) -> str:
        """What a create is given for `path`: a URL or path of the API as it stands, else the uploaded file's path."""
        if path.startswith(("api-assets/", "saved-items/", "http://", "https://")):
            return path
        extension = Path(path).suffix.lstrip(".").lower() or "png"
        if not await asyncio.to_thread(os.path.isfile, path):
            raise UploadError(f"{path}: no such image file")
        (slot,) = await self.upload_urls([extension])
        await self.put_file(slot, path)
        return slot.file_path

    async def get_video(self, video_id: str) -> Video:
        """The state of a video. Costs nothing.

        Raises:
            ApiError: the API refused (`status` 404: no such video) or could not be reached.
            OtherVideo: it spoke of another video.
            UnreadableAnswer: what it said can't be read.
        """
        name = video_id if video_id.isascii() and video_id.isalnum() else quote(video_id, safe="")
        answer = await self._ask("GET", f"/v1/video-projects/{name}")
        try:
            known = video(answer)
        except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
            raise UnreadableAnswer(f"the API's answer about video {video_id} lacks its id or status") from error
        if known.id != video_id:
            raise OtherVideo(f"asked about video {video_id}, the API answered about video {known.id}")
        return known

    async def get_account(self) -> Account:
        """The account that the key belongs to, its balance (credits) and subscription. Costs nothing.

        Raises:
            ApiError: the API refused (`status` 401: wrong key), could not be reached, or named no account.
        """
        answer = await self._ask("GET", "/v1/account")
        try:
            return account(answer)
        except KeyError as error:
            raise ApiError("the API's answer about the account lacks its id") from error

    @asynccontextmanager
    async def download(self, url: str, *, offset: int = 0) -> AsyncIterator[httpx.Response]:
        """Stream a finished video from `offset` bytes on. The key does not go along.

        Raises:
            DownloadRefused: the address, or where it redirects to, is none that a video may come from.
            ApiError: the storage could not be reached, or the transfer broke off.
        """
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={offset}-"} if offset else {})}
        point("download.leave")
        try:
            with self._downloads.client() as client:
                request = client.build_request("GET", url, headers=headers)
                async with streamed(client, request, self._base, self._longest_download_s) as response:
                    point("download.answered")
                    yield response
        except _HTTP_ERRORS as error:
            raise ApiError(f"the download broke off ({_words(error)})") from error

    async def _ask(self, method: str, path: str, body: Any = None) -> Any:
        """A call that costs nothing and may be repeated."""
        seen = Seen()
        try:
            await self._questions.exchange(self._call(method, path, body), seen)
        except _HTTP_ERRORS as error:
            self._mask.error(error)
            raise ApiError(f"{method} {path}: {_words(error)}") from error
        point("question.answered")
        content = self._mask.body(seen.content())
        if seen.status != 200:  # noqa: PLR2004 - the only success of these calls
            message = lenient_object(content).get("message") or content.decode("utf-8", "replace")[:200]
            raise ApiError(f"{method} {path}: status {seen.status}: {message}", status=seen.status)
        answer = lenient_object(content)
        if not answer:
            raise UnreadableAnswer(f"{method} {path}: the answer is not the JSON that was expected")
        return answer

    def _call(self, method: str, path: str, body: Any = None) -> Call:
        """Uncompressed, an answer that breaks off can still be read."""
        headers = [
            *_HEADERS,
            ("Authorization", f"Bearer {self._key.get_secret_value()}"),
            ("Accept-Encoding", "identity"),
        ]
        content = b""
        if body is not None:
            content = _ENCODE(body).encode("utf-8", "replace")
            headers += [("Content-Type", "application/json"), ("Content-Length", str(len(content)))]
        return Call(method, self._origin, f"{self._path}{path}", headers, content)


def _words(error: Exception) -> str:
    """An error's kind and words, without a signed address in them."""
    return f"{type(error).__name__}: {without_secrets(str(error))}"


def _check_key(key: SecretStr) -> None:
    value = key.get_secret_value()
    if not value.strip() or not value.isascii() or not value.isprintable() or value != value.strip():
        raise SettingsError("the API key is empty or has characters that no key has; check MAGIC_HOUR_API_KEY")


def _check_address(base_url: str) -> None:
    parts = urlsplit(base_url)
    if parts.scheme != "https" and not is_loopback(parts.hostname):
        raise SettingsError(f"{base_url}: must be https, or http on this machine, because the key goes there")
