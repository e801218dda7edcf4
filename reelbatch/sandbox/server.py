"""Serves the sandbox in this process until a signal, or the end of standard input, stops it."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from reelbatch.errors import SandboxInUse, SettingsError
from reelbatch.sandbox.address import Address
from reelbatch.sandbox.app import build_app
from reelbatch.sandbox.config import SandboxConfig
from reelbatch.sandbox.service import Service
from reelbatch.sandbox.users import Users
from reelbatch.sandbox.wire import ConnectionProtocol


def serve(
    config: SandboxConfig,
    on_ready: Callable[[str], None] | None = None,
    *,
    stop_with_stdin: bool = False,
) -> None:
    """Serve until SIGINT, SIGTERM or (`stop_with_stdin`) the end of standard input and of the last other user.

    `on_ready` is given the URL once it is being listened to.

    Raises:
        SettingsError: the port or the folder can't be used; SandboxInUse, where another process has it.
    """
    with _listening(config) as listener, _data_folder(config) as data:
        host, port = listener.getsockname()[:2]
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        asyncio.run(_serve(config, data, listener, _Hooks(url, on_ready, stop_with_stdin)))


@dataclass(frozen=True, slots=True)
class _Hooks:
    """What surrounds the serving: whom to tell, and what to watch."""

    url: str
    on_ready: Callable[[str], None] | None
    stop_with_stdin: bool


class _Server(uvicorn.Server):
    """Uvicorn, quiet, and with the signals left to us: it would end by the signal and not with exit 0."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are handled in `_serve`."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so."""
        await super().startup(sockets)
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Cut what still stalls without a word about it."""
        logging.getLogger("uvicorn.error").disabled = True
        await super().shutdown(sockets)

    def stop(self) -> None:
        """End the serving soon."""
        self.should_exit = True


async def _serve(config: SandboxConfig, data: Path, listener: socket.socket, hooks: _Hooks) -> None:
    service = Service(config, data, hooks.url)

    def on_ready() -> None:
        Address(hooks.url, config.key, service.users.word).write(data)
        if hooks.on_ready:
            hooks.on_ready(hooks.url)

    if service.announcer:
        service.announcer.start()
    server = _Server(
        uvicorn.Config(
            build_app(service),
            http=ConnectionProtocol,
            ws="none",
            lifespan="off",
            log_level="error",
            access_log=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=1,
        ),
        on_ready,
    )
    _stop_on_signals(server.stop)
    if hooks.stop_with_stdin:
        _stop_with_stdin(service.users, server.stop)
    try:
        await server.serve(sockets=[listener])
    finally:
        if service.announcer:
            await service.announcer.close()
        await service.studio.close()
        Address.remove(data)  # while the books are still held: it may not be another's
        service.books.close()


@contextmanager
def _listening(config: SandboxConfig) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    # Without the protocol's number asyncio leaves Nagle's delay on, and each answer takes 40 ms.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        if os.name == "posix":  # a restart may have the port at once; elsewhere this would share it
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((config.host, config.port))
        except OSError as error:
            message = f"{config.host}:{config.port} can't be listened to: {error.strerror or error}"
            kind = SandboxInUse if error.errno == errno.EADDRINUSE else SettingsError
            raise kind(f"{message}. Choose another port, or 0 for a free one.") from error
        yield listener


@contextmanager
def _data_folder(config: SandboxConfig) -> Iterator[Path]:
    if config.data:
        folder = config.data.resolve()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(f"data: {folder} can't be used: {error.strerror or error}") from error
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="reelbatch-sandbox-", ignore_cleanup_errors=True) as temporary:
        yield Path(temporary)


def _stop_on_signals(stop: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError, RuntimeError):  # Windows; or not in the main thread
            loop.add_signal_handler(number, stop)


def _stop_with_stdin(users: Users, stop: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()

    def starter_left() -> None:
        users.starter_left(stop)
        if not users.over:
            _let_go()

    def watch() -> None:
        with suppress(OSError):
            while os.read(0, 1024):  # not sys.stdin: a thread inside its buffer upsets the interpreter's end
                pass
        with suppress(RuntimeError):  # the loop has ended before
            loop.call_soon_threadsafe(starter_left)

    threading.Thread(target=watch, name="stdin", daemon=True).start()


def _let_go() -> None:
    """It stays for others: neither the one who started it nor who reads that one's outputs waits for its end."""
    with suppress(OSError):
        os.write(1, b"{}\n")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.close(nowhere)
