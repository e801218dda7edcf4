"""The webhook address as a process of its own."""

import json
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import forked
import httpx
import pytest
from commands import run_here
from webhook_stories import SECRET, entry, event, signed, submit

from reelbatch.errors import SettingsError
from reelbatch.ledger import Ledger
from reelbatch.webhooks import listening

_CODE = """
import sys
from typing import Any
from dataclasses import asdict
from pydantic import SecretStr
from reelbatch.ledger import Ledger
from reelbatch.webhooks import listening, serve
with Ledger(sys.argv[1]) as ledger, listening("127.0.0.1", 0) as listener:
    print(asdict(serve(ledger, SecretStr(sys.argv[2]), listener, lambda url: print(url, flush=True))))
"""


def test_a_signal_ends_it_cleanly(http: httpx.Client, ledger: Ledger) -> None:
    """It serves until Ctrl-C or SIGTERM, ends with 0, tells its counts, and leaves one line for each event."""
    body = json.dumps(event("video.completed", submit(ledger))).encode()
    command = [sys.executable, "-c", _CODE, ledger.shown_url, SECRET]
    pipes: dict[str, Any] = {"stdout": forked.PIPE, "stderr": forked.PIPE, "text": True}
    with forked.Popen(command, **pipes) as first, forked.Popen(command, **pipes) as second:
        try:
            for process, number in ((first, signal.SIGINT), (second, signal.SIGTERM)):
                assert process.stdout
                url = process.stdout.readline().strip()
                assert url.startswith("http://127.0.0.1:")
                assert http.post(url, content=body, headers=signed(body)).status_code == 200
                assert http.post(url, content=body).status_code == 401
                process.send_signal(number)
            ends = [(process, *process.communicate(timeout=20)) for process in (first, second)]
        finally:
            first.kill()
            second.kill()
    for (process, out, err), effect in zip(ends, ("applied", "repeated"), strict=True):
        assert process.returncode == 0
        assert f"'{effect}': 1" in out
        assert [line.split(" ", 2)[2].split(":")[0] for line in err.splitlines()] == [effect, "refused"]
        assert SECRET not in out + err
    assert entry(ledger)["state"] == "complete"


def test_a_busy_port_is_one_clear_line_and_makes_no_table(tmp_path: Path) -> None:
    """A port that is taken is named, and what to do about it, before anything is made."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = ("webhook", "--port", str(port), "--results", "r.db")
        ran = run_here(tmp_path, *command, REELBATCH_WEBHOOK_SECRET=SECRET)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"Error: 127.0.0.1:{port} can't be listened to: ")
    assert ran.err.endswith("Choose another --port or --host.\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 70_000), ("no.such.host.invalid", 0)])
def test_an_address_that_cannot_be_is_refused(host: str, port: int) -> None:
    """A port beyond all ports, a host that is not this one: told before anything is served."""
    with pytest.raises(SettingsError, match="can't be listened to"), listening(host, port):
        pass
