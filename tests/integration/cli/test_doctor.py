"""`reelbatch doctor`: what works, what does not, and a remedy for each; whatever is away, no traceback."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from accounts import Customer
from commands import Ran, run_here

from reelbatch.ledger import Ledger
from reelbatch.pipeline.checkup.places import Mount, file_system_of
from reelbatch.pipeline.checkup.program import Needed
from reelbatch.sandbox import RunningSandbox, start

NOWHERE = "http://127.0.0.1:9"  # the discard port, at which nothing listens
KEY = "a-key-that-is-never-shown"


@pytest.fixture(scope="module")
def running() -> Iterator[RunningSandbox]:
    """One API for all tests here."""
    with start(render_video=False, balance=12_500, plan="pro", account_id="acc_7", key=KEY) as sandbox:
        yield sandbox


@pytest.fixture
def customer(tmp_path: Path, sandbox: RunningSandbox) -> Customer:
    return Customer(tmp_path, sandbox)


def found(customer: Customer, *arguments: str, **env: str) -> dict[str, list[dict[str, Any]]]:
    """The checks by their names."""
    ran = customer.run("doctor", *arguments, "--json", **env)
    told = json.loads(ran.out)
    assert (ran.code, "Traceback" in ran.err) == (0 if told["ok"] else 1, False)
    by_name: dict[str, list[dict[str, Any]]] = {}
    for check in told["checks"]:
        assert check["remedy"] or check["health"] == "ok"
        by_name.setdefault(check["name"], []).append(check)
    return by_name


def health(checks: dict[str, list[dict[str, Any]]], name: str) -> list[str]:
    return [check["health"] for check in checks[name]]


def test_all_is_well(customer: Customer) -> None:
    """Exit 0; account and balance are named, the key is not, and nothing is made by looking."""
    checks = found(customer)
    assert {one["health"] for some in checks.values() for one in some} <= {"ok", "absent"}
    assert checks["account"][0]["found"] == "acc_7, tier pro, 12,500 credits"
    assert "a new one will be made" in checks["results table"][0]["found"]
    assert checks["clock"][0]["found"] == "agrees with the API's"
    shown = customer.run("doctor")
    assert (shown.code, KEY in shown.out + shown.err) == (0, False)
    assert not (customer.folder / "r.db").exists()
    assert list(customer.folder.iterdir()) == []


def test_without_an_api_it_says_so(customer: Customer) -> None:
    """Whatever is away is a line of its own, with a remedy, and the rest is looked at all the same."""
    checks = found(customer, REELBATCH_BASE_URL=NOWHERE)
    assert (health(checks, "account"), health(checks, "clock")) == (["problem"], ["problem"])
    assert health(checks, "results table") == ["ok"]


def test_a_missing_and_a_wrong_key_are_told_apart(customer: Customer) -> None:
    """None: how to set it. A wrong one: that the API refuses it."""
    assert health(found(customer, MAGIC_HOUR_API_KEY=""), "key") == ["problem"]
    wrong = found(customer, MAGIC_HOUR_API_KEY="another")
    assert wrong["account"][0]["found"] == "the API refuses the key"


def test_a_tier_that_is_not_the_accounts_is_a_warning(customer: Customer) -> None:
    """It sets the render window and the upload size; a warning is no reason for exit 1."""
    checks = found(customer, REELBATCH_TIER="business")
    assert health(checks, "account") == ["warning"]


def test_settings_that_can_not_be_used_are_a_finding(customer: Customer) -> None:
    """What does without them is looked at all the same."""
    checks = found(customer, REELBATCH_CONCURRENCY="many")
    assert (health(checks, "settings"), health(checks, "interpreter")) == (["problem"], ["ok"])
    assert "account" not in checks


def test_the_results_table_is_looked_at_and_not_touched(customer: Customer) -> None:
    """An older one is not migrated; a newer one, a foreign file and one that can't be read are problems."""
    path = customer.folder / "r.db"
    Ledger(customer.results).close()
    for stated, judged, words in ((4, "ok", "schema 4 becomes"), (99, "problem", "newer Reelbatch")):
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE reelbatch_schema SET version = ?", (stated,))
        (check,) = found(customer)["results table"]
        assert (check["health"], words in check["found"]) == (judged, True)
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("SELECT version FROM reelbatch_schema").fetchall() == [(stated,)]
    path.write_text("a shopping list, and not a short one: " * 200, encoding="utf-8")
    assert health(found(customer), "results table") == ["problem"]
    path.unlink()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE songs (title TEXT)")
    assert "something else" in found(customer)["results table"][0]["found"]


