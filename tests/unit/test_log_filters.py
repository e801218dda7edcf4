"""No library below logs what opens something, at whatever level."""

from __future__ import annotations

import logging

import pytest

from reelbatch.storage.addresses import guard_logs


@pytest.mark.parametrize(
    ("logger", "said"),
    [
        ("httpx", 'HTTP Request: GET https://cdn.example/v.mp4?X-Amz-Signature=hush4711 "HTTP/1.1 200 OK"'),
        ("httpcore.http11", "receive_response_headers.complete [(b'Location', b'https://a.example/v?sig=hush4711')]"),
        ("httpcore.http11", "receive_response_headers.complete [(b'Location', b'/v.mp4?a=1&Signature=hush4711')]"),
        ("httpcore.http11", "headers=[(b'Authorization', b'Bearer hush4711')]"),
        ("urllib3.connectionpool", 'https://a.example:443 "GET /v?X-Goog-Credential=hush4711&b=1 HTTP/1.1" 200'),
        ("botocore.auth", "CanonicalRequest:\nGET\n/\n\nhost:a\nx-amz-security-token:hush4711\n\nhost"),
        ("botocore.auth", "Signature:\nhush4711"),
        ("botocore.endpoint", "{'headers': {'X-Amz-Security-Token': 'hush4711', 'Authorization': b'AWS4 hush4711'}}"),
        ("fsspec.http", "Fetch range for https://me:hush4711@host/a.csv: 0-9"),
    ],
)
def test_a_librarys_words_lose_what_opens_something(logger: str, said: str, caplog: pytest.LogCaptureFixture) -> None:
    """And keep the rest, also where the words are put together by logging itself."""
    log = logging.getLogger(logger)
    guard_logs()
    caplog.set_level(logging.DEBUG, logger=logger)
    log.debug("%s", said)
    log.debug(said)
    assert len(caplog.records) == 2
    assert "hush4711" not in caplog.text
    assert said[:7] in caplog.text


def test_what_holds_no_secret_is_logged_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    """Arguments stay arguments, and a record that can't be put together does no harm."""
    log = logging.getLogger("httpx")
    guard_logs()
    guard_logs()
    assert len(log.filters) == len(set(log.filters))
    caplog.set_level(logging.DEBUG, logger="httpx")
    log.info("HTTP Request: %s %s", "GET", "https://api.example/v1/account")
    assert caplog.records[-1].args == ("GET", "https://api.example/v1/account")
