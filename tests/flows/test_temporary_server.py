"""The temporary Prefect server serves its own run and no one else on the machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psutil
import pytest
from ports import free_port
from prefect_schema import statements
from waiting import WAIT_S, wait_until

from reelbatch.errors import PipelineError, SettingsError
from reelbatch.orchestration.fresh_database import MADE_BY, make
from reelbatch.sandbox import RunningSandbox, start

ROOT = Path(__file__).parents[2]
KEY = "mhk-marked-4711-key-of-a-customer"
FOREIGN = "someone:elses-password"
pytestmark = [
    # Prefect leaves sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]
ELSEWHERE = {
    "PREFECT_SERVER_API_AUTH_STRING": FOREIGN,
    "PREFECT_API_AUTH_STRING": "another:one",
    "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": "*",
    "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": "*",
    "PREFECT_SERVER_API_BASE_PATH": "/v2/api",
    "PREFECT_CLIENT_CUSTOM_HEADERS": '{"Authorization": "Bearer elsewhere"}',
    "MAGIC_HOUR_API_KEY": KEY,
    "REELBATCH_WEBHOOK_SECRET": "whsec-marked-4711",
}
"""What an environment may say of servers elsewhere, and the secrets in it."""
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy")


class Server(NamedTuple):
    """A temporary server that runs, as its own process sees it and as others do."""

    url: str
    password: str
    process: psutil.Process

    def ask(self, method: str, path: str, headers: Mapping[str, str] | None = None, **more: Any) -> httpx.Response:
        """A call past all proxies, without the password."""
        with httpx.Client(trust_env=False) as client:
            return client.request(method, f"{self.url}{path}", headers=headers, **more)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The first server of a new folder, of a run whose environment states other servers' passwords and origins."""
    from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

    home = tmp_path_factory.mktemp("temporary") / "prefect"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**ELSEWHERE, "PREFECT_HOME": str(home)}.items():
            patch.setenv(name, value)
        with temporary_settings({PREFECT_HOME: home}, restore_defaults={PREFECT_API_URL}), _running_api() as running:
            yield running


@contextmanager
def _running_api() -> Iterator[Server]:
    """What a run does that has no server: it starts one."""
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL

    from reelbatch.orchestration.prefect_server import prefect_api

    with prefect_api():
        url = PREFECT_API_URL.value()
        port = str(httpx.URL(url).port)
        (process,) = [child for child in psutil.Process().children() if child.cmdline()[-1:] == [port]]
        yield Server(url, PREFECT_API_AUTH_STRING.value(), process)


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Basic c29tZW9uZTplbHNlcy1wYXNzd29yZA=="}], ids=["none", "exported"]
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/flow_runs/filter"),
        ("POST", "/block_documents/filter"),
        ("GET", "/block_types/slug/secret/block_documents/name/magic-hour-api-key?include_secrets=true"),
        ("GET", "/admin/version"),
        ("GET", "/admin/settings"),
    ],
)
def test_the_server_refuses_all_who_lack_its_password(
    server: Server, method: str, path: str, headers: dict[str, str]
) -> None:
    """Also those who know the password that the environment exports for another server."""
    assert server.ask(method, path, headers).status_code == 401


async def test_a_secret_block_opens_for_the_run_alone(server: Server) -> None:
    """The run reads the key that it needs; a second client of the machine gets no block."""
    from prefect.blocks.system import Secret

    await Secret(value=KEY).save("magic-hour-api-key", overwrite=True)
    assert (await Secret.aload("magic-hour-api-key")).get() == KEY
    answer = server.ask("POST", "/block_documents/filter", json={"include_secrets": True})
    assert answer.status_code == 401
    assert KEY not in answer.text


def test_a_new_database_is_the_one_that_prefect_makes(prefect: Any, tmp_path: Path) -> None:
    """Made from statements in place of a hundred migrations; of the version of Prefect that is pinned."""
    from prefect import __version__

    assert __version__ == MADE_BY, "run tests/support/prefect_schema.py"
    make(tmp_path / "prefect.db")
    ours, theirs = (_objects(statements(folder / "prefect.db")) for folder in (tmp_path, prefect.pristine))
    assert ours == theirs


