"""What a run writes for Prefect and for a terminal of keys, prompts, names and the API's messages."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from artifacts import artifacts_of

ACTING = "\x1b[2J\x1b]8;;https://evil.example\x07\x9b1m\r\b\u202e"
HTML = "<script>alert(1)</script> [x](https://evil.example) ![y](https://evil.example/z.png) | `code` **bold**"
SAYS = f"no 見本 {ACTING}{HTML}\n# heading\n| a | b |"
pytestmark = [
    # Prefect leaves sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]


class _Refusing(BaseHTTPRequestHandler):
    """An API that refuses each create, in words of its own."""

    def do_GET(self) -> None:
        self._answer(404)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._answer(422)

    def _answer(self, status: int) -> None:
        body = json.dumps({"message": SAYS}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as it is called there
        """Quiet."""


@pytest.fixture
def refusing() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Refusing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    folder = tmp_path / "f\x1b[2J"
    folder.mkdir()
    path = folder / "s\x1b[2J\u202e[x](y).csv"
    keys = (f"0{ACTING}{HTML}", f"1{HTML}")  # invisible characters make a key invalid; the other row is sent
    rows = [f'"{key}","https://img.example/{n}.png","p{ACTING}",2,ltx-2.3' for n, key in enumerate(keys)]
    path.write_text("\n".join(["row_key,image_path,prompt,end_seconds,model", *rows]), encoding="utf-8", newline="")
    return path


def _acting(text: str) -> set[str]:
    return set(re.findall("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text))


def test_a_whole_run_with_prefects_own_messages_does_not_act_on_a_terminal(
    refusing: str, manifest: Path, prefect_server: str
) -> None:
    """The API's words, the rows' keys, names of runs: in Prefect's log and in the report, and once it can't begin."""
    env = {
        **os.environ,
        "PREFECT_API_URL": prefect_server,
        "PREFECT_LOGGING_LEVEL": "DEBUG",
        "MAGIC_HOUR_API_KEY": "of-no one",
        "COLUMNS": "4000",
    }
    for batch in ("b\x1b[2J\u202e[x](y)", "b\x1b[2J/"):
        command = [sys.executable, "-m", "reelbatch", "generate", manifest.name, "--verbose", "--base-url", refusing]
        run = subprocess.run(
            [*command, "--batch", batch], cwd=manifest.parent, env=env, capture_output=True, timeout=120, check=False
        )
        shown = (run.stdout + run.stderr).decode()
        assert run.returncode in {1, 2, 3}
        assert _acting(shown) == set()
        assert r"\x1b[2J" in shown


async def test_artifacts_are_only_to_be_read(
    refusing: str, manifest: Path, prefect_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prefect's UI makes pages of Markdown of them: no link, image, script, table cell or heading comes of a text.

    The one link that there is leads to the row's own image, and shows that address.
    """
    from flows.generate import generate

    monkeypatch.setenv("MAGIC_HOUR_API_KEY", "of-no one")
    batch = "b[x](y)_\x1b[2J"
    state = await generate(
        manifest=str(manifest),
        batch=batch,
        base_url=refusing,
        results=f"sqlite:///{tmp_path}/r.db",
        return_state=True,
    )
    assert _acting(state.message or "") == set()
    left = {key.rpartition("-b-x-y-2j-")[0]: artifact for key, artifact in (await artifacts_of(state)).items()}
    summary, failed = left.get("reelbatch-summary"), left.get("reelbatch-failed-rows")
    assert summary is not None
    assert failed is not None
    rows = json.loads(str(failed.data))
    assert len(rows) == 2
    texts = [str(summary.data), str(summary.description), *(str(cell) for row in rows for cell in row.values())]
    for text in texts:
        assert _acting(text) == set()
        own = re.sub(r"\[(https://img\.example/\d\.png)\]\(\1\)", "", text.replace(f"Run `{_run_of(text)}`", ""))
        assert re.search(r"(?<!\\)(\[|<|`(?!\w+-))", own) is None
        assert "\n# heading" not in text
    assert any("見本" in text and r"\<script\>" in text for text in texts)
    assert r"b\[x\](y)\_\\x1b\[2J" in str(summary.data)


def _run_of(text: str) -> str:
    found = re.search(r"Run `([^`]*)`", text)
    return found[1] if found else ""
