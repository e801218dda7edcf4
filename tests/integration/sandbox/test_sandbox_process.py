"""`python -m reelbatch.sandbox` as a process: how it starts, what it prints, how it ends."""

import json
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from reelbatch.errors import SandboxInUse, SettingsError
from reelbatch.sandbox import SandboxConfig, start
from reelbatch.sandbox.__main__ import main

Launch = Callable[..., tuple[subprocess.Popen[str], dict[str, Any]]]
COMMAND = [sys.executable, "-m", "reelbatch.sandbox"]
PIPES: dict[str, Any] = {
    "stdin": subprocess.PIPE,
    "stdout": subprocess.PIPE,
    "stderr": subprocess.PIPE,
    "text": True,
}


@pytest.fixture
def launch() -> Iterator[Launch]:
    """Starts the command and reads its line; whatever still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def run(*options: str) -> tuple[subprocess.Popen[str], dict[str, Any]]:
        process = subprocess.Popen([*COMMAND, *options], **PIPES)
        started.append(process)
        assert process.stdout
        return process, json.loads(process.stdout.readline())

    yield run
    for process in started:
        with process:
            process.kill()


def refused(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *options], capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(http: httpx.Client, launch: Launch, number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM end it with exit 0, even with a call in flight, and nothing more is printed."""
    process, ready = launch("--fault", "stall_before=1")
    body = {"assets": {"image_file_path": "https://a.example/a.png"}, "end_seconds": 5}
    with pytest.raises(httpx.ReadTimeout):
        http.post(
            f"{ready['url']}/v1/image-to-video",
            json=body,
            headers={"Authorization": "Bearer sandbox"},
            timeout=httpx.Timeout(20, read=0.2),
        )
    process.send_signal(number)
    assert process.communicate(timeout=20) == ("", "")
    assert process.returncode == 0


@pytest.mark.parametrize("kind", ["reset_before", "lost_before", "truncated_json"])
def test_a_cut_of_a_connection_that_is_gone_is_no_error(http: httpx.Client, launch: Launch, kind: str) -> None:
    """A client that gave up before its fault comes leaves no traceback."""
    process, ready = launch("--fault", f"{kind}=1", "--latency-ms", "800")
    body = {"assets": {"image_file_path": "https://a.example/a.png"}, "end_seconds": 5}
    # When the second ends, so has the first.
    for patience, broken in ((0.1, httpx.ReadTimeout), (20, httpx.TransportError)):
        with pytest.raises(broken):
            http.post(
                f"{ready['url']}/v1/image-to-video",
                json=body,
                headers={"Authorization": "Bearer sandbox"},
                timeout=httpx.Timeout(20, read=patience),
            )
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=20) == ("", "")


def test_a_full_disk_is_said_once(http: httpx.Client, launch: Launch, tmp_path: Path) -> None:
    """Each call that would write gets an internal error that says why; one line is printed, not a traceback."""
    process, ready = launch("--data", str(tmp_path))
    key = {"Authorization": "Bearer sandbox"}
    items = {"items": [{"type": "image", "extension": "png"}]}
    asked = http.post(f"{ready['url']}/v1/files/upload-urls", json=items, headers=key).json()
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, 0))  # no file may grow
    upload = http.put(asked["items"][0]["upload_url"], content=b"x" * 1000)
    urls = http.post(f"{ready['url']}/v1/files/upload-urls", json=items, headers=key)
    assert (upload.status_code, urls.status_code) == (500, 500)
    said = f"The sandbox can't write to {tmp_path}: "
    assert upload.json()["message"].startswith(said)
    assert urls.json()["message"].startswith(said)
    process.send_signal(signal.SIGTERM)
    printed = process.communicate(timeout=20)[1]
    assert said in printed
    assert printed.count("\n") == 1


def test_it_ends_with_its_standard_input(http: httpx.Client, launch: Launch) -> None:
    """With --stop-with-stdin the end of its parent's pipe ends it, so a killed parent leaves no orphan."""
    process, ready = launch("--stop-with-stdin")
    assert http.get(f"{ready['url']}/sandbox/health").json() == {"status": "ok"}
    assert process.communicate(timeout=20) == ("", "")
    assert process.returncode == 0


