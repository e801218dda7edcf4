"""An address as a request names it: what httpx makes of it, whichever way the request takes."""

from __future__ import annotations

import httpx
import pytest
from raw_server import Connect, Serve, answer, keeping

from reelbatch.client import Client, ClientOptions, UploadSlot
from reelbatch.errors import SettingsError, UploadError

SIGNED = "/id/a%20b.png?X-Amz-Credential=AKIA%2F20261125&X-Amz-SignedHeaders=host&x-id=PutObject&X-Amz-Signature=0a1b"


@pytest.mark.parametrize("path", [SIGNED, "", "/x?", "/ä?q=ö", "/a/./b/../c", "/..", "/x#part", "/a b?c d", "/%zz?%"])
async def test_a_file_goes_where_its_address_says(connect: Connect, serve: Serve, path: str) -> None:
    """Escaped and resolved once, by httpx: a signature holds for one spelling."""
    server, seen = await keeping(serve, answer(b""))
    async with connect(server.url) as client:
        await client.put_bytes(UploadSlot(f"{server.url}{path}", "api-assets/1.png", None), b"image")
    (request,) = seen
    assert request.split(b" ")[1] == httpx.URL(f"{server.url}{path}").raw_path


@pytest.mark.parametrize(
    "address", ["http:///x", "ftp://example.com/x", "http://example.com:99999/x", "x", "https://a/\n"]
)
async def test_what_is_no_address_is_refused(connect: Connect, address: str) -> None:
    """Before anything is sent, and as an upload that can be tried again."""
    async with connect("http://127.0.0.1:9") as client:
        with pytest.raises(UploadError):
            await client.put_bytes(UploadSlot(address, "api-assets/1.png", None), b"image")


@pytest.mark.parametrize("address", ["https://exämple..com", "https://api.example.com\n", "https://[::1"])
def test_what_is_no_api_address_is_refused(address: str) -> None:
    """As a setting that can't be used, before there is a client."""
    with pytest.raises(SettingsError, match="is no API's address"):
        Client("mhk_live_key", ClientOptions(base_url=address))
