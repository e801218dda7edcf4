"""One run: a command is disturbed at one point, typed again until it is done, and the books are compared."""

from __future__ import annotations

import csv
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import ProxyHandler, Request, build_opener

from pydantic import SecretStr

from proof.checks import UNFINISHED, Table, finished, read_table, settled_accounts
from proof.commands import Done, Running, run, start
from proof.places import Place
from proof.scenarios import FINISH, Scenario
from reelbatch.failpoints import is_of_disk
from reelbatch.webhooks.signature import SIGNATURE_HEADER, TIMESTAMP_HEADER, sign

SECRET = "proof"  # noqa: S105 - of a webhook on loopback
_MOST_TRIES = 3
_MOST_ROUNDS = 4
_DONE = frozenset({0, 1})
_CODES = frozenset({0, 1, 2, 3})
_LISTEN_S = 30.0
_local = build_opener(ProxyHandler({}))


@dataclass(slots=True)
class Found:
    """What one run came to."""

    scenario: str
    database: str
    rules: tuple[str, ...]  # of the first command, of the second …
    hit: bool = False  # whether the (last) rule was met; else the run passed undisturbed
    names: list[str] = field(default_factory=list)  # of the points that the command under test passed
    seen: list[str] = field(default_factory=list)  # of all points, those of later commands too
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def replay(self) -> str:
        """The argument that makes this run once more."""
        return ":".join([self.scenario, self.database, *self.rules])


@dataclass(frozen=True, slots=True)
class Prepared:
    """A scenario with what has happened before, and the rules that are always in force."""

    scenario: Scenario
    always: str = ""
    first: int = 1
    last: int | None = None  # None: until a run passes


def prepare(place: Place, scenario: Scenario) -> Prepared:
    """Make what each run begins with."""
    always = "postgres" if place.server else ""
    if scenario.fails:
        always += " EIO@table.answers.write"
    place.begin(scenario)
    for command in scenario.before:
        done = run(place.folder, _full(command))
        assert done.code in _DONE, done
        _write_findings(place)
    if scenario.fails == "kept":
        done = run(place.folder, _full(scenario.command), f"{always} kill@rescue.synced")
        assert done.killed, done
        always = "postgres" if place.server else ""
    place.keep(scenario)
    return _windowed(place, Prepared(scenario, always))


def _windowed(place: Place, prepared: Prepared) -> Prepared:
    """The numbers of the points that the scenario is about."""
    scenario = prepared.scenario
    if not (scenario.since or scenario.until):
        return prepared
    place.reset(scenario)
    run(place.folder, _full(scenario.command), f"record@{place.folder}/points {prepared.always}")
    names = _names(place)
    first = names.index(scenario.since) if scenario.since else 0
    last = names.index(scenario.until, first) + 1 if scenario.until else None
    return replace(prepared, first=first + 1, last=last)


def once(place: Place, prepared: Prepared, rules: tuple[str, ...]) -> Found:
    """Type the command with the first rule, again with the second, and so on; then without, until it is done."""
    began = time.monotonic()
    scenario = prepared.scenario
    found = Found(scenario.name, "postgres" if place.server else "sqlite", rules)
    place.reset(scenario)
    _Run(place, prepared, found).make()
    found.seen = sorted(set(_names(place)))
    found.seconds = time.monotonic() - began
    return found


