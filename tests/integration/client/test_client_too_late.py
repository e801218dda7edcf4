"""A create whose time to leave is over when its connection stands does not leave."""

from __future__ import annotations

import pytest
from raw_server import Connect, Serve, answer, keeping

from reelbatch.client.outcome import Kind, classify

BODY = {"assets": {"image_file_path": "https://images.example.com/a.png"}, "end_seconds": 5}


async def test_what_may_not_leave_any_more_is_surely_not_sent(connect: Connect, serve: Serve) -> None:
    """Nothing of it reaches the server, and it may be sent again: with the next word it is."""
    server, requests = await keeping(serve, answer(b'{"id":"clx7uu86w"}'))
    async with connect(server.url) as client:
        late = await client.send_create(BODY, lambda: False)
        outcome = classify(late)
        assert (late.request_sent, outcome.kind, outcome.code) == (False, Kind.RETRY, "too_late")
        assert requests == []
        assert classify(await client.send_create(BODY, lambda: True)).kind is Kind.SUBMITTED
    assert len(requests) == 1


@pytest.mark.parametrize("connect", ["own connections"], indirect=True)
async def test_the_connection_that_came_too_late_serves_the_next_create(connect: Connect, serve: Serve) -> None:
    """So a server to which connecting takes longer than an intent is fresh can be used all the same."""
    server, requests = await keeping(serve, answer(b'{"id":"clx7uu86w"}'))
    async with connect(server.url) as client:
        for may_leave in (False, False, True):
            await client.send_create(BODY, lambda said=may_leave: said)
    assert (len(requests), server.connections) == (1, 1)
