"""Everything that there is, with a marked key and an API that repeats it: no one else comes to have the key."""

from __future__ import annotations

import base64
import hmac
import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pyarrow.parquet as pq
import pytest
from parrot import Parrot, parroting
from pictures import landscape
from waiting import WAIT_S, wait_until
from workplace import Process, Workplace, working

from reelbatch.sandbox import RunningSandbox, process, start

KEY = "mhk_marked_4711_of-a-customer"
SECRET = "whsec_marked_4711"  # noqa: S105 - made up
SPELT = [KEY, SECRET, base64.b64encode(KEY.encode()).decode(), "".join(f"\\u{ord(char):04x}" for char in KEY)]
LOGGING = """
import logging, os
logging.basicConfig(filename=os.environ["LOGGED"], level=logging.DEBUG)
"""
SEVERAL = """
import json, sys
from reelbatch.cli import main
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["reelbatch", *arguments]
    try:
        main()
    except SystemExit as end:
        assert not end.code or arguments[0] == "reconcile", end.code
"""
FAULTS: list[str | None] = [None, "lost_after", "no_id", "invalid", "garbled_json", "gateway_timeout"]
ROWS = len(FAULTS) + 2


@pytest.fixture(scope="module")
def running() -> Iterator[RunningSandbox]:
    """An API with the marked key, whose videos are ready within a moment."""
    with start(key=KEY, queue_seconds=0.0, render_seconds=0.1, latency_ms=100) as sandbox:
        yield sandbox


@pytest.fixture
def parrot(sandbox: RunningSandbox) -> Iterator[Parrot]:
    sandbox.set_faults(script=FAULTS)
    with parroting(sandbox.url) as parrot:
        yield parrot


