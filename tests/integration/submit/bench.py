"""What the tests here share: runs over a real table and a real socket, and a small API with scripted answers."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import uuid4

import pandas as pd
from PIL import Image
from pydantic import SecretStr
from sqlalchemy import select

from reelbatch import generate
from reelbatch.domain import Batch
from reelbatch.ledger import Ledger, queries
from reelbatch.ledger.schema import attempts
from reelbatch.pipeline.generate import assignment, submit_all
from reelbatch.pipeline.load_manifest import load
from reelbatch.pipeline.plan import GenerateOptions
from reelbatch.pipeline.run_context import RunContext, open_run
from reelbatch.pipeline.run_summary import RunReport, report
from reelbatch.sandbox import RunningSandbox
from reelbatch.settings import Settings, load_settings

URL = "https://images.example.com/chair.png"
PRICE = 48  # 2 seconds of ltx-2.3 at 480p
QUICK = {
    "retry_wait_s": 0.01,
    "retry_max_wait_s": 0.05,
    "bad_gateway_wait_s": 0.01,
    "request_timeout_s": 10.0,
    "concurrency": 16,
}
Row = dict[str, Any]


@dataclass
class Bench:
    """A manifest, a results table, and runs of the one into the other."""

    folder: Path
    url: str
    key: str = "sandbox"
    batch: str = field(default_factory=lambda: uuid4().hex[:8])
    database: str = ""  # a table's URL; else it is a file in the folder

    @property
    def results(self) -> str:
        """The table's URL."""
        return self.database or f"sqlite:///{self.folder / 'results.db'}"

    def rows(self, count: int, **columns: Any) -> pd.DataFrame:
        """A manifest; its rows' keys begin with the batch's name."""
        keys = [f"{self.batch}-{number:03}" for number in range(1, count + 1)]
        common = {"image_path": URL, "prompt": "Slow pan", "end_seconds": 2, "model": "ltx-2.3", "resolution": "480p"}
        return pd.DataFrame({"row_key": keys, **{name: [value] * count for name, value in common.items()}, **columns})

    def settings(self, **settings: Any) -> dict[str, Any]:
        """Quick retries against this bench's API."""
        return {**QUICK, "results": self.results, "base_url": self.url, "api_key": self.key, **settings}

    def generate(self, manifest: pd.DataFrame, **settings: Any) -> RunReport:
        """One run, as from a script."""
        return generate(manifest, batch=self.batch, **self.settings(**settings))

    async def run(
        self,
        ledger: Ledger,
        manifest: pd.DataFrame,
        prepare: Callable[[RunContext], None] | None = None,
        **stated: Any,
    ) -> RunReport:
        """One run on a table that the test holds; `prepare` is given its run before anything is sent."""
        limit = stated.pop("limit", None)
        options = self.settings(**stated)
        settings: Settings = load_settings(options={**options, "api_key": SecretStr(options["api_key"])})
        order = GenerateOptions(source=manifest, batch=self.batch)
        async with open_run(ledger, settings, assignment(order, settings)) as context:
            context.planned(load(order, settings, ledger))
            if prepare:
                prepare(context)
            await submit_all(context, limit=limit)
            return report(context).report

    def table(self) -> list[Row]:
        """The batch's results, in the manifest's order."""
        with Ledger(self.results) as ledger:
            return ledger.read(
                lambda connection: [
                    dict(row) for row in connection.execute(queries.rows(Batch(self.batch))).mappings()
                ]
            )

    def attempts(self) -> list[Row]:
        """Every attempt, in the order of their starts."""
        query = select(attempts).where(attempts.c.batch == self.batch).order_by(attempts.c.started_at)
        with Ledger(self.results) as ledger:
            return ledger.read(lambda connection: [dict(row) for row in connection.execute(query).mappings()])

    def states(self) -> dict[str, int]:
        """Rows by state."""
        return pd.Series([row["state"] for row in self.table()]).value_counts().to_dict()

    def charges(self, sandbox: RunningSandbox) -> list[Row]:
        """What the sandbox charged for this bench's rows."""
        return [charge for charge in sandbox.books()["charges"] if (charge["row"] or "").startswith(self.batch)]


def assert_books_agree(bench: Bench, sandbox: RunningSandbox, report: RunReport) -> None:
    """No double charge; every charge is an id in the table or a row in doubt; the worst case covers them all."""
    rows, charges = bench.table(), bench.charges(sandbox)
    assert not [row for row in sandbox.books()["double_charged"] if row.startswith(bench.batch)]
    ids = {row["video_id"] for row in rows if row["video_id"]}
    doubtful = {row["token"] for row in rows if row["state"] == "in_doubt"}
    unexplained = [charge for charge in charges if charge["video_id"] not in ids and charge["token"] not in doubtful]
    assert unexplained == []
    assert ids <= {charge["video_id"] for charge in charges}
    charged, money = sum(charge["credits"] for charge in charges), report.status.credits
    assert money.worst_case >= charged
    assert money.reserved == 0
    if not doubtful:
        assert money.worst_case == charged


