"""Our own connections: what is certain about a kept one, TLS, addresses, and the wait for a free one."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import inf
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from raw_server import KEY, Behaviour, Serve, answer, keeping, read_request, reset
from waiting import until

from reelbatch.client import Client, ClientOptions, connection, response_parser
from reelbatch.client.connection_pool import ConnectionPool
from reelbatch.client.file_chunks import one_piece
from reelbatch.client.outcome import Kind, classify
from reelbatch.client.transport import Evidence, Timeouts, send
from reelbatch.errors import ApiError

BODY = {"assets": {"image_file_path": "https://images.example.com/a.png"}, "end_seconds": 5}
GOOD = b'{"id":"clx7uu86w"}'
TIMEOUTS = Timeouts.of(5)


def client_of(url: str, concurrency: int = 1, timeout_s: float = 5.0) -> Client:
    """A client over connections of our own."""
    return Client(KEY, ClientOptions(base_url=url, concurrency=concurrency, timeout_s=timeout_s, questions=1))


async def kind_of(client: Client, **more: Any) -> Kind:
    """What one create ended in."""
    return classify(await client.send_create(BODY | more)).kind


def numbered(number: int) -> bytes:
    """An answer that can be told from others."""
    return answer(b'{"id":"video%04d"}' % number)


async def patient(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers everything, one after the other."""
    while True:
        await read_request(reader)
        writer.write(answer(GOOD))
        await writer.drain()


# --- a kept connection ------------------------------------------------------------------------------------------


class Blocking:
    """A server in a thread of its own: what it does reaches our socket while our event loop stands still."""

    def __init__(self, end: Callable[[socket.socket], None] | None = None) -> None:
        self.requests = 0
        self.connections = 0
        self.may_end, self.has_ended = threading.Event(), threading.Event()
        self._end = end  # of the first connection, after its first answer
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Until the end of the block."""
        self._thread.start()
        yield
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with closing(connection):
            while connection.recv(65536):
                self.requests += 1
                connection.sendall(numbered(self.requests))
                if self._end is not None and self.requests == 1:
                    self.may_end.wait(10)
                    self._end(connection)
                    self.has_ended.set()


def _reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()


ENDS: dict[str, Callable[[socket.socket], None]] = {
    "closed": lambda connection: connection.shutdown(socket.SHUT_WR),
    "reset": _reset,
    "more bytes": lambda connection: connection.sendall(numbered(9999)),
}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
async def test_what_happened_to_a_kept_connection_is_seen_at_the_socket(end: Callable[[socket.socket], None]) -> None:
    """Though asyncio has not read it yet: nothing is written to it, so no row is in doubt and none is sent twice."""
    server = Blocking(end)
    with server.running():
        async with client_of(server.url) as client:
            assert classify(await client.send_create(BODY)).video_id == "video0001"
            server.may_end.set()
            assert server.has_ended.wait(10)  # blocks the loop: asyncio hears nothing of it
            outcome = classify(await client.send_create(BODY))
    assert (outcome.kind, outcome.video_id) == (Kind.SUBMITTED, "video0002")
    assert (server.requests, server.connections) == (2, 2)


async def test_a_write_that_the_system_refuses_whole_never_left() -> None:
    """The request goes over a new connection: the server hears it once, and it is not in doubt."""
    server = Blocking()
    with server.running():
        async with client_of(server.url) as client:
            await client.send_create(BODY)
            _end_writing_unseen()
            outcome = classify(await client.send_create(BODY))
    assert (outcome.kind, outcome.video_id) == (Kind.SUBMITTED, "video0002")
    assert (server.requests, server.connections) == (2, 2)


async def test_of_another_event_loop_a_refused_write_is_in_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known of asyncio's own loop is not assumed of every loop."""
    monkeypatch.setattr(asyncio, "SelectorEventLoop", asyncio.Server)  # a class that this loop is no instance of
    for _ in range(5):  # on a busy machine the server's end may be seen first, and another connection used
        server = Blocking()
        with server.running():
            async with client_of(server.url) as client:
                await client.send_create(BODY)
                _end_writing_unseen()
                exchange = await client.send_create(BODY)
        if server.connections == 1:
            break
    assert (exchange.request_sent, classify(exchange).kind) == (True, Kind.IN_DOUBT)
    assert server.requests == 1


