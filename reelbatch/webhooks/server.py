"""Serves the address for webhook events in this process until a signal stops it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import uvicorn
from pydantic import SecretStr
from starlette.applications import Starlette

from reelbatch.errors import SettingsError
from reelbatch.ledger import Ledger
from reelbatch.webhooks.app import Counts, log, webhook_app
from reelbatch.webhooks.guard import Gate, GuardedProtocol, Limits, Seldom

_QUIET: Mapping[str, Any] = {
    "ws": "none",
    "lifespan": "off",
    "log_level": "error",
    "access_log": False,
    "server_header": False,
}
_BACKLOG = 128  # connections that are accepted at a stretch, each of which takes a file before it can be closed
_GRACE_S = 10  # for requests under way: the API waits no longer for its answer


def serve(
    ledger: Ledger,
    secret: SecretStr,
    listener: socket.socket,
    on_ready: Callable[[str], None] | None = None,
) -> Counts:
    """Receive events until SIGINT or SIGTERM; what is under way is finished. Gives the counts.

    Args:
        ledger: the results table; it stays the caller's to close.
        secret: of the webhook.
        listener: of `listening`.
        on_ready: is given the URL once it is being listened to.

    Raises:
        SettingsError: the secret is empty.
    """
    app = webhook_app(ledger, secret)
    _show_log()
    with suppress(KeyboardInterrupt):
        serve_app(app, listener, on_ready)
    counts: Counts = app.state.counts
    return counts


def serve_app(
    app: Starlette,
    listener: socket.socket,
    on_ready: Callable[[str], None] | None = None,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> None:
    """Serve on a socket that is bound, until a signal; no connection is kept for longer than `limits` say."""
    gate = Gate(limits, Seldom(log))
    http: Any = partial(GuardedProtocol, gate)  # uvicorn only calls it
    config = uvicorn.Config(app, http=http, timeout_graceful_shutdown=_GRACE_S, backlog=_BACKLOG, **_QUIET)
    ready = partial(on_ready, _url(listener)) if on_ready else _nothing
    asyncio.run(_serve(_Server(config), listener, ready, gate))


def _nothing() -> None:
    pass


class _Server(uvicorn.Server):
    """Uvicorn, with the signals left to us: it would end by the signal, and not return."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.on_ready: Callable[[], None] = lambda: None

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are handled in `_serve`."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so."""
        await super().startup(sockets)
        self.on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End without a word about what had to be cut."""
        logging.getLogger("uvicorn.error").disabled = True
        await super().shutdown(sockets)

    def stop(self) -> None:
        """End the serving soon."""
        self.should_exit = True


async def _serve(server: _Server, listener: socket.socket, on_ready: Callable[[], None], gate: Gate) -> None:
    server.on_ready = on_ready
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(gate.out_of_files)
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError, RuntimeError, ValueError):  # Windows; or not in the main thread
            loop.add_signal_handler(number, server.stop)
    await server.serve(sockets=[listener])


def _show_log() -> None:
    """One line for each event on standard error, unless the program has its own idea of logging."""
    if not log.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that is bound; port 0: a free one.

    Raises:
        SettingsError: the address can't be listened to.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Without the protocol's number asyncio leaves Nagle's delay on, and each answer takes 40 ms.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        if os.name == "posix":  # a restart may have the port at once; elsewhere this would share it
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except (OSError, OverflowError) as error:
            reason = error.strerror if isinstance(error, OSError) else None
            message = f"{host}:{port} can't be listened to: {reason or error}"
            raise SettingsError(f"{message}. Choose another --port or --host.") from error
        yield listener