def draw(path: Path, shade: int = 0) -> Path:
    """An image file; the same shade gives the same bytes."""
    Image.new("RGB", (64, 48), (shade % 256, shade // 256, 90)).save(path)
    return path


@dataclass(frozen=True)
class Arrival:
    """One create as a server saw it."""

    number: int
    at: float  # seconds of the monotonic clock
    name: str
    body: Row


@dataclass
class Answer:
    """What a scripted API says."""

    status: int = 200
    content: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0


GOOD = Answer()
Script = Callable[[Arrival], Answer]
GONE = 0  # in place of a status: the connection is closed without an answer


class ScriptedApi(ThreadingHTTPServer):
    """Takes creates and answers as its script says; the answer without content is a success with a new id.

    `known` says what it knows about a video, by its id; by itself it knows none.

    `accounts` says whose a key is; by itself it knows no accounts.

    It takes images as well: `asked` is told for which kinds upload addresses are asked, before they are given;
    `stored` is told each image's content and says the status.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, script: Script) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script = script
        self.arrivals: list[Arrival] = []
        self.ids: dict[str, str] = {}  # name → id of what was charged
        self.asked: Callable[[list[str]], None] = lambda _: None
        self.stored: Callable[[bytes], int] = lambda _: 200
        self.known: Callable[[str], Answer] = lambda _: Answer(404)
        self.accounts: Mapping[str, str] = {}
        self.asked_about: list[str] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"

    def arrive(self, body: Row) -> Arrival:
        """Note a create."""
        with self.lock:
            arrival = Arrival(len(self.arrivals) + 1, time.monotonic(), body.get("name", ""), body)
            self.arrivals.append(arrival)
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        return arrival

    def charge(self, arrival: Arrival) -> Row:
        """A new video."""
        with self.lock:
            self.in_flight -= 1
            video_id = f"vid{arrival.number:06}"
            self.ids[arrival.name] = video_id
        return {"id": video_id, "credits_charged": PRICE}

    def refuse(self) -> None:
        """Not charged."""
        with self.lock:
            self.in_flight -= 1


class _Handler(BaseHTTPRequestHandler):
    server: ScriptedApi
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        body = json.loads(self._content())
        if self.path == "/v1/files/upload-urls":
            self._give_addresses([item["extension"] for item in body["items"]])
        else:
            self._create(body)

    def do_GET(self) -> None:
        video_id = self.path.rpartition("/")[2]
        if video_id == "account":
            self._name_account(self.headers["Authorization"].removeprefix("Bearer "))
            return
        self.server.asked_about.append(video_id)
        answer = self.server.known(video_id)
        self._send(answer.status, json.dumps(answer.content or {"message": f"status {answer.status}"}).encode())

    def _name_account(self, key: str) -> None:
        account = self.server.accounts.get(key)
        if account is None:  # an API of before there were accounts
            self._send(404, b'{"message": "not found"}')
            return
        said = {"id": account, "email": "shop@example.com", "tier": "business", "credits": 1_000_000}
        self._send(200, json.dumps({**said, "subscription": None}).encode())

    def do_PUT(self) -> None:
        status = self.server.stored(self._content())
        if status == GONE:
            self.close_connection = True
        else:
            self._send(status, b"")

    def _content(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    def _give_addresses(self, extensions: list[str]) -> None:
        self.server.asked(extensions)
        paths = [f"api-assets/{uuid4().hex}.{extension}" for extension in extensions]
        items = [{"upload_url": f"{self.server.url}/{path}", "file_path": path} for path in paths]
        self._send(200, json.dumps({"items": items}).encode())

    def _create(self, body: Row) -> None:
        arrival = self.server.arrive(body)
        answer = self.server.script(arrival)
        time.sleep(answer.delay_s)
        if answer.status == 200 and answer.content is None:
            content = self.server.charge(arrival)
        else:
            self.server.refuse()
            content = answer.content or {"message": f"status {answer.status}"}
        if answer.status == GONE:
            self.close_connection = True
        else:
            self._send(answer.status, json.dumps(content).encode(), answer.headers)

    def _send(self, status: int, raw: bytes, headers: Mapping[str, str] = MappingProxyType({})) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(raw))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def scripted(script: Script) -> Iterator[ScriptedApi]:
    """A running API that answers creates by `script`."""
    with ScriptedApi(script) as api:
        thread = threading.Thread(target=api.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield api
        finally:
            api.shutdown()
            thread.join()
