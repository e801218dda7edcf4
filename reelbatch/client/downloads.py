"""A finished video as it streams in: from where it may come, and for how long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx

from reelbatch.errors import DownloadRefused
from reelbatch.settings import is_loopback

MOST_REDIRECTS = 5


@asynccontextmanager
async def streamed(
    transport: httpx.AsyncBaseTransport, request: httpx.Request, asked_by: httpx.URL, longest_s: float
) -> AsyncIterator[httpx.Response]:
    """The answer to `request`; redirects are followed, and what is in their bodies is not read.

    Args:
        transport: one that says where a redirect leads: `next_request`.
        request: a GET.
        asked_by: whose word the first address is: the API's.
        longest_s: this many seconds after it has left, the answer is whole or given up, though bytes keep coming.

    Raises:
        DownloadRefused: it leads to where no video may come from, or from place to place.
        httpx.HTTPError: the storage could not be reached, or the transfer broke off.
        TimeoutError: it took too long.
    """
    async with asyncio.timeout(None) as limit:

        async def trace(event: str, _: Mapping[str, Any]) -> None:
            if event.endswith("send_request_headers.started"):  # until then it waits for those before it
                limit.reschedule(asyncio.get_running_loop().time() + longest_s)

        for _ in range(1 + MOST_REDIRECTS):
            _check_step(asked_by, request.url)
            request.extensions = {**request.extensions, "trace": trace}
            response = await transport.handle_async_request(request)
            try:
                if response.next_request is None:
                    yield response
                    return
            finally:
                await response.aclose()
            asked_by, request = request.url, response.next_request
    raise DownloadRefused(f"the download is refused: the storage redirects it more than {MOST_REDIRECTS} times")


def _check_step(whence: httpx.URL, to: httpx.URL) -> None:
    """An address or a redirect does not reach into the network of the one who downloads.

    Raises:
        DownloadRefused: it leads to neither https nor the same host, or from https to http.
    """
    if to.scheme == "https" or (whence.scheme == to.scheme == "http" and _is_one_host(whence.host, to.host)):
        return
    raise DownloadRefused(
        f"the download is refused: {whence.host} sends it to {to.scheme}://{to.host}, and videos come over https "
        "(or from the same host, where that speaks http itself)"
    )


def _is_one_host(one: str, other: str) -> bool:
    """`localhost` and `127.0.0.1` are one: an API on this machine names itself as it likes."""
    return one == other or (is_loopback(one) and is_loopback(other))
