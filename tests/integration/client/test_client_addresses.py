"""An address as a request names it: what httpx makes of it, whichever way it is read."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelbatch.client.wire import Origin

SIGNED = (
    "https://videos.example.com/id/a%20b.png?X-Amz-Credential=AKIA%2F20261125&X-Amz-Date=20261125T000000Z"
    "&X-Amz-SignedHeaders=host&x-id=PutObject&X-Amz-Signature=0a1b"
)
PARTS = ("a", "B9", "_", "~", ".", "..", "/", "//", "%20", "%2f", "%zz", "%", "?", "=", "&", "+", " ", "é", "'", '"')
MORE = ("#", "@", ":", ";", ",", "-", "(", "*", "!", "$", "[", "]", "<", "|", "\\", "^", "`", "{", "\t", "\n", "ß")


def by_httpx(address: str) -> tuple[Origin, str]:
    """What `Origin.split` should make of it."""
    url = httpx.URL(address)
    if url.scheme not in {"http", "https"} or not url.raw_host:
        raise httpx.UnsupportedProtocol("another scheme")
    port = url.port or {"http": 80, "https": 443}[url.scheme]
    return Origin(url.scheme, url.raw_host.decode(), port, url.netloc.decode()), url.raw_path.decode()


def check(address: str) -> None:
    """The same server and the same target, or the same refusal."""
    try:
        expected = by_httpx(address)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as refusal:
        with pytest.raises(type(refusal)):
            Origin.split(address)
    else:
        assert Origin.split(address) == expected


@pytest.mark.parametrize(
    "address",
    [
        SIGNED,
        "http://127.0.0.1:8080",
        "http://127.0.0.1:80/x",
        "https://example.com:0443/x?",
        "https://EXAMPLE.com/x",
        "https://bücher.example/ä?q=ö",
        "http://me:secret@example.com/x",
        "http://example.com:99999/x",
        "http://[::1]:80/x",
        "http:///x",
        "ftp://example.com/x",
        "https://example.com/a/./b/../c",
        "https://example.com/..",
        "https://example.com/x#part",
        "https://example.com/x\n",
    ],
)
def test_an_address_is_what_httpx_makes_of_it(address: str) -> None:
    """Signed, with odd ports and hosts, and none at all."""
    check(address)


@given(
    st.sampled_from(["http://h", "https://a.example.com:8443", "http://h:80", "https://.", "http://-"]),
    st.lists(st.sampled_from((*PARTS, *MORE)), max_size=8).map("".join),
)
def test_whatever_is_in_the_path(server: str, rest: str) -> None:
    """Escapes, dots and what no address may have."""
    check(f"{server}/{rest}")