def _end_writing_unseen() -> None:
    """The system will refuse the next write on the kept connection, as if its end came just after it was asked."""
    (kept,) = [
        thing for thing in gc.get_objects() if type(thing) is connection.HttpConnection and not thing.is_closing()
    ]
    with socket.socket(fileno=os.dup(kept._transport.get_extra_info("socket").fileno())) as same:
        same.shutdown(socket.SHUT_WR)
    kept._watched.has_news = lambda: False


@pytest.mark.parametrize(
    "raw",
    [
        answer(GOOD, "200 OK", "Connection: close"),
        b"HTTP/1.0 200 OK\r\nContent-Length: 18\r\n\r\n" + GOOD,
    ],
    ids=["said to close", "old protocol"],
)
async def test_a_connection_that_the_server_will_close_is_not_kept(serve: Serve, raw: bytes) -> None:
    """Each create gets a new one, though the server leaves the old one open for a while."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            writer.write(raw)
            await writer.drain()

    server = await serve(behave)
    async with client_of(server.url) as client:
        assert [await kind_of(client) for _ in range(3)] == [Kind.SUBMITTED] * 3
    assert server.connections == 3


async def test_a_connection_that_rested_long_is_not_used_again(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server may be closing it just now."""
    server = await serve(patient)
    async with client_of(server.url) as client:
        await client.send_create(BODY)
        await client.send_create(BODY)
        assert server.connections == 1
        monkeypatch.setattr(response_parser, "KEEPALIVE_S", 0.05)
        await asyncio.sleep(0.1)  # longer than that
        assert await kind_of(client) is Kind.SUBMITTED
    assert server.connections == 2


def closing_after(kept_s: float, stated: str) -> Behaviour:
    """A server that closes a connection which rested for `kept_s`, though a request is on its way to it just then."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answered = inf
        while True:
            await read_request(reader)
            if asyncio.get_running_loop().time() - answered > kept_s:
                return
            answered = asyncio.get_running_loop().time()
            writer.write(answer(GOOD, "200 OK", f"Keep-Alive: {stated}"))
            await writer.drain()

    return behave


@pytest.mark.parametrize("stated", ["timeout=1", "Timeout = 1, max=100", "max=3,timeout=0", "timeout=2"])
async def test_a_connection_is_not_used_again_close_to_the_time_that_the_server_states(
    serve: Serve, stated: str
) -> None:
    """Node.js states it: a request that meets the close on its way would be in doubt."""
    server = await serve(closing_after(0.9, stated))
    async with client_of(server.url) as client:
        assert await kind_of(client) is Kind.SUBMITTED
        await asyncio.sleep(1.1)  # longer than the server keeps it, less than we keep one otherwise
        assert await kind_of(client) is Kind.SUBMITTED
    assert server.connections == 2


@pytest.mark.parametrize("stated", ["timeout=5", "timeout=x", "max=5", "timeout=99999999999999999999"])
async def test_a_stated_time_that_is_long_or_odd_changes_nothing(serve: Serve, stated: str) -> None:
    """The connection is kept for as long as others."""
    server = await serve(closing_after(inf, stated))
    async with client_of(server.url) as client:
        assert [await kind_of(client) for _ in range(3)] == [Kind.SUBMITTED] * 3
    assert server.connections == 1


async def test_connections_that_rested_long_are_closed(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though no one asks for one: those of a burst do not stay open to the end of the run."""
    server = await serve(patient)
    monkeypatch.setattr(response_parser, "KEEPALIVE_S", 0.2)
    async with client_of(server.url, concurrency=5) as client:
        kinds = await asyncio.gather(*(kind_of(client) for _ in range(5)))
        assert kinds == [Kind.SUBMITTED] * 5
        await server.until_open(0)
        assert await kind_of(client) is Kind.SUBMITTED
        await server.until_open(0)
    assert server.connections == 6


async def test_bytes_that_no_one_asked_for_are_no_answer(serve: Serve) -> None:
    """A second answer to the first create is not taken for the answer to the second."""
    count, sent_again = 0, asyncio.Semaphore(0)

    async def twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        while True:
            await read_request(reader)
            count += 1
            writer.write(numbered(count))
            await writer.drain()
            await asyncio.sleep(0.05)  # the first answer is taken by then
            writer.write(numbered(1000 + count))
            sent_again.release()

    server = await serve(twice)
    async with client_of(server.url) as client:
        ids = []
        for _ in range(3):
            ids.append(classify(await client.send_create(BODY)).video_id)
            await asyncio.wait_for(sent_again.acquire(), 20)
    assert ids == ["video0001", "video0002", "video0003"]


# --- what was written, and what came back -----------------------------------------------------------------------


