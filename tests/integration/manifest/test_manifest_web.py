"""A manifest behind a web address: what stands in the way is called what it is."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from reelbatch.errors import ManifestError
from reelbatch.manifest import Checks, ManifestOptions, open_manifest
from reelbatch.model_table import load_models


class _Refusing(BaseHTTPRequestHandler):
    """Answers `/403/…` with 403, and alike."""

    def do_GET(self) -> None:
        self.send_error(int(self.path.split("/")[1]))

    do_HEAD = do_GET  # noqa: N815 - the name that http.server looks for

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadingHTTPServer]:
    """On a free port of loopback."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Refusing) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (404, "no such file"),
        (410, "no such file"),
        (401, r"the server refuses it \(status 401\)"),
        (403, r"the server refuses it \(status 403\)"),
        (500, "not reachable now: the server returned status 500"),
    ],
)
def test_a_manifest_that_a_server_does_not_give(server: ThreadingHTTPServer, status: int, why: str) -> None:
    """Only one that is not there is called so; a signature in the address is not shown."""
    _open(server.server_port, f"{status}/list.csv?sig=secret", why)


def test_a_server_that_is_not_there_is_no_missing_file() -> None:
    """With its host, since that is what has to be checked."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Refusing) as closed:
        port = closed.server_port
    _open(port, "list.csv", rf"not reachable now: no connection to 127\.0\.0\.1:{port}")


def _open(port: int, path: str, why: str) -> None:
    address = f"http://127.0.0.1:{port}/{path}"
    with pytest.raises(ManifestError, match=why) as raised:
        list(open_manifest(address, ManifestOptions(), Checks(models=load_models())).batches())
    assert "secret" not in str(raised.value)