def test_options_go_over_the_file(http: httpx.Client, launch: Launch, tmp_path: Path) -> None:
    """Options override the file, and the line says where to go with which key."""
    file = tmp_path / "config.yaml"
    file.write_text("sandbox: {key: filed, balance: 5, faults: {share: {invalid: 0.5}}}", encoding="utf-8")
    options = ["--config", str(file), "--key", "given", "--data", str(tmp_path / "kept"), "--seed", "4"]
    _, ready = launch(*options, "--fault", "rate_limited=0.25")
    assert (ready["key"], ready["data"]) == ("given", str(tmp_path / "kept"))
    assert http.get(f"{ready['url']}/sandbox/books").json()["balance"] == 5
    faults = http.get(f"{ready['url']}/sandbox/faults").json()
    assert (faults["share"], faults["seed"]) == ({"invalid": 0.5, "rate_limited": 0.25}, 4)
    assert (tmp_path / "kept" / "books.db").exists()


def test_a_busy_port_is_one_clear_line() -> None:
    """A port that is taken ends it with exit 2 and says which one."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = refused("--port", str(port))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"sandbox: 127.0.0.1:{port} can't be listened to")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--host", "0.0.0.0"], "host: only a loopback address"),  # noqa: S104 - refused, which is the point
        (["--fault", "meteor=1"], "meteor"),
        (["--fault", "invalid"], "KIND=SHARE"),
        (["--plan", "gold"], "plan: "),
        (["--data", "/dev/null/x"], "data: "),
    ],
)
def test_wrong_options_are_one_clear_line(options: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An option that can't be used gives exit 2 and one line that names it."""
    assert main(options) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert (printed.out, printed.err.count("\n")) == ("", 1)


def test_two_sandboxes_cannot_share_a_folder(tmp_path: Path) -> None:
    """A folder has one owner: a second sandbox on it would count wrong, so it does not start."""
    with start(data=tmp_path):
        ended = refused("--data", str(tmp_path))
    assert ended.returncode == 2
    assert "another sandbox" in ended.stderr


def test_start_stops_what_it_started(http: httpx.Client) -> None:
    """After the block nothing listens any more."""
    with start() as sandbox:
        assert http.get(f"{sandbox.url}/sandbox/health").status_code == 200
    with pytest.raises(httpx.ConnectError):
        http.get(f"{sandbox.url}/sandbox/health")


@pytest.fixture
def parent() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process, with a process group of its own, that runs a sandbox until a Ctrl-C; and the sandbox's URL."""
    code = """
import urllib.request, sys
from reelbatch.sandbox import start
with start() as sandbox:
    try:
        print(sandbox.url, flush=True)
        sys.stdin.read()
    except KeyboardInterrupt:
        print(urllib.request.urlopen(sandbox.url + "/sandbox/health").status, flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", code], **PIPES, start_new_session=True) as process:
        assert process.stdout
        yield process, process.stdout.readline().strip()
        process.kill()


def test_a_ctrl_c_leaves_the_sandbox_to_its_parent(
    http: httpx.Client, parent: tuple[subprocess.Popen[str], str]
) -> None:
    """A Ctrl-C reaches the whole process group; the sandbox still answers while its parent finishes."""
    process, url = parent
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=20) == ("200\n", "")
    with pytest.raises(httpx.ConnectError):
        http.get(f"{url}/sandbox/health")


def test_a_killed_parent_leaves_no_orphan(http: httpx.Client, parent: tuple[subprocess.Popen[str], str]) -> None:
    """When the parent is killed the sandbox goes too: the standard error they share comes to its end."""
    process, url = parent
    process.kill()
    assert process.communicate(timeout=20) == ("", "")
    with pytest.raises(httpx.ConnectError):
        http.get(f"{url}/sandbox/health")


def test_start_takes_a_config_and_changes() -> None:
    """A config given as a whole can be changed by name."""
    with start(SandboxConfig(balance=9, key="one"), key="two") as sandbox:
        assert (sandbox.key, sandbox.books()["balance_start"]) == ("two", 9)


def test_data_that_is_relative_lies_in_this_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not beside the temporary file that tells the process its settings."""
    monkeypatch.chdir(tmp_path)
    with start(data="kept"):
        assert (tmp_path / "kept" / "books.db").exists()


def test_start_says_what_is_wrong(capfd: pytest.CaptureFixture[str]) -> None:
    """A wrong setting is told before, a failed start after trying; in the error, and nowhere else."""
    with pytest.raises(SettingsError, match="there is no such setting"), start(colour="red"):
        pass
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SandboxInUse, match=f"127.0.0.1:{port} can't be listened to"), start(port=port):
            pass
    assert capfd.readouterr() == ("", "")


def test_importing_it_is_light() -> None:
    """A program that only starts a sandbox loads neither the server nor the video library."""
    code = (
        "import sys, reelbatch.sandbox; print([m for m in ('starlette', 'uvicorn', 'av', 'PIL') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