class _Run:
    """Of one scenario, with one disturbance or several."""

    def __init__(self, place: Place, prepared: Prepared, found: Found) -> None:
        self._place, self._found = place, found
        self._scenario, self._always = prepared.scenario, prepared.always
        self._reported = False
        self._in_flight = 0

    def make(self) -> None:
        """All of it."""
        for rule in self._found.rules:
            self._disturbed(rule)
        self._again()
        self._compare(settled_accounts)
        table = self._table()
        doubtful = [row["row_key"] for row in table.doubtful if row["row_key"] not in self._scenario.doubtful]
        if len(doubtful) > self._in_flight:
            self._wrong([f"in doubt are {', '.join(doubtful)}, and only {self._in_flight} had no answer in safety"])
        if not self._scenario.stays and (left := [row for row in table.rows if row["state"] in UNFINISHED]):
            self._wrong([f"row {row['row_key']} is left {row['state']}" for row in left])
        if self._has_more_doubts(table):
            self._clear_up()
            self._compare(settled_accounts)
        self._wrong(finished(self._table(), self._place.api.charges(), self._scenario.ends))
        self._look_at_files()
        if not (self._scenario.stays or self._scenario.told):
            self._look_at_export()

    def _has_more_doubts(self, table: Table) -> bool:
        """Whether there is more to clear up than what the API lost, or a part of the work is left."""
        return self._scenario.stays or any(row["row_key"] not in self._scenario.doubtful for row in table.doubtful)

    def _disturbed(self, rule: str) -> None:
        passed = len(_names(self._place))
        done = self._typed(f"{self._always} {rule}")
        names = _names(self._place)[passed:]
        self._found.names = names
        self._found.hit = done.killed if rule.startswith("kill") else _is_met(rule, names)
        self._reported = self._reported or "report.written" in names
        self._in_flight += in_flight(names)
        if not done.killed:
            self._tell_of(done)

    def _tell_of(self, done: Done) -> None:
        if done.has_traceback:
            self._wrong([f"a traceback: {done.err.strip()[-1500:]}"])
        elif done.code not in _CODES:
            self._wrong([f"exit code {done.code}: {done.err.strip()[-300:]}"])

    def _again(self) -> None:
        """As a user would, until it says that it is done."""
        for _ in range(_MOST_TRIES):
            done = self._typed("")
            if done.code in _DONE or done.code in self._scenario.nothing_left:
                self._tell_of(done)
                return
        self._wrong([f"after {_MOST_TRIES} tries exit code {done.code}: {(done.out + done.err).strip()[-500:]}"])

    def _clear_up(self) -> None:
        """Rows in doubt, by what the books say of them; then the rest is sent."""
        for _ in range(_MOST_ROUNDS):
            if _write_findings(self._place):
                self._tell_of(self._type(("reconcile", "--from", "found.csv", "--now", "--json")))
            going_on = self._scenario.generations > 1 and self._table().open_orders
            self._tell_of(self._type(self._scenario.command if going_on else FINISH))
            if not self._table().doubtful:
                return
        self._wrong(["rows stay in doubt"])

    def _look_at_files(self) -> None:
        table = self._table()
        downloads = "--download" in self._scenario.command
        for row in table.rows:
            if (
                row["state"] == "complete"
                and (row["video_path"] or downloads)
                and not (row["video_path"] and Path(row["video_path"]).is_file())
            ):
                self._wrong([f"row {row['row_key']}: its video is not where the table says ({row['video_path']})"])
        left = [path.name for path in self._place.folder.rglob("*.rescue.jsonl*") if path.suffix != ".taken"]
        left += [path.name for path in self._place.folder.rglob("*.part")]
        self._wrong([f"{name} is left behind" for name in left])
        most = self._scenario.generations + self._reported
        self._wrong(
            [
                f"row {row['row_key']} has a generation {row['generation']}"
                for row in table.rows
                if row["generation"] > most
            ]
        )

    def _look_at_export(self) -> None:
        """It is as new as the table."""
        file = self._place.folder / "results" / "manifest.parquet"
        times = [_time(row["settled_at"]) for row in self._table().rows if row["settled_at"]]
        if not file.exists() or (times and file.stat().st_mtime < max(times)):
            self._wrong(["the exported table is older than the last settlement, or missing"])

    def _typed(self, rules: str) -> Done:
        if self._scenario.told:
            return _served(self._place, start(self._place.folder, _full(self._scenario.command), self._rules(rules)))
        return self._type(self._scenario.command, rules)

    def _type(self, command: tuple[str, ...], rules: str = "") -> Done:
        return run(self._place.folder, _full(command), self._rules(rules))

    def _rules(self, rules: str) -> str:
        return f"record@{self._place.folder}/points {rules}"

    def _table(self) -> Table:
        return read_table(self._place.url)

    def _compare(self, check: Callable[[Table, list[dict[str, Any]]], list[str]]) -> None:
        self._wrong(check(self._table(), self._place.api.charges()))

    def _wrong(self, what: list[str]) -> None:
        self._found.violations += what


