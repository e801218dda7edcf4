"""A review on a real socket, in a thread of the test's process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import uvicorn
from waiting import wait_until

from reelbatch.review.access import Session
from reelbatch.review.app import Reviewing, review_app


class Served(NamedTuple):
    """Where a review is: its root, the page below it, and the link that opens it."""

    root: str
    page: str
    link: str


@contextmanager
def serving(reviewing: Reviewing) -> Iterator[Served]:
    """Serve it until the block ends."""
    session = Session()
    app = review_app(reviewing, session)
    server = uvicorn.Server(
        uvicorn.Config(app, port=0, ws="none", lifespan="off", log_level="critical", access_log=False)
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started or not thread.is_alive(), "the review serves")
    root = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        yield Served(root, f"{root}{session.path}/", f"{root}{session.link}")
    finally:
        server.should_exit = True
        server.force_exit = True  # a browser keeps its connections
        thread.join()
