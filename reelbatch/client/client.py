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

from reelbatch.client.downloads import streamed
from reelbatch.client.file_chunks import one_piece, open_pieces
from reelbatch.client.masking import KeyMask, check_key
from reelbatch.client.outcome import Exchange, Kind, classify
from reelbatch.client.payloads import (
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
from reelbatch.client.transport import Evidence, Timeouts, TransportFactory, always, send
from reelbatch.domain import Request
from reelbatch.errors import ApiError, CreateError, OtherVideo, SettingsError, UnreadableAnswer, UploadError
from reelbatch.failpoints import point
from reelbatch.images.inspect import ImageProblem, inspect_image
from reelbatch.settings import LIVE_URL, is_loopback
from reelbatch.storage.addresses import guard_logs, without_secrets

_WRITE_TIMEOUT_S = 300.0
_TRANSFERS = 16
_HTTP_ERRORS = (httpx.HTTPError, httpx.InvalidURL, TimeoutError)
_HEADERS = [(b"User-Agent", b"reelbatch"), (b"Accept", b"*/*"), (b"Accept-Encoding", b"identity")]
"""Uncompressed, an answer that breaks off can still be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """How to reach the API.

    Args:
        base_url: https, or http on this machine.
        concurrency: creates in flight.
        timeout_s: longest wait for the answer to one call, in seconds.
        questions: calls in flight that cost nothing, such as those about a video.
        download_s: longest time that one try to download a video takes, in seconds; the next one goes on from there.
        transport: in place of the network. It reports by the `trace` extension when it connects and when it begins
            to send, as httpx's own do. Of one that does not, each request counts as sent.
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
        options: where the API is and how it is reached.
    """

    def __init__(self, api_key: str | SecretStr, options: ClientOptions = ClientOptions()) -> None:
        self._key = api_key if isinstance(api_key, SecretStr) else SecretStr(api_key)
        check_key(self._key)
        self._mask = KeyMask(self._key)
        base = _address(options.base_url)
        guard_logs()
        self._base = base
        self._address = f"{base.scheme}://{base.netloc.decode()}{base.raw_path.decode().rstrip('/')}"
        self._create_url = httpx.URL(f"{self._address}/v1/image-to-video")
        self._longest_download_s = options.download_s
        self._creating = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._headers = httpx.Headers([(b"Host", base.netloc), *_HEADERS, (b"Authorization", self._authorization())])
        timeouts = Timeouts.of(options.timeout_s)
        # A file may wait for a connection as long as the files before it take; a download has a limit of its own.
        file_timeouts = replace(timeouts, pool=None, write=_WRITE_TIMEOUT_S)
        self._timeouts = timeouts.as_extension()
        self._upload_timeouts = file_timeouts.as_extension()
        self._download_timeouts = replace(file_timeouts, answer=None).as_extension()
        # A proxy has no business between this process and its own machine.
        transports = TransportFactory(options.transport, trust_env=not is_loopback(base.host))
        self._creates = transports.for_answers(options.concurrency)
        self._questions = transports.for_answers(options.questions)
        self._uploads = transports.for_answers(_TRANSFERS)
        self._downloads = transports.for_downloads(_TRANSFERS)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections, once creates under way have their answers: each may have been paid for."""
        await self._idle.wait()
        for transport in (self._creates, self._questions, self._uploads, self._downloads):
            await transport.aclose()

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
            UploadError: an image is not there or could not be uploaded; nothing was charged.
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
        evidence = Evidence()
        request = self._request("POST", self._create_url, body)
        self._creating += 1
        self._idle.clear()
        try:
            await send(self._creates, request, evidence, may_leave)
        except Exception as error:  # noqa: BLE001 - classified by outcome.py, which knows every kind
            return evidence.exchange(error, self._mask)
        finally:
            self._creating -= 1
            if not self._creating:
                self._idle.set()
            point("create.answered")
        return evidence.exchange(None, self._mask)

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
        evidence = Evidence()
        try:
            headers = [*_HEADERS, (b"Content-Length", b"%d" % size)]
            request = httpx.Request(
                "PUT", slot.upload_url, headers=headers, content=pieces, extensions=self._upload_timeouts
            )
            await send(self._uploads, request, evidence)
        except _HTTP_ERRORS as error:
            raise UploadError(f"the upload broke off ({_words(error)})") from error
        point("upload.answered")
        if evidence.status is None or evidence.status >= 300:  # noqa: PLR2004 - anything but success
            raise UploadError(f"the storage returned status {evidence.status}", status=evidence.status)

    async def asset(self, path: str) -> str:
        """What a create is given for `path`: a URL or path of the API as it stands, else the uploaded file's path."""
        if path.startswith(("api-assets/", "saved-items/", "http://", "https://")):
            return path
        if not await asyncio.to_thread(os.path.isfile, path):
            raise UploadError(f"{path}: no such image file")
        try:
            (slot,) = await self.upload_urls([await asyncio.to_thread(_extension, path)])
        except ApiError as error:
            if error.status == 401:  # noqa: PLR2004 - the key, of which the create would say the same
                raise CreateError(f"halt: {error}", status=error.status, outcome=Kind.HALT.value) from error
            raise UploadError(f"{path}: there is no address to upload it to: {error}", status=error.status) from error
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
        headers = [*_HEADERS, (b"Range", b"bytes=%d-" % offset)] if offset else _HEADERS
        point("download.leave")
        try:
            request = httpx.Request("GET", url, headers=headers, extensions=self._download_timeouts)
            async with streamed(self._downloads, request, self._base, self._longest_download_s) as response:
                point("download.answered")
                yield response
        except _HTTP_ERRORS as error:
            raise ApiError(f"the download broke off ({_words(error)})") from error

    async def _ask(self, method: str, path: str, body: Any = None) -> Any:
        """A call that costs nothing and may be repeated."""
        evidence = Evidence()
        try:
            await send(self._questions, self._request(method, httpx.URL(f"{self._address}{path}"), body), evidence)
        except _HTTP_ERRORS as error:
            self._mask.error(error)
            raise ApiError(f"{method} {path}: {_words(error)}") from error
        point("question.answered")
        content = self._mask.body(evidence.content())
        if evidence.status != 200:  # noqa: PLR2004 - the only success of these calls
            message = lenient_object(content).get("message") or content.decode("utf-8", "replace")[:200]
            raise ApiError(f"{method} {path}: status {evidence.status}: {message}", status=evidence.status)
        answer = lenient_object(content)
        if not answer:
            raise UnreadableAnswer(f"{method} {path}: the answer is not the JSON that was expected")
        return answer

    def _request(self, method: str, url: httpx.URL, body: Any = None) -> httpx.Request:
        headers, content = self._headers, b""
        if body is not None:
            content = _ENCODE(body).encode("utf-8", "replace")
            headers = httpx.Headers(headers)
            headers["Content-Type"], headers["Content-Length"] = "application/json", str(len(content))
        stream = httpx.ByteStream(content)
        return httpx.Request(method, url, headers=headers, stream=stream, extensions=self._timeouts)

    def _authorization(self) -> bytes:
        return f"Bearer {self._key.get_secret_value()}".encode()


def _number_of_numpy(value: Any) -> Any:
    """As a row of a DataFrame has them: 5 for `numpy.int64(5)`."""
    if getattr(value, "ndim", None) == 0:
        return value.item()
    raise TypeError(f"{type(value).__name__} is no text, number or truth value, and can't be sent")


_ENCODE = json.JSONEncoder(ensure_ascii=False, default=_number_of_numpy).encode


def _extension(path: str) -> str:
    """What the image is by its content; what its name says where no library here opens it."""
    try:
        return inspect_image(path).extension
    except ImageProblem:
        return Path(path).suffix.lstrip(".").lower() or "png"


def _words(error: Exception) -> str:
    """An error's kind and words, without a signed address in them."""
    return f"{type(error).__name__}: {without_secrets(str(error))}"


def _address(base_url: str) -> httpx.URL:
    try:
        parts, address = urlsplit(base_url), httpx.URL(base_url)
    except (ValueError, httpx.InvalidURL) as error:
        raise SettingsError(f"base_url {base_url}: is no API's address: {error}") from error
    if parts.scheme != "https" and not is_loopback(parts.hostname):
        raise SettingsError(f"{base_url}: must be https, or http on this machine, because the key goes there")
    return address
