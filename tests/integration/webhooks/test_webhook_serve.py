"""The webhook address as a process of its own."""

import json
import signal
import socket
import sys
from typing import Any

import forked
import httpx
import pytest
from pydantic import SecretStr
from webhook_stories import SECRET, entry, event, signed, submit

from reelbatch.errors import SettingsError
from reelbatch.ledger import Ledger
from reelbatch.webhooks import serve

_CODE = """
import sys
from typing import Any
from dataclasses import asdict
from pydantic import SecretStr
from reelbatch.ledger import Ledger
from reelbatch.webhooks import serve
with Ledger(sys.argv[1]) as ledger:
    print(asdict(serve(ledger, SecretStr(sys.argv[2]), 0, lambda url: print(url, flush=True))))
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


def test_a_busy_port_is_one_clear_line(ledger: Ledger) -> None:
    """A port that is taken is named, and what to do about it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"127.0.0.1:{port} can't be listened to: .*--port"):
            serve(ledger, SecretStr(SECRET), port)


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 70_000), ("no.such.host.invalid", 0)])
def test_an_address_that_cannot_be_is_refused(ledger: Ledger, host: str, port: int) -> None:
    """A port beyond all ports, a host that is not this one: told before anything is served."""
    with pytest.raises(SettingsError, match="can't be listened to"):
        serve(ledger, SecretStr(SECRET), port, host=host)