def in_flight(names: list[str]) -> int:
    """How many rows may be in doubt after a command that passed these points: one is sent at a time.

    An intent is on disk, and neither the table nor a rescue file has its answer.
    """
    found, writing = 0, ""
    for name in names:
        if name in {"table.intents.write", "table.answers.write"}:
            writing = name
        elif name == "table.commit" and writing == "table.intents.write":
            found = 1
        elif name == "rescue.synced" or (name == "table.committed" and writing == "table.answers.write"):
            found = 0
        if name in {"table.committed", "rescue.synced"}:
            writing = ""
    return found


def _time(stored: str | datetime) -> float:
    """SQLite keeps times as text, in UTC."""
    time = datetime.fromisoformat(stored) if isinstance(stored, str) else stored
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def _full(command: tuple[str, ...]) -> list[str]:
    return [*command, "--config", "config.yaml"]


def _names(place: Place) -> list[str]:
    file = place.folder / "points"
    return file.read_text().split() if file.exists() else []


def _is_met(rule: str, names: list[str]) -> bool:
    """Whether a disk failed: as many points of the disk were passed."""
    where = rule.partition("@")[2].removesuffix("+")
    return not where.isdecimal() or sum(map(is_of_disk, names)) >= int(where)


def _write_findings(place: Place) -> bool:
    """What the account's owner finds out about rows in doubt; False where there are none."""
    charged = {charge["token"]: charge["video_id"] for charge in place.api.charges()}
    doubtful = read_table(place.url).doubtful
    with (place.folder / "found.csv").open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["batch", "row_key", "video_id"])
        lines.writerows([row["batch"], row["row_key"], charged.get(row["token"], "not_created")] for row in doubtful)
    return bool(doubtful)


def _served(place: Place, command: Running) -> Done:
    """Send the command each video's event until it takes it or is dead; then stop it."""
    url = _listens(command)
    if url is not None and all(_told(url, event) for event in _events(place)):
        os.kill(command.pid, 15)
    return command.wait()


def _listens(command: Running) -> str | None:
    """Where; None where it ended first."""
    deadline = time.monotonic() + _LISTEN_S
    while time.monotonic() < deadline:
        said = command.said.with_suffix(".err")
        text = said.read_text() if said.exists() else ""
        if "Listening for events on " in text and text.endswith("\n"):
            return text.rpartition(" on ")[2].strip()
        if os.waitid(os.P_PID, command.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return None
        time.sleep(0.005)
    return None


def _events(place: Place) -> Iterator[bytes]:
    for charge in place.api.charges():
        video = place.api.video(charge["video_id"])
        kind = {"complete": "video.completed", "error": "video.errored"}[video["status"]]
        yield json.dumps({"type": kind, "payload": video}).encode()


def _told(url: str, event: bytes) -> bool:
    """Whether the event was taken; the API would send it again until it is."""
    for _ in range(20):
        now = str(int(time.time()))
        headers = {SIGNATURE_HEADER: sign(SecretStr(SECRET), now, event), TIMESTAMP_HEADER: now}
        try:
            with _local.open(Request(url, event, headers), timeout=20):  # noqa: S310 - our own
                return True
        except URLError as error:
            if not hasattr(error, "code"):  # no one is there any more
                return False
        except OSError:
            return False
    return False