def _objects(text: str) -> list[list[str]]:
    """Tables and indexes, and the lines of each, in one order: Prefect's migrations make them in any."""
    return sorted(sorted(line.strip().rstrip(",") for line in each.splitlines()) for each in text.split(";\n"))


def test_websockets_ask_for_the_password_too(server: Server) -> None:
    """Events and logs are streams of their own."""
    from websockets import Subprotocol
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    for path in ("/events/out", "/events/in", "/logs/out"):
        address = server.url.replace("http", "ws", 1) + path
        with connect(address, subprotocols=[Subprotocol("prefect")], proxy=None) as stream:
            stream.send('{"type": "auth", "token": "guessed"}')
            with pytest.raises(ConnectionClosed):
                stream.recv(timeout=10)


@pytest.mark.parametrize("origin", ["https://evil.example", "http://127.0.0.1:4200", "null", ""])
@pytest.mark.parametrize("method", ["OPTIONS", "GET", "POST"])
def test_no_page_of_another_origin_may_read_an_answer(server: Server, method: str, origin: str) -> None:
    """A browser on this machine reads nothing for a page from elsewhere, whatever the environment allows."""
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    answer = server.ask(method, "/health", headers)
    assert "access-control-allow-origin" not in answer.headers


def test_the_server_has_no_key_and_shows_no_password(server: Server) -> None:
    """Its command line is for everybody to read; its environment has no more than it needs."""
    environment = server.process.environ()
    assert environment["PREFECT_SERVER_API_AUTH_STRING"] == server.password
    assert server.password.partition(":")[2] not in " ".join(server.process.cmdline())
    assert not {name for name in environment if name.startswith(("REELBATCH_", "MAGIC_HOUR_"))}
    assert KEY not in "".join(environment.values())


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux")
def test_what_the_server_writes_is_the_users_own(server: Server) -> None:
    """A database that it makes holds Secret blocks, and the key that opens them."""
    status = Path(f"/proc/{server.process.pid}/status").read_text(encoding="utf-8")
    assert "Umask:\t0077" in status


