"""The storage beside the API: files behind signed URLs that expire, uploads in and videos out."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from starlette.requests import ClientDisconnect, Request

from reelbatch.sandbox.validation import Refused

DAY_S = 86_400.0
_PREFIX = "api-assets/sandbox"
_UPLOADED = re.compile(rf"{_PREFIX}/([0-9a-f]{{32}}\.[a-z0-9]{{1,10}})")


@dataclass(frozen=True, slots=True)
class SignedUrl:
    """A URL that works until `expires_at` (unix seconds)."""

    url: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class Storage:
    """Files under `root`, and the URLs that give access to one of them for one method."""

    root: Path
    secret: bytes

    def prepare(self) -> None:
        """Make the folders."""
        for folder in (self.root / "uploads", self.root / "videos"):
            folder.mkdir(parents=True, exist_ok=True)

    def new_path(self, extension: str) -> str:
        """A file path no one can guess, for a file that is still to come."""
        return f"{_PREFIX}/{secrets.token_hex(16)}.{extension}"

    def upload_file(self, file_path: str) -> Path | None:
        """Where the upload with this file path lies, or None if it never arrived."""
        target = self._upload_target(file_path)
        return target if target and target.exists() else None

    def age_uploads(self, days: float) -> int:
        """Make every upload older by `days`; returns how many there are."""
        files = list((self.root / "uploads").iterdir())
        for file in files:
            moment = file.stat().st_mtime - days * DAY_S
            os.utime(file, (moment, moment))
        return len(files)

    def video_file(self, video_id: str) -> Path:
        """Where this video lies once it is drawn."""
        return self.root / "videos" / f"{video_id}.mp4"

    def signed(self, base: str, method: str, key: str, ttl: float) -> SignedUrl:
        """A URL for one method on one file: `base` + /storage/ + `key`."""
        expires = int(time.time() + ttl)
        query = urlencode({"expires": expires, "signature": self._signature(method, key, str(expires))})
        return SignedUrl(f"{base.rstrip('/')}/storage/{key}?{query}", expires)

    def authorize(self, request: Request) -> str:
        """The key of the file that `request` may use.

        Raises:
            Refused: the signature is wrong, has expired, or the request carries a second authorization.
        """
        key: str = request.path_params["key"]
        if "authorization" in request.headers:
            raise Refused(400, "Only one way to authorize is allowed: drop the Authorization header")
        expires, signature = (request.query_params.get(name, "") for name in ("expires", "signature"))
        method = "GET" if request.method == "HEAD" else request.method
        if not hmac.compare_digest(signature.encode(), self._signature(method, key, expires).encode()):
            raise Refused(403, "The signature of this URL is wrong")
        if time.time() >= int(expires):
            raise Refused(403, "This URL has expired")
        return key

    async def receive(self, key: str, request: Request) -> str:
        """Stream the body into the file and give its ETag; a broken upload leaves nothing behind.

        Raises:
            Refused: `key` is no file path of an upload.
        """
        target = self._upload_target(key)
        if target is None:
            raise Refused(403, "This URL is not for uploads")
        part = target.with_suffix(f".{secrets.token_hex(4)}.part")
        digest = hashlib.md5(usedforsecurity=False)
        try:
            with part.open("wb") as file:  # the page cache takes it; a thread hop costs more
                async for chunk in request.stream():
                    file.write(chunk)
                    digest.update(chunk)
            part.replace(target)
        except ClientDisconnect:
            raise Refused(400, "The upload broke off") from None
        finally:
            part.unlink(missing_ok=True)
        return f'"{digest.hexdigest()}"'

    def _upload_target(self, file_path: str) -> Path | None:
        found = _UPLOADED.fullmatch(file_path)
        return self.root / "uploads" / found[1] if found else None

    def _signature(self, method: str, key: str, expires: str) -> str:
        return hmac.new(self.secret, f"{method}\n{key}\n{expires}".encode(), "sha256").hexdigest()