async def test_a_body_that_was_taken_in_part_is_in_doubt(serve: Serve) -> None:
    """A reset in the middle of a long prompt: some of it arrived."""

    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        reset(writer)

    server = await serve(half)
    async with client_of(server.url) as client:
        exchange = await client.send_create(BODY | {"prompt": "a" * 20_000_000})
    assert (exchange.request_sent, classify(exchange).kind) == (True, Kind.IN_DOUBT)
    assert server.connections == 1


async def test_a_long_body_arrives_whole(serve: Serve) -> None:
    """Also where the system does not take it in one go."""
    server, seen = await keeping(serve, answer(GOOD))
    async with client_of(server.url) as client:
        assert await kind_of(client, prompt="é" * 5_000_000) is Kind.SUBMITTED
    (request,) = seen
    assert json.loads(request.partition(b"\r\n\r\n")[2])["prompt"] == "é" * 5_000_000


@pytest.mark.parametrize("raw", [b"X-Long: " + b"a" * 400_000, b"X-Many: 1\r\n" * 40_000], ids=["long", "many"])
async def test_headers_without_measure_are_in_doubt(serve: Serve, raw: bytes) -> None:
    """They are not read to their end, and the request had left."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n" + raw + b"\r\nContent-Length: 18\r\n\r\n" + GOOD)
        await writer.drain()

    server = await serve(behave)
    async with client_of(server.url) as client:
        exchange = await client.send_create(BODY)
    assert (exchange.request_sent, classify(exchange).kind) == (True, Kind.IN_DOUBT)


async def test_headers_that_come_twice_are_joined(serve: Serve) -> None:
    """Names in small letters, as everybody else reads them."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(answer(GOOD, "200 OK", "X-A: 1", "x-a: 2", "Retry-AFTER: 7"))
        await writer.drain()

    server = await serve(behave)
    async with client_of(server.url) as client:
        headers = (await client.send_create(BODY)).headers
    assert (headers["x-a"], headers["retry-after"]) == ("1, 2", "7")


# --- the wait for a connection, and the end ---------------------------------------------------------------------


