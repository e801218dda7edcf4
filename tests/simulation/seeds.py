"""Seeds, one after the other: each alone in the world, and the same each time."""

from __future__ import annotations

import asyncio
import gc
import random
import secrets
import shutil
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image
from sqlalchemy import Engine

from reelbatch import failpoints
from reelbatch.client import transport
from reelbatch.ledger import Ledger, ledger
from reelbatch.pipeline import generate
from reelbatch.settle import settler
from simulation.course import Course
from simulation.loop import Stuck
from simulation.machines import Points
from simulation.plan import Plan
from simulation.world import World
from simulation.writer import SteppedWriter


@dataclass(frozen=True, slots=True)
class Found:
    """What one seed came to. `seconds`: of virtual time."""

    seed: int
    wrong: list[str]
    seen: dict[str, int]
    steps: int
    seconds: float
    said: list[str]


_PLACE = Path("/dev/shm") if Path("/dev/shm").is_dir() else None  # noqa: S108 - a folder of our own in it


def run_seed(seed: int, plan: Plan | None = None) -> Found:
    """One seed, to its verdict. Not in the main thread: a run would answer to its signals."""
    found: list[Found] = []
    thread = threading.Thread(target=lambda: found.append(_run(plan or Plan.of(seed))))
    thread.start()
    thread.join()
    return found[0]


def _run(plan: Plan) -> Found:
    folder = Path(tempfile.mkdtemp(prefix="reelbatch-simulation-", dir=_PLACE))
    with _surroundings(plan.seed, folder):
        world = World(plan, folder)
        wrong: list[str] = []
        try:
            _write_manifest(plan, folder)
            asyncio.set_event_loop(world.loop)
            wrong = world.loop.run_until_complete(Course(world).run())
        except Stuck as error:
            wrong = [*world.crashed, *world.watch.wrong, f"stuck: {error}"]
        finally:
            found = Found(plan.seed, wrong, _seen(world), world.loop.steps, world.loop.time(), world.said)
            with _silent():
                world.close()
                del world
    return found


def _seen(world: World) -> dict[str, int]:
    return {**world.network.seen, **world.api.seen, **world.failures.seen}


def _share_what_is_costly() -> None:
    """One TLS context, and one cache of compiled statements for all engines: each process would make them anew."""
    transport.ssl_context = cache(transport.ssl_context)
    generate.old_objects_spared = settler.old_objects_spared = nullcontext  # nothing is collected within a seed
    shared: list[Engine] = []
    open_one = ledger.open_engine

    def opened(*stated: Any) -> Engine:
        engine = open_one(*stated)
        first = shared[0] if shared else engine
        shared[:] = [first]
        engine.dialect = engine.pool._dialect = first.dialect
        engine._compiled_cache = first._compiled_cache
        return engine

    ledger.open_engine = opened


_share_what_is_costly()


@contextmanager
def _surroundings(seed: int, folder: Path) -> Iterator[None]:
    """Chance from the seed, temporary files in its folder, points to the simulated processes."""
    chance = Random(f"product {seed}")
    before = (secrets.token_hex, uuid.uuid4, tempfile.tempdir, Ledger.writes_by)
    secrets.token_hex = lambda nbytes=32: f"{chance.getrandbits(8 * (nbytes or 32)):0{2 * (nbytes or 32)}x}"
    uuid.uuid4 = lambda: uuid.UUID(int=chance.getrandbits(128), version=4)
    random.seed(f"jitter {seed}")
    tempfile.tempdir = str(folder)
    Ledger.writes_by = SteppedWriter
    SteppedWriter.chance = Random(f"writer {seed}")
    Points.is_over = False
    failpoints.watch(Points())
    try:
        yield
    finally:
        secrets.token_hex, uuid.uuid4, tempfile.tempdir, Ledger.writes_by = before
        failpoints.watch(None)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _silent() -> Iterator[None]:
    """What dead processes leave is collected; their `finally` clauses complain that there is no loop."""
    hook: Callable[[Any], object] = sys.unraisablehook
    sys.unraisablehook = lambda _: None
    try:
        yield
        _collect()
    finally:
        sys.unraisablehook = hook


def _collect() -> None:
    """Only between two seeds: what a dead process left would run its `finally` clauses within the next."""
    global _since  # noqa: PLW0603 - one for the process
    _since += 1
    if _since % _COLLECT_EVERY == 0:
        gc.collect()


_COLLECT_EVERY, _since = 10, 0


def _write_manifest(plan: Plan, folder: Path) -> None:
    lines = ["row_key,image_path,prompt,model,resolution,end_seconds"]
    for line in plan.lines:
        image = line.image if line.image != "local" else f"{line.row_key}.png"
        if line.image == "local":
            Image.new("RGB", (64, 64), (len(line.prompt), int(line.row_key[1:]) * 30, 7)).save(folder / image)
        lines.append(f"{line.row_key},{image},{line.prompt},{line.model},{line.resolution},{line.seconds}")
    (folder / "sim.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