def test_a_server_on_its_way_goes_with_the_command() -> None:
    """Also where that ends at once, before the server has imported anything of Prefect."""
    program = (
        "import os\nfrom reelbatch.orchestration.prefect_server import temporary_server\n"
        "with temporary_server() as server: print(server.process.pid, flush=True); os._exit(130)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    pid = int(ended.stdout)
    wait_until(lambda: not psutil.pid_exists(pid), "the server ends")


class Proxy:
    """A proxy that counts who comes and helps none of them."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                with client:
                    client.settimeout(10)
                    self.seen.append(client.recv(200))
                    client.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")

    def close(self) -> None:
        """No one else may come."""
        self._listener.close()


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    proxy = Proxy()
    yield proxy
    proxy.close()


@pytest.fixture(scope="module")
def api() -> Iterator[RunningSandbox]:
    with start(render_seconds=0.1, queue_seconds=0.0, render_video=False) as sandbox:
        yield sandbox


class Ran(NamedTuple):
    """How a run ended, and the password that its own server had, if it started one."""

    returncode: int
    stderr: str
    password: str | None


def _reelbatch(folder: Path, *arguments: str, **env: str) -> Ran:
    (folder / "spring.csv").write_text(
        "image_path,prompt,end_seconds\nhttps://images.example.com/a.png,Slow pan,5\n", encoding="utf-8"
    )
    ours = ("REELBATCH_", "PREFECT_", "MAGIC_HOUR_")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(ours) and not name.lower().endswith("_proxy")
    }
    quiet = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1", "COLUMNS": "400"}
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "reelbatch", "generate", "spring.csv", "--json", *arguments],
            cwd=folder,
            env={**kept, **quiet, "PYTHONPATH": str(ROOT), "MAGIC_HOUR_API_KEY": "sandbox", **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
        )
    passwords: set[str] = set()

    def has_ended() -> bool:
        passwords.update(_passwords_below(process.pid))
        return process.poll() is not None

    try:
        wait_until(has_ended, "the run ends", 5 * WAIT_S)
    finally:
        process.kill()
    return Ran(process.returncode, (folder / "said").read_text(encoding="utf-8"), *(passwords or {None}))


def _passwords_below(pid: int) -> set[str]:
    """Those of the servers that a process has started."""
    with suppress(psutil.Error):
        return set(_passwords(psutil.Process(pid).children()))
    return set()


def _passwords(processes: Iterable[psutil.Process]) -> Iterator[str]:
    """Those of the servers among them."""
    for process in processes:
        with suppress(psutil.Error, KeyError):  # one that is just being started, or has just ended
            if "reelbatch.orchestration.prefect_server" in process.cmdline():
                yield process.environ()["PREFECT_SERVER_API_AUTH_STRING"]


@pytest.fixture(scope="module")
def surrounded(proxy: Proxy, api: RunningSandbox, prefect: Any, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A run with its temporary server, where proxies and other servers' passwords are exported by each name."""
    folder = tmp_path_factory.mktemp("surrounded")
    stated = {name: value for name, value in ELSEWHERE.items() if name.startswith("PREFECT_")}
    return _reelbatch(
        folder,
        *("--base-url", api.url, "--yes", "--settle", "--verbose"),
        PREFECT_HOME=str(prefect.home(folder / "prefect")),
        **dict.fromkeys(PROXIES, f"http://{proxy.address}"),
        **stated,
    )


def test_no_call_to_the_temporary_server_goes_to_a_proxy(surrounded: Ran, proxy: Proxy) -> None:
    """Flows, tasks, logs and events: all of a run's calls to its own machine stay there."""
    assert surrounded.returncode == 0, surrounded.stderr
    assert proxy.seen == []


def test_a_run_goes_through_with_other_servers_passwords_exported(surrounded: Ran) -> None:
    """They hold for the servers that they belong to; the temporary one and its client have their own."""
    assert surrounded.returncode == 0, surrounded.stderr
    assert "Traceback" not in surrounded.stderr


def test_a_first_run_that_is_refused_leaves_no_server(api: RunningSandbox, tmp_path: Path) -> None:
    """Where the results table is new, one is on its way before the key is looked at; it ends with the command."""
    refused = _reelbatch(tmp_path, "--base-url", api.url, MAGIC_HOUR_API_KEY="")
    assert refused.returncode == 2
    assert refused.password is not None
    wait_until(lambda: refused.password not in _passwords(psutil.process_iter()), "the server ends")


def test_each_server_has_a_password_of_its_own(server: Server, surrounded: Ran) -> None:
    """Long enough that no one guesses it while a run lasts."""
    assert surrounded.password not in {None, server.password}
    assert len(str(surrounded.password)) > 40


def test_a_wrong_password_for_a_named_server_is_one_line(server: Server, api: RunningSandbox, tmp_path: Path) -> None:
    """It names the server, what it said and what to do, and nothing was sent."""
    run = _reelbatch(
        tmp_path, "--base-url", api.url, "--yes", PREFECT_API_URL=server.url, PREFECT_API_AUTH_STRING="not:it"
    )
    assert run.returncode == 2, run.stderr
    line = _only_line(run)
    assert all(part in line for part in (server.url, "401", "PREFECT_API_AUTH_STRING", "Unset PREFECT_API_URL"))
    assert "not:it" not in line


def test_the_right_password_for_a_named_server_goes_through(
    server: Server, api: RunningSandbox, tmp_path: Path
) -> None:
    """A user's own server is used as it is."""
    run = _reelbatch(
        tmp_path, "--base-url", api.url, "--yes", PREFECT_API_URL=server.url, PREFECT_API_AUTH_STRING=server.password
    )
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1:{free}/api", "does not answer"),
        ("http://me:hush-4711@127.0.0.1:{free}/api", "does not answer"),
        ("127.0.0.1:4200/api", "does not answer"),
        ("{sandbox}/api", "returned status 404"),
        ("{sandbox}/sandbox/books?x=", "PREFECT_API_URL"),
    ],
    ids=["refused", "with a password", "no scheme", "another server", "another path"],
)
def test_a_named_server_that_can_not_be_used_is_one_line(
    url: str, said: str, api: RunningSandbox, tmp_path: Path
) -> None:
    """In place of minutes of tries and a traceback."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from reelbatch.orchestration.named_server import check_named_server

    address = url.format(free=free_port(), sandbox=api.url)
    with temporary_settings({PREFECT_API_URL: address}), pytest.raises(PipelineError, match=said) as error:
        check_named_server(address)
    assert len(str(error.value).splitlines()) == 1
    assert "hush-4711" not in str(error.value)


def test_a_server_that_is_gone_ends_the_command_at_once(api: RunningSandbox, tmp_path: Path) -> None:
    """Exit code 2 and one line."""
    run = _reelbatch(tmp_path, "--base-url", api.url, "--yes", PREFECT_API_URL=f"http://127.0.0.1:{free_port()}/api")
    assert run.returncode == 2, run.stderr
    assert "does not answer" in _only_line(run)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("PREFECT_API_REQUEST_TIMEOUT", "APISettings: request_timeout: "),
        ("PREFECT_CLIENT_CUSTOM_HEADERS", 'error parsing value for field "custom_headers"'),
    ],
)
def test_a_setting_of_prefects_that_can_not_be_used_is_named(
    api: RunningSandbox, tmp_path: Path, name: str, said: str
) -> None:
    """Exit code 2, before anything is sent, and no traceback of Prefect's import."""
    run = _reelbatch(tmp_path, "--base-url", api.url, "--yes", **{name: "soon"})
    assert (run.returncode, "Traceback" in run.stderr) == (2, False), run.stderr
    assert f"Error: Prefect's settings can't be used: {said}" in run.stderr