async def test_one_who_gives_up_in_line_leaves_the_place_to_others(serve: Serve) -> None:
    """A create that is cancelled before it has a connection takes none away."""
    release = asyncio.Event()

    async def held(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            await release.wait()
            writer.write(answer(GOOD))

    server = await serve(held)
    async with client_of(server.url) as client:
        first, second, third = (asyncio.create_task(client.send_create(BODY)) for _ in range(3))
        await server.until_open(1)
        second.cancel()
        release.set()
        kinds = [classify(await task).kind for task in (first, third)]
        with pytest.raises(asyncio.CancelledError):
            await second
    assert kinds == [Kind.SUBMITTED] * 2
    assert server.most_open == 1


async def test_a_cancelled_handshake_gives_its_place_back(serve: Serve) -> None:
    """One that never ends is dropped, and the next one gets its turn."""
    begun = asyncio.Semaphore(0)

    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            begun.release()

    server = await serve(silent)
    async with client_of(f"https://localhost:{server.port}", timeout_s=20) as client:
        for number in range(1, 3):
            sending = asyncio.create_task(client.send_create(BODY))
            await begun.acquire()
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            await server.until_open(0)
            assert server.connections == number


async def test_a_closed_client_sends_nothing(serve: Serve) -> None:
    """Surely not sent; and no one's connection stays open."""
    server = await serve(patient)
    client = client_of(server.url)
    await client.send_create(BODY)
    await client.close()
    async with asyncio.timeout(5):
        await server.until_open(0)
    exchange = await client.send_create(BODY)
    assert (exchange.request_sent, classify(exchange).kind) == (False, Kind.RETRY)
    assert server.connections == 1


async def test_questions_do_not_wait_for_creates(serve: Serve) -> None:
    """They have connections of their own, and those are bounded too."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await read_request(reader)
        if request.startswith(b"GET"):
            writer.write(answer(b'{"id": "c1", "status": "queued"}'))
        await reader.read()

    server = await serve(behave)
    async with client_of(server.url, timeout_s=0.6) as client:
        creating = asyncio.create_task(client.send_create(BODY))
        await server.until_open(1)
        assert (await client.get_video("c1")).status == "queued"
        assert server.most_open == 2
        assert classify(await creating).kind is Kind.IN_DOUBT


async def test_a_question_that_goes_wrong_is_an_api_error(serve: Serve) -> None:
    """Whatever happens, also when time runs out."""

    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    server = await serve(silent)
    async with client_of(server.url, timeout_s=0.3) as client:
        with pytest.raises(ApiError, match="ReadTimeout"):
            await client.get_video("c1")


# --- addresses and TLS ------------------------------------------------------------------------------------------


async def test_ipv6_works(serve: Serve) -> None:
    """With the brackets where they belong."""
    server, seen = await keeping(serve, answer(GOOD), "::1")
    async with client_of(f"http://[::1]:{server.port}/prefix/") as client:
        assert await kind_of(client) is Kind.SUBMITTED
    assert seen[0].startswith(b"POST /prefix/v1/image-to-video HTTP/1.1\r\n")
    assert f"host: [::1]:{server.port}\r\n".encode() in seen[0].lower()


async def test_a_name_with_several_addresses_is_tried_at_each(serve: Serve) -> None:
    """No one listens at localhost's other address."""
    server = await serve(patient)
    async with client_of(f"http://localhost:{server.port}") as client:
        assert await kind_of(client) is Kind.SUBMITTED


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Self-signed, for localhost; with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    encodings = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    path.write_bytes(key.private_bytes(*encodings) + built.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    """The server's side."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment vouches for the server."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))


async def test_a_certificate_that_no_one_vouches_for_ends_it_before_anything_left(
    serve: Serve, tls: ssl.SSLContext
) -> None:
    """The handshake fails, and the server gets nothing of the request."""
    server = await serve(patient, tls=tls)
    async with client_of(f"https://localhost:{server.port}") as client:
        exchange = await client.send_create(BODY)
    outcome = classify(exchange)
    assert (exchange.request_sent, outcome.kind) == (False, Kind.RETRY)
    assert "certificate" in (outcome.message or "").lower()


async def test_a_certificate_for_another_name_ends_it_before_anything_left(
    serve: Serve, tls: ssl.SSLContext, trusted: None
) -> None:
    """Trusted or not: it is for localhost and not for 127.0.0.1."""
    server = await serve(patient, tls=tls)
    async with client_of(f"https://127.0.0.1:{server.port}") as client:
        exchange = await client.send_create(BODY)
    assert (exchange.request_sent, classify(exchange).kind) == (False, Kind.RETRY)


async def test_an_authority_of_the_environment_is_trusted(serve: Serve, tls: ssl.SSLContext, trusted: None) -> None:
    """SSL_CERT_FILE; and a TLS connection is kept like any other."""
    server = await serve(patient, tls=tls)
    async with client_of(f"https://localhost:{server.port}") as client:
        assert [await kind_of(client) for _ in range(5)] == [Kind.SUBMITTED] * 5
        assert await kind_of(client, prompt="é" * 2_000_000) is Kind.SUBMITTED
    assert server.connections == 1


@pytest.mark.parametrize("polite", [True, False], ids=["closes", "resets"])
async def test_tls_that_ends_after_the_request_is_in_doubt(
    serve: Serve, tls: ssl.SSLContext, trusted: None, *, polite: bool
) -> None:
    """As without TLS; what ended while it rested is not used again."""
    answers = iter([True, False, True])

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        if next(answers):
            writer.write(answer(GOOD))
            await writer.drain()
        elif not polite:
            reset(writer)

    server = await serve(behave, tls=tls)
    async with client_of(f"https://localhost:{server.port}") as client:
        kinds = []
        for _ in range(3):
            kinds.append(await kind_of(client))
            await server.until_open(0)
    assert kinds == [Kind.SUBMITTED, Kind.IN_DOUBT, Kind.SUBMITTED]
    assert server.connections == 3


# --- files ------------------------------------------------------------------------------------------------------


async def pieces_of(*pieces: bytes) -> AsyncIterator[bytes]:
    """A body in pieces."""
    for piece in pieces:
        yield piece
        await asyncio.sleep(0)


async def put(
    pool: ConnectionPool, url: str, size: int, pieces: AsyncIterator[bytes], timeouts: Timeouts = TIMEOUTS
) -> int | None:
    """Put what is stated to be that many bytes; the status of the answer."""
    evidence = Evidence()
    headers, extensions = {"Content-Length": str(size)}, timeouts.as_extension()
    request = httpx.Request("PUT", url, headers=headers, content=pieces, extensions=extensions)
    await send(pool, request, evidence)
    return evidence.status


async def test_a_storage_that_answers_early_is_heard(serve: Serve) -> None:
    """A refusal while the file is still on its way ends the upload, with its status."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer(b"", "413 Content Too Large"))
        await writer.drain()
        await reader.read()

    server = await serve(refuse)
    pool = ConnectionPool(1, None)
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 10**9:
            sent += 1 << 16
            yield bytes(1 << 16)
            await asyncio.sleep(0.001)

    assert await put(pool, server.url, 10**9, endless()) == 413
    assert sent < 10**9
    await pool.aclose()


async def test_a_storage_that_takes_nothing_more_is_waited_for_within_bounds(serve: Serve) -> None:
    """The wait starts again with everything that it takes."""

    async def deaf(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(60)  # longer than anyone waits

    server = await serve(deaf)
    pool = ConnectionPool(1, None)
    with pytest.raises(httpx.WriteTimeout):
        await put(pool, server.url, 50_000_000, pieces_of(*[bytes(1_000_000)] * 50), replace(TIMEOUTS, write=0.3))
    await pool.aclose()


@pytest.mark.parametrize("body", [b"abc", b"abcdefgh"], ids=["too short", "too long"])
async def test_a_body_of_another_length_than_stated_is_never_whole(serve: Serve, body: bytes) -> None:
    """It can't be mistaken for the next request, and the connection is dropped."""
    server = await serve(patient)
    pool = ConnectionPool(1, None)
    with pytest.raises(Exception, match="Content-Length"):
        await put(pool, server.url, 5, pieces_of(body))
    async with asyncio.timeout(5):
        await server.until_open(0)
    await pool.aclose()


async def test_one_pool_serves_several_servers(serve: Serve) -> None:
    """Upload addresses may name many hosts; connections stay as few as they are allowed to be."""
    servers = [await serve(patient) for _ in range(3)]
    pool = ConnectionPool(2, None)
    for _ in range(2):
        for server in servers:
            evidence = Evidence()
            await send(pool, httpx.Request("GET", f"{server.url}/x"), evidence)
            assert (evidence.status, evidence.content()) == (200, GOOD)
    await until(lambda: sum(server.open for server in servers) <= 2, "the others are closed")
    await pool.aclose()


async def test_httpx_s_own_client_can_use_the_pool(serve: Serve) -> None:
    """It is an httpx transport: redirects, JSON and errors are as with any other, and connections are kept."""
    answers = iter([answer(b"", "302 Found", "Location: /elsewhere"), answer(GOOD), answer(GOOD)[:-1]])

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for raw in answers:
            await read_request(reader)
            writer.write(raw)
            await writer.drain()

    server = await serve(behave)
    async with httpx.AsyncClient(transport=ConnectionPool(1, None), follow_redirects=True) as client:
        assert (await client.post(server.url, json={})).json() == {"id": "clx7uu86w"}
        with pytest.raises(httpx.RemoteProtocolError, match="within its answer"):
            await client.get(server.url)
    assert server.connections == 1


async def test_a_body_without_a_length_is_refused(serve: Serve) -> None:
    """The pool writes no chunks: nothing of such a request leaves."""
    server = await serve(patient)
    pool = ConnectionPool(1, None)
    evidence = Evidence()
    with pytest.raises(httpx.LocalProtocolError, match="Content-Length"):
        await send(pool, httpx.Request("PUT", server.url, content=one_piece(b"a")), evidence)
    await pool.aclose()
    assert (evidence.request_sent, server.connections) == (False, 0)


@pytest.mark.parametrize("header", ["a\r\nX-Evil: 1", "a\nb", "\x00\r"])
async def test_a_header_adds_no_line(serve: Serve, header: str) -> None:
    """Whatever it holds: nothing of such a request leaves."""
    server = await serve(patient)
    pool = ConnectionPool(1, None)
    evidence = Evidence()
    with pytest.raises(httpx.LocalProtocolError, match="no request may have"):
        await send(pool, httpx.Request("GET", server.url, headers={"X-Some": header}), evidence)
    await pool.aclose()
    assert not evidence.request_sent


async def test_a_slow_file_on_a_kept_connection_is_waited_for(serve: Serve) -> None:
    """The wait for an answer begins when the file is written; that of the answer before it is over."""
    server = await serve(patient)
    wait_s = 0.4
    pool = ConnectionPool(1, None)

    async def slowly() -> AsyncIterator[bytes]:
        for _ in range(4):
            yield b"a"
            await asyncio.sleep(wait_s / 2)

    try:
        for pieces in (one_piece(b"abcd"), slowly()):
            assert await put(pool, server.url, 4, pieces, replace(TIMEOUTS, answer=wait_s)) == 200
    finally:
        await pool.aclose()
    assert server.connections == 1
