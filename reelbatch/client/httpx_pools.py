"""Several small httpx clients in place of one large one: the way to the network where a proxy stands between.

httpx's pool slows down with its own size, so each client gets at most eight connections; all share one SSL context.
See docs/adr/0001-small-http-pools.md for the measurement.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from math import ceil
from typing import Any

import httpx

from reelbatch.client.watch import Watch
from reelbatch.client.wire import ANSWER_LIMIT, KEEPALIVE_S, Call, Seen, Waits
from reelbatch.errors import SettingsError

CONNECTIONS_EACH = 8


class Pools:
    """HTTP connections for up to `size` requests at once.

    Args:
        size: requests in flight.
        waits: longest waits of one request.
        trust_env: whether proxy settings of the environment are honoured.
        transport: in place of the network, for tests.
        context: for TLS; shared, since loading the authorities takes time and memory.

    Raises:
        SettingsError: a proxy setting of the environment can't be used.
    """

    def __init__(
        self,
        size: int,
        waits: Waits,
        *,
        trust_env: bool = True,
        transport: httpx.AsyncBaseTransport | None = None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        limits = httpx.Limits(
            max_connections=CONNECTIONS_EACH,
            max_keepalive_connections=CONNECTIONS_EACH,
            keepalive_expiry=KEEPALIVE_S,
        )
        self._waits = waits
        write = waits.answer if waits.write is None else waits.write
        timeout = httpx.Timeout(waits.answer, connect=waits.connect, write=write, pool=waits.place)
        options: dict[str, Any] = {"timeout": timeout, "limits": limits, "trust_env": trust_env}
        try:
            self._clients = [
                httpx.AsyncClient(verify=context or True, transport=transport, **options)
                for _ in range(ceil(size / CONNECTIONS_EACH))
            ]
        except (ValueError, ImportError, httpx.InvalidURL) as error:
            names = "HTTPS_PROXY, HTTP_PROXY, ALL_PROXY"
            raise SettingsError(f"a proxy setting of the environment ({names}) can't be used: {error}") from error
        self._busy = [0] * len(self._clients)

    @contextmanager
    def client(self) -> Iterator[httpx.AsyncClient]:
        """The client with the fewest requests under way."""
        index = min(range(len(self._busy)), key=self._busy.__getitem__)
        self._busy[index] += 1
        try:
            yield self._clients[index]
        finally:
            self._busy[index] -= 1

    async def exchange(self, call: Call, seen: Seen) -> None:
        """Send `call` once; `seen` is kept up to date, so that it tells the truth whatever ends the call.

        Raises:
            httpx.HTTPError: it did not come to its end.
            TimeoutError: nor in time, though bytes kept coming.
        """
        watch = Watch(call, seen, self._waits)
        request: dict[str, Any] = {"content": call.content or None, "headers": call.headers}
        with self.client() as client:
            async with (
                watch.limit(),
                client.stream(call.method, call.url, extensions={"trace": watch.trace}, **request) as response,
            ):
                seen.status, seen.headers = response.status_code, dict(response.headers)
                if response.is_stream_consumed:  # a transport in place of the network has it whole
                    seen.body += response.content
                    return
                async for chunk in response.aiter_raw():
                    seen.body += chunk
                    if len(seen.body) > ANSWER_LIMIT:
                        break

    async def put(self, call: Call, pieces: AsyncIterator[bytes]) -> int:
        """Send `call` with a body in pieces, whose length its headers state; returns the answer's status.

        Raises:
            httpx.HTTPError: it did not come to its end.
        """
        request: dict[str, Any] = {"content": pieces, "headers": call.headers}
        with self.client() as client:
            async with (
                client.stream(call.method, call.url, **request) as response,
                asyncio.timeout(self._waits.answer),
            ):
                await _read_away(response)
                return response.status_code

    async def close(self) -> None:
        """Close all connections."""
        for client in self._clients:
            await client.aclose()


async def _read_away(response: httpx.Response) -> None:
    """What nobody needs of an answer, so that its connection can be used again; unpacked it could be any length."""
    if response.is_stream_consumed:  # a transport in place of the network has it whole
        return
    size = 0
    async for chunk in response.aiter_raw():
        size += len(chunk)
        if size > ANSWER_LIMIT:
            return