@pytest.fixture
def place(
    tmp_path: Path, sandbox: RunningSandbox, parrot: Parrot, serverless_env: dict[str, str]
) -> Iterator[Workplace]:
    """A folder that has all files of all processes: temporary ones, Prefect's, and what every logger says."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(LOGGING, encoding="utf-8")
    (tmp_path / "tmp").mkdir()
    env = {
        **serverless_env,
        "PYTHONPATH": str(tmp_path / "site"),
        "LOGGED": str(tmp_path / "logged"),
        "TMPDIR": str(tmp_path / "tmp"),
        "PREFECT_LOGGING_LEVEL": "DEBUG",
        "PREFECT_LOGGING_INTERNAL_LEVEL": "DEBUG",
        "PREFECT_LOGGING_ROOT_LEVEL": "DEBUG",
        "MAGIC_HOUR_API_KEY": KEY,
        "REELBATCH_WEBHOOK_SECRET": SECRET,
        "REELBATCH_BASE_URL": parrot.url,
        "REELBATCH_RESULTS": f"sqlite:///{tmp_path}/results/reelbatch.db",
        "REELBATCH_CONCURRENCY": "1",
        "REELBATCH_POLL_INTERVAL_S": "0.2",
        "REELBATCH_DOUBT_MIN_AGE_S": "0",
        "REELBATCH_RETRY_WAIT_S": "0",
    }
    with working(tmp_path, sandbox, env) as place:
        place.write_manifest(ROWS, image=lambda number: str(landscape(tmp_path / f"{number}.png")))
        yield place


@pytest.mark.slow
def test_nothing_but_the_api_comes_to_have_the_key(place: Workplace, parrot: Parrot) -> None:
    """Plan, generate as a flow, settle with downloads, webhook, status, export, reconcile, all logs at DEBUG.

    Looked through are the results table, exports, videos, Prefect's database with its artifacts and logs, temporary
    files, what was printed, and the environments and command lines of the processes that were started on the way.
    """
    folder = place.folder
    assert place.start("plan", str(place.manifest), "--json").finish().code == 0
    generated = place.start(
        *("generate", str(place.manifest), "--settle", "--download", str(folder / "videos"), "--yes", "--verbose")
    )
    children = _children_of(generated)
    assert generated.finish().code == 1
    assert {"reelbatch.orchestration.prefect_server"} <= {word for child in children for word in child.words}
    _receive_an_event(place)
    looks = [["status", "--rows", "20"], ["status", "--json"], ["reconcile"], ["reconcile", "--json"]]
    exports = [["export", str(folder / f"table.{kind}")] for kind in ("csv", "jsonl", "parquet")]
    for commands in (looks, exports):
        assert place.from_clone(["-c", SEVERAL, json.dumps(commands)], {}).finish().code == 0
    _check_that_the_test_can_fail(place, parrot)
    told = [spelt for spelt in SPELT for child in children if spelt in child.told]
    assert not told, "a child process has the key in its environment or command line"
    assert not _files_with(folder, SPELT)
    assert not _cells_with(folder / "table.parquet", SPELT)
    signatures = [query.rpartition("signature=")[2] for query in parrot.queries]
    assert not _files_with(folder, signatures), "a signed address is in a log or a file"


class _Child:
    """What anyone with the right to look sees of a process."""

    def __init__(self, process: psutil.Process) -> None:
        self.words = process.cmdline()
        self.told = "\0".join([*self.words, *process.environ().values()])


def _children_of(process: Process) -> list[_Child]:
    """All processes that it starts while it runs."""
    seen: dict[int, _Child] = {}

    def look() -> bool:
        try:
            for child in psutil.Process(process.pid).children(recursive=True):
                if child.cmdline() != psutil.Process(process.pid).cmdline():  # just forked, it is still its parent
                    seen[child.pid] = _Child(child)
        except psutil.Error:
            pass
        return not process.running

    wait_until(look, "the run has ended", 3 * WAIT_S)
    return list(seen.values())


def _receive_an_event(place: Workplace) -> None:
    """`reelbatch webhook` records what became of a row in doubt."""
    (doubt,) = place.query("SELECT token FROM results WHERE state = 'in_doubt' LIMIT 1")
    webhook = place.start("webhook", "--port", "0")
    said = place.folder / f"process-{len(place.started) - 1}" / "err"
    wait_until(lambda: "Listening" in said.read_text(), "the webhook address listens")
    found = re.search(r"http://[\d.:]+/", said.read_text())
    assert found
    body = json.dumps(
        {"type": "video.started", "payload": {"id": "v-1", "name": f"a {doubt['token']}", "status": "rendering"}}
    ).encode()
    with httpx.Client(trust_env=False) as client:
        assert client.post(found[0], content=body, headers=_signed(body)).status_code == 200
    psutil.Process(webhook.pid).terminate()
    assert webhook.finish().code == 0


def _signed(body: bytes) -> dict[str, str]:
    timestamp = str(int(time.time()))
    signature = hmac.new(SECRET.encode(), f"{timestamp}.".encode() + body, "sha256").hexdigest()
    return {"magic-hour-event-timestamp": timestamp, "magic-hour-event-signature": signature}


def _check_that_the_test_can_fail(place: Workplace, parrot: Parrot) -> None:
    """The key went to the API and came back, bodies were kept, logs were written, addresses were signed."""
    assert parrot.keys == {f"Bearer {KEY}"}
    assert parrot.repeated > ROWS
    assert any("signature=" in query for query in parrot.queries)
    kept = place.query("SELECT raw_body, message FROM attempts WHERE raw_body IS NOT NULL")
    assert any("[the API key]" in row["raw_body"] for row in kept)
    assert list((place.folder / "videos").iterdir())
    logged = (place.folder / "logged").read_text() + "".join(
        path.read_text() for path in place.folder.glob("process-*/err")
    )
    assert "httpcore" in logged
    assert "signature=…" in logged or "?…" in logged


def _files_with(folder: Path, words: list[str]) -> dict[str, str]:
    found = {}
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            found |= {str(path): word for word in words if word.encode() in content}
    return found


def _cells_with(table: Path, words: list[str]) -> list[str]:
    text = json.dumps(pq.read_table(table).to_pylist(), default=str)
    return [word for word in words if word in text]


def test_a_sandbox_is_not_given_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has one of its own, and no use for this one or for our settings."""
    monkeypatch.setattr(process, "subprocess", subprocess)  # a start, since what is forked has its parent's environ
    monkeypatch.setenv("MAGIC_HOUR_API_KEY", KEY)
    monkeypatch.setenv("magic_hour_api_key", KEY)
    monkeypatch.setenv("REELBATCH_RESULTS", f"postgresql://me:{KEY}@db/reel")
    with start(render_video=False) as sandbox:
        child = _Child(psutil.Process(sandbox.pid))
    assert KEY not in child.told
    assert os.environ["PATH"] in child.told