def test_a_server_that_is_away_is_no_traceback(customer: Customer) -> None:
    """Nor is its password shown."""
    ran = run_here(
        customer.folder, "doctor", "--results", "postgresql+psycopg://me:geheim@127.0.0.1:9/shop?connect_timeout=2"
    )
    assert (ran.code, "Traceback" in ran.err, "geheim" in ran.out) == (1, False, False)
    assert "results table" in ran.out


@contextmanager
def prefect_server(says: str, status: int = 200) -> Iterator[str]:
    """What answers at Prefect's address: its health, and a version."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            said = b"true" if self.path.endswith("/health") else json.dumps(says).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/api"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("says", "status", "judged", "words"),
    [
        (version("prefect"), 200, "ok", "the server"),
        ("2.20.1", 200, "warning", "is 2.20.1"),
        ("", 401, "problem", "refuses this client"),
        ("", 404, "problem", "is no Prefect API"),
    ],
)
def test_prefects_server_is_asked(customer: Customer, says: str, status: int, judged: str, words: str) -> None:
    """Whether it is one, lets us in, and is of our own version."""
    with prefect_server(says, status) as url:
        (check,) = found(customer, PREFECT_API_URL=url)["prefect"]
    assert (check["health"], words in check["found"]) == (judged, True)


def test_the_active_profile_names_the_server_too(customer: Customer) -> None:
    """As Prefect reads it; one that is away is said."""
    home = customer.folder / "prefect"
    home.mkdir()
    text = f'active = "shop"\n[profiles.shop]\nPREFECT_API_URL = "{NOWHERE}/api"\n'
    (home / "profiles.toml").write_text(text, encoding="utf-8")
    (check,) = found(customer)["prefect"]
    assert (check["health"], "does not answer" in check["found"]) == ("problem", True)


def test_a_proxy_that_can_not_be_used_is_a_finding(customer: Customer) -> None:
    """Its password is not shown."""
    ran = customer.run("doctor", HTTPS_PROXY="http://me:geheim@127.0.0.1:9", SSL_CERT_FILE="/nowhere.pem")
    assert (ran.code, "Traceback" in ran.err, "geheim" in ran.out) == (1, False, False)
    assert "SSL_CERT_FILE" in ran.out


def test_a_sandbox_needs_no_key(tmp_path: Path) -> None:
    """It is started for the look, and nothing of it stays."""
    ran: Ran = run_here(tmp_path, "doctor", "--sandbox", "--json")
    assert (ran.code, list(tmp_path.iterdir())) == (0, [])
    (account,) = (check for check in json.loads(ran.out)["checks"] if check["name"] == "account")
    assert account["found"].startswith("sandbox, tier business")


def test_prefect_is_not_imported_for_it(tmp_path: Path) -> None:
    """Nor for the other looks at the table and its money."""
    Ledger(f"sqlite:///{tmp_path}/r.db").close()
    script = (
        "import sys\nfrom reelbatch.cli import main\n"
        "for command in ('doctor', 'spend', 'runs', 'batches', 'models'):\n"
        "    sys.argv = ['reelbatch', command]\n"
        "    try:\n        main()\n    except SystemExit as left:\n        print(command, left.code)\n"
        "assert not [name for name in sys.modules if name.split('.')[0] == 'prefect']\n"
    )
    env = {**os.environ, "REELBATCH_RESULTS": "sqlite:///r.db", "REELBATCH_BASE_URL": NOWHERE}
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    assert [line for line in run.stdout.splitlines() if line.endswith(" 0")] == [
        "spend 0",
        "runs 0",
        "batches 0",
        "models 0",
    ]


@pytest.mark.parametrize(
    ("stated", "objection"),
    [
        ("prefect==3.9.1", None),
        ("httpx<0.29,>=0.28", None),
        ("sqlalchemy>=99", "and should be >=99"),
        ("no-such-package>=1", "no-such-package is missing"),
    ],
)
def test_a_package_is_compared_with_what_is_needed(stated: str, objection: str | None) -> None:
    """Missing, too old and too new are told; what only an extra needs is no part of it."""
    needed = Needed.of(stated)
    assert needed is not None
    said = needed.objection()
    assert said is None if objection is None else said is not None and said.endswith(objection)
    assert Needed.of('s3fs>=2026.6; extra == "s3"') is None


def test_the_deepest_mount_says_where_a_file_lies() -> None:
    """A folder below a network's, or the other way round."""
    mounts = [Mount("/", "ext4"), Mount("/srv", "nfs4"), Mount("/srv/local", "xfs"), Mount("/srv", "cifs")]
    assert file_system_of(Path("/srv/results/r.db"), mounts) == "cifs"  # mounted over the other
    assert file_system_of(Path("/srv/local/r.db"), mounts) == "xfs"
    assert file_system_of(Path("/home/r.db"), mounts) == "ext4"
