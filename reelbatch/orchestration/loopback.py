"""No proxy between this process and its own machine, for libraries that take proxies from the environment."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.request import getproxies

import httpx

from reelbatch.client import ssl_context
from reelbatch.errors import SettingsError

_HOSTS = ("127.0.0.1", "localhost", "::1")


@contextmanager
def loopback_is_direct() -> Iterator[None]:
    """While this lasts, Prefect's HTTP and websocket clients reach loopback directly; all else as before.

    Raises:
        SettingsError: a proxy setting of the environment can't be used, or SSL_CERT_FILE can't be read.
    """
    if os.environ.get("SSL_CERT_FILE"):
        ssl_context()  # Prefect's clients read it too, and would end in a traceback
    stated = getproxies()  # the environment, and on macOS and Windows the system's settings
    proxies = {f"{scheme}_proxy": stated[scheme] for scheme in ("http", "https", "all") if stated.get(scheme)}
    if not proxies:
        yield
        return
    exempt = _exempt(stated.get("no", ""))
    # Once `no_proxy` is in the environment, the system's settings no longer count: so they are stated too.
    with _environment({**proxies, "no_proxy": exempt, "NO_PROXY": exempt}):
        _check()
        yield


def _exempt(stated: str) -> str:
    """What `no_proxy` says, and loopback. A lone `*` exempts everything and stays alone: websockets read it so."""
    return stated if stated.strip() == "*" else ",".join([*filter(None, [stated.strip(", ")]), *_HOSTS])


def _check() -> None:
    """A client makes a transport for each proxy, needed or not; one that can't be made is said here, in one line."""
    try:
        httpx.Client(verify=False).close()  # noqa: S501 - it sends nothing; loading the authorities takes time
    except (ValueError, ImportError, httpx.InvalidURL) as error:
        names = "HTTPS_PROXY, HTTP_PROXY, ALL_PROXY"
        raise SettingsError(f"a proxy setting of the environment ({names}) can't be used: {error}") from error


@contextmanager
def _environment(changed: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
