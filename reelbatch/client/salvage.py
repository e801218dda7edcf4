"""What is kept of an answer that the parser refuses: a success may have been paid for, however odd its form."""

from __future__ import annotations

import re

ANSWER_LIMIT = 5_000_000
"""Bytes of an answer that are read; a create's answer has some hundred."""
HEAD_LIMIT = 100 << 10
"""Bytes of an answer before its body, with those of the answers that only announce it."""
_INTERIM = re.compile(rb"\s*HTTP/\d(?:\.\d)? +1(?!01)\d\d\b.*?\r?\n\r?\n", re.DOTALL)
_FINAL = re.compile(rb"\s*HTTP/\d(?:\.\d)? +([2-9]\d\d)\b")
_BEGUN = re.compile(rb"\s*(?:H(?:T(?:T(?:P(?:/[\d. ]*)?)?)?)?)?|\s*HTTP/\d(?:\.\d)? +1(?!01).*", re.DOTALL)
"""The first line may still come to its end, and an answer follow one that only announces it."""
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_CHUNK = re.compile(rb"\s*([0-9a-fA-F]{1,8})[^\r\n]*\r?\n")
_NO_LENGTH = re.compile(rb"\s*[^{\r\n]*\r?\n")
_FIRST_REFUSAL = 300


class Received:
    """What came of one answer. Names of headers are in small letters."""

    __slots__ = ("body", "headers", "status")

    def __init__(self) -> None:
        self.status: int | None = None
        self.headers: dict[bytes, bytes] = {}
        self.body = bytearray()


class Salvage:
    """Reads on where the parser gave up, and keeps what comes.

    Of an answer that is no success only the body is kept: too little is certain about its status.
    """

    def __init__(self, received: Received) -> None:
        self._received = received
        self._raw = bytearray()
        self._body_at: int | None = None  # where the body begins in `_raw`
        self._stated: int | None = None  # its length, where the head has one
        self._chunked = False
        received.body.clear()

    def take(self, data: bytes | bytearray) -> bool:
        """The next bytes; False where nothing more is worth waiting for."""
        self._raw += data
        if self._body_at is None:
            return self._take_head()
        return self._take_body()

    def _take_head(self) -> bool:
        while interim := _INTERIM.match(self._raw):
            del self._raw[: interim.end()]
        final = _FINAL.match(self._raw)
        if final is None:
            return _BEGUN.fullmatch(self._raw) is not None
        blank = _BLANK_LINE.search(self._raw, final.end())
        if blank is None:
            return len(self._raw) <= HEAD_LIMIT
        self._read_head(int(final[1]), bytes(self._raw[final.end() : blank.start()]))
        self._body_at = blank.end()
        return self._take_body()

    def _read_head(self, status: int, head: bytes) -> None:
        fields = [line.partition(b":") for line in head.splitlines()[1:]]
        stated = [(name.strip().lower(), value.strip()) for name, _, value in fields]
        if status < _FIRST_REFUSAL:
            self._received.status = status
            self._received.headers = dict(stated)
        self._chunked = any(name == b"transfer-encoding" and b"chunked" in value.lower() for name, value in stated)
        lengths = [int(value) for name, value in stated if name == b"content-length" and value.isdigit()]
        self._stated = max(lengths, default=None)

    def _take_body(self) -> bool:
        body = bytes(self._raw[self._body_at :])
        body, is_whole = _joined(body) if self._chunked else (body, len(body) == self._stated)
        self._received.body[:] = body
        return not is_whole and len(self._raw) <= ANSWER_LIMIT


def _joined(raw: bytes) -> tuple[bytes, bool]:
    """A body without its chunks' lengths, as far as they can be read, and then the rest; and whether it has ended."""
    body, position = b"", 0
    while chunk := _CHUNK.match(raw, position):
        size = int(chunk[1], 16)
        if not size:
            return body, True
        body += raw[chunk.end() : chunk.end() + size]
        position = chunk.end() + size
    if unread := _NO_LENGTH.match(raw, position):
        position = unread.end()
    return body + raw[position:], False
