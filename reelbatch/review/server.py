"""Serves the review page on this machine until a signal stops it."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from reelbatch.domain import Batch
from reelbatch.errors import SettingsError
from reelbatch.ledger import Ledger
from reelbatch.review.access import Session
from reelbatch.review.app import Reviewing, review_app
from reelbatch.webhooks.guard import Limits
from reelbatch.webhooks.server import serve_app

_HOST = "127.0.0.1"
_LIMITS = Limits(idle_s=30, connections=64)  # a browser keeps six


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewOptions:
    """What a review is told.

    Attributes:
        port: 0 for a free one.
        remote_images: whether the browser may load images from web addresses in the manifest.
        dollars_per_credit: for the figures in dollars.
    """

    port: int = 0
    remote_images: bool = False
    dollars_per_credit: float | None = None


def serve(
    ledger: Ledger, batch: Batch, options: ReviewOptions, on_ready: Callable[[str], None] | None = None
) -> None:
    """Show a batch and take verdicts until SIGINT or SIGTERM; `on_ready` is given the link, which works once.

    Raises:
        SettingsError: the port can't be listened to.
    """
    session = Session()
    reviewing = Reviewing(
        ledger=ledger,
        batch=batch,
        remote_images=options.remote_images,
        dollars_per_credit=options.dollars_per_credit,
    )

    def ready(root: str) -> None:
        if on_ready is not None:
            on_ready(f"{root.rstrip('/')}{session.link}")

    logging.getLogger("reelbatch.webhooks").setLevel(logging.ERROR)  # its gate's words are about deliveries
    with _listening(options.port) as listener, suppress(KeyboardInterrupt):
        serve_app(review_app(reviewing, session), listener, ready, _LIMITS)


@contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    # Without the protocol's number asyncio leaves Nagle's delay on, and each answer takes 40 ms.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((_HOST, port))
        except (OSError, OverflowError) as error:
            reason = error.strerror if isinstance(error, OSError) else None
            raise SettingsError(
                f"{_HOST}:{port} can't be listened to: {reason or error}. Choose another --port."
            ) from error
        yield listener
