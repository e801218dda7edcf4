"""Reads the answers of one connection, one after the other, with the parser that Node.js and uvicorn use."""

from __future__ import annotations

import re

import httptools
import httpx

from reelbatch.client.salvage import ANSWER_LIMIT, HEAD_LIMIT, Received, Salvage

KEEPALIVE_S = 3.0
"""Shorter than servers usually keep a connection: reusing one that the server is closing leaves a row in doubt."""
_ALL_LIMIT = 2 * ANSWER_LIMIT  # with all that is not body: the lengths of chunks, trailers
_KEEPALIVE_TIME = re.compile(rb"\btimeout\s*=\s*(\d{1,9})", re.IGNORECASE)
_CLOSING_S = 1.0
"""So long before the time that a server states, a request could meet its close on the way."""
_SWITCHING = 101
_FIRST_FINAL = 200


class ResponseParser:
    """Puts what arrives into `received`, anew for each exchange.

    It takes what servers get slightly wrong: an id in an answer with odd headers has been paid for all the same. What
    the parser refuses is read to its end by `Salvage`.
    """

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(
            lenient_headers=True,
            lenient_chunked_length=True,  # both lengths stated: the chunks count, as RFC 9112 wants it
            lenient_transfer_encoding=True,
            lenient_version=True,
            lenient_keep_alive=True,  # an answer follows the one that only announces it (103) and speaks of closing
            lenient_optional_cr_before_lf=True,
            lenient_optional_lf_after_cr=True,
            lenient_optional_crlf_after_chunk=True,
            lenient_spaces_after_chunk_size=True,
            lenient_data_after_close=True,
        )
        self.received = Received()
        self._headers: dict[bytes, bytes] = {}
        self._raw = bytearray()  # all of this answer, and of those that announced it
        self._salvage: Salvage | None = None  # once the parser has refused it
        self._problem = ""
        self._head_ended = False
        self._whole = False
        self._kept = True

    @property
    def is_kept(self) -> bool:
        """Whether another exchange may follow: the answer was whole, nothing came after it, no one closes."""
        return self._whole and self._kept

    @property
    def keepalive_s(self) -> float:
        """Seconds for which the connection may rest before its next request: fewer where the server closes early."""
        stated = _KEEPALIVE_TIME.search(self._headers.get(b"keep-alive", b""))
        return min(KEEPALIVE_S, int(stated[1]) - _CLOSING_S) if stated else KEEPALIVE_S

    def begin(self) -> None:
        """The next bytes are the answer to a new request."""
        self.received = Received()
        self._raw.clear()
        self._whole = False
        self._begin_head()

    def take(self, data: bytes) -> bool:
        """The next bytes; True where the answer is whole by now, or longer than anyone wants to read.

        Raises:
            httpx.RemoteProtocolError: it is no HTTP, and no more of it is worth waiting for.
        """
        self._raw += data
        if self._salvage is not None:
            return self._read_on(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._kept = False
            if not self._whole:
                self._salvage = Salvage(self.received)
                self._problem = f"the server's answer can't be read: {error}"
                return self._read_on(self._raw)
        if self._whole:
            return True
        self._check_length()
        return len(self.received.body) > ANSWER_LIMIT

    def _read_on(self, data: bytes | bytearray) -> bool:
        assert self._salvage is not None  # noqa: S101 - asked by the caller
        if not self._salvage.take(data):
            raise httpx.RemoteProtocolError(self._problem)
        return False

    def _check_length(self) -> None:
        if len(self._raw) > _ALL_LIMIT or (not self._head_ended and len(self._raw) > HEAD_LIMIT):
            raise httpx.RemoteProtocolError("the server's answer does not end")

    def rescue(self) -> None:
        """No more will come. An answer that went down in one that only announced it is found all the same."""
        if self._salvage is None and not self._head_ended:
            Salvage(self.received).take(self._raw)

    def end(self) -> None:
        """The server says no more; for an answer without a stated length that is its end.

        Raises:
            httpx.RemoteProtocolError: the answer is not whole.
        """
        self._kept = False
        if self._salvage is not None:
            raise httpx.RemoteProtocolError(self._problem)
        if self._head_ended and self._ends_with_connection():
            self._whole = True
        elif not self._raw:
            raise httpx.RemoteProtocolError("the server closed the connection without an answer")
        else:
            raise httpx.RemoteProtocolError("the server closed the connection within its answer")

    def _ends_with_connection(self) -> bool:
        chunked = b"chunked" in self._headers.get(b"transfer-encoding", b"").lower()
        return not chunked and b"content-length" not in self._headers

    def _begin_head(self) -> None:
        self._headers = {}
        self._head_ended = False

    # --- what httptools calls

    def on_message_begin(self) -> None:
        """An answer; a second one to the same request is none."""
        if self._whole:
            self._kept = False

    def on_header(self, raw_name: bytes, raw_value: bytes) -> None:
        """One header, or one trailer, which no one needs."""
        if self._whole or self._head_ended:
            return
        name, value = raw_name.lower(), raw_value.strip()
        self._headers[name] = b"%b, %b" % (self._headers[name], value) if name in self._headers else value

    def on_headers_complete(self) -> None:
        """The status and all headers are there."""
        status = self._parser.get_status_code()
        if self._whole or (status < _FIRST_FINAL and status != _SWITCHING):
            return
        self._head_ended = True
        if status != _SWITCHING:
            self.received.status, self.received.headers = status, self._headers
            if b"content-length" in self._headers and b"transfer-encoding" in self._headers:
                self._kept = False  # two lengths: where this answer ends is not certain

    def on_body(self, data: bytes) -> None:
        """More of the body."""
        if not self._whole:
            self.received.body += data

    def on_message_complete(self) -> None:
        """The end of an answer, or of one that only says that there will be one (100, 103)."""
        if self._whole:
            return
        if not self._head_ended:
            self._begin_head()
            return
        if self.received.status is not None:
            self._whole = True
            self._kept = self._kept and self._parser.should_keep_alive()