def test_results_are_not_kept_where_another_server_has_them(api: RunningSandbox, tmp_path: Path) -> None:
    """The block that is named for other flows is one of their server; the temporary one has none of that name."""
    where = ("--base-url", api.url, "--yes", "--limit", "1", "--repeats", "send")
    run = _reelbatch(tmp_path, *where, PREFECT_DEFAULT_RESULT_STORAGE_BLOCK="s3-bucket/results")
    assert (run.returncode, "Traceback" in run.stderr) == (0, False), run.stderr


def _only_line(run: Ran) -> str:
    """What is said beside the notice of a new results table."""
    (line,) = [line for line in run.stderr.splitlines() if "a new one will be made" not in line]
    return line


@pytest.mark.parametrize("proxy_name", PROXIES)
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "127.0.0.1,localhost,::1"),
        ("internal.example", "internal.example,127.0.0.1,localhost,::1"),
        ("*", "*"),
    ],
)
def test_what_was_exempt_from_proxies_stays_so(
    before: str, after: str, proxy_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By whichever name a proxy is stated: loopback is added while a run lasts, and afterwards all is as it was."""
    from reelbatch.orchestration.loopback import loopback_is_direct

    for name in (*PROXIES, "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(proxy_name, "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", before)
    stood = dict(os.environ)
    with loopback_is_direct():
        assert (os.environ["no_proxy"], os.environ["NO_PROXY"]) == (after, after)
    assert dict(os.environ) == stood


def test_a_proxy_that_can_not_be_used_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prefect's clients would fail on it wherever they go."""
    from reelbatch.orchestration.loopback import loopback_is_direct

    monkeypatch.setenv("ALL_PROXY", "gopher://127.0.0.1:9")
    with pytest.raises(SettingsError, match="ALL_PROXY") as error, loopback_is_direct():
        pass
    assert len(str(error.value).splitlines()) == 1


def test_authorities_that_can_not_be_read_are_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Prefect's server and its clients read SSL_CERT_FILE too, and would end in a traceback."""
    from reelbatch.orchestration.loopback import loopback_is_direct

    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    with pytest.raises(SettingsError, match=r"SSL_CERT_FILE: .*missing\.pem") as error, loopback_is_direct():
        pass
    assert len(str(error.value).splitlines()) == 1
