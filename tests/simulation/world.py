"""One seed, from its first second to its verdict."""

from __future__ import annotations

import asyncio
import logging
import random
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from pydantic import SecretStr

from reelbatch import failpoints
from reelbatch.domain import Batch, VideoId
from reelbatch.errors import ReelbatchError
from reelbatch.ledger import Ledger, in_doubt, runs
from reelbatch.machine import machine
from reelbatch.pipeline.generate import RunSteps, generate, submit_all
from reelbatch.pipeline.plan import GenerateOptions, send_options
from reelbatch.pipeline.reconcile import Placed, Rules, reconcile
from reelbatch.pipeline.reconcile_list import ListEntry
from reelbatch.pipeline.rerun import RerunOptions, rerun
from reelbatch.pipeline.resources import open_client, opened_ledger
from reelbatch.pipeline.run_context import Assignment, RunContext, open_run
from reelbatch.pipeline.run_listener import RunListener, listening
from reelbatch.pipeline.settle import settle, settle_videos
from reelbatch.settings import Settings
from simulation.api import ADDRESS, KEY, Api, ApiFaults
from simulation.books import Books, Charge
from simulation.checks import Table, Watch, day_of, may_wait, verdict
from simulation.events import Events
from simulation.loop import Stuck, VirtualLoop
from simulation.machines import Failures, Host, Killed, Points, Process
from simulation.network import Network, NetworkFaults
from simulation.plan import Event, Plan

BATCH = Batch("sim")
_RESTARTS = 8
_ROUNDS = 25
_PATIENCE_S = 40 * 86_400.0
Command = Callable[[Ledger, Settings], Awaitable[None]]


@dataclass(slots=True)
class Found:
    """What one seed came to."""

    seed: int
    wrong: list[str]
    seen: dict[str, int]
    steps: int
    seconds: float
    said: list[str] = field(default_factory=list)


class World:
    """All machines, the API and the network of one seed."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self.folder = folder
        self.chance = Random(f"chance {plan.seed}")
        self.loop = VirtualLoop(self.chance)
        self.books = Books(self.loop.time, self.chance, plan.fates, plan.balance)
        self.api = Api(self.books, self.chance, plan.api, plan.creates_each_s)
        self.network = Network(self.loop, self.api, self.chance, plan.network)
        self.loop.connect = self.network.connect
        self.loop.set_exception_handler(self._unhandled)
        self.failures = Failures(self.chance, plan.kill_rate, plan.disk_rate, kills_left=plan.kills)
        self.hosts = [Host(f"host{number}", self.loop.time) for number in range(plan.hosts)]
        self.settings = self._settings()
        self.table = folder / "r.db"
        self.watch = Watch(self.table, self.books, plan)
        self.events = Events(self)
        self.books.on_charge = self._charged
        self.consents: dict[str, int] = {}
        self.said: list[str] = []
        self.crashed: list[str] = []
        self.calm = False

    # --- processes

    def start(self, host: Host, kind: str, command: Command) -> Process:
        """A process that opens the table, does one command, and ends."""
        process = Process(host, kind, self.failures)
        process.ended = self.loop.create_future()
        context = copy_context()
        context.run(machine.set, process)
        context.run(listening.set, _Listener(process))
        process.main = self.loop.create_task(self._main(process, command), context=context)
        process.context = context
        process.main.add_done_callback(lambda _: process.end("ended"))
        return process

    async def _main(self, process: Process, command: Command) -> None:
        try:
            with opened_ledger(self.settings) as ledger:
                process.ledgers.append(ledger)
                await command(ledger, self.settings)
        except ReelbatchError as error:
            self.say(process, f"{type(error).__name__}: {error}")
        except OSError as error:
            self.say(process, f"{type(error).__name__}: {error}")
            if not self.plan.disk_rate:
                self.crashed.append(f"{process.kind}: {type(error).__name__}: {error}")
        except Exception as error:  # noqa: BLE001 - no command may end so
            self.crashed.append(f"{process.kind}: {type(error).__name__}: {error}")
            logging.getLogger("simulation").info("crash", exc_info=True)

    def _unhandled(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """What no one waits for may not fail, but by the end of its process."""
        error = context.get("exception")
        if not isinstance(error, Killed | None):
            self.crashed.append(f"unhandled: {type(error).__name__}: {error}")

    async def run_one(self, host: Host, kind: str, command: Command) -> str:
        """The same, to its end."""
        process = self.start(host, kind, command)
        return await process.ended

    def say(self, process: Process | None, words: str) -> None:
        """For those who look at one seed."""
        who = "" if process is None else f" {process.host.name}/{process.pid} {process.kind}"
        self.said.append(f"{self.loop.time():12.3f}{who}: {words}")

    # --- the course of a seed

    async def run(self) -> list[str]:
        """Trouble, then calm, then the verdict."""
        work = [self.loop.create_task(self._keep_working(number)) for number in range(self.plan.workers)]
        if self.plan.with_settler:
            work.append(self.loop.create_task(self._keep_settling()))
        if self.plan.with_clerk:
            work.append(self.loop.create_task(self._keep_reconciling()))
        for event in self.plan.events:
            self.loop.call_at(event.at, self._happens, event)
        self.events.start()
        await asyncio.sleep(self.plan.faulty_s)
        self._calm_down()
        await asyncio.wait(work)
        await self._finish()
        return [*self.crashed, *self.watch.wrong, *verdict(self.plan, self.books, self.table, self.consents)]

    async def _keep_working(self, number: int) -> None:
        host = self.hosts[number % len(self.hosts)]
        await asyncio.sleep(self.chance.expovariate(1 / 2) * number)
        for _ in range(_RESTARTS):
            settles = self.chance.random() < 0.5
            await self.run_one(host, f"generate{number}", self._work(settle=settles))
            if self.calm:
                return
            await asyncio.sleep(self.chance.uniform(0.1, 200))

    async def _keep_settling(self) -> None:
        while not self.calm:
            await asyncio.sleep(self.chance.uniform(1, 120))
            if self.table.exists():
                await self.run_one(self.hosts[-1], "settle", _settle)

    async def _keep_reconciling(self) -> None:
        while not self.calm:
            await asyncio.sleep(self.chance.uniform(5, 60))
            if self._has_doubts():
                await self.run_one(self.hosts[-1], "reconcile", self._reconcile)

    def _work(self, *, settle: bool) -> Command:
        """`generate`; mostly without reading the manifest again, which costs more than all the rest."""
        if not self.table.exists() or self.chance.random() < 0.1 or self._lacks_rows():
            return self._generate(settle=settle)
        return partial(_go_on, settle=settle)

    def _lacks_rows(self) -> bool:
        return len(Table.of(self.table).rows) < len(self.plan.lines)

    def _generate(self, *, settle: bool, regenerate: str = "none") -> Command:
        options = GenerateOptions(
            source=str(self.folder / "sim.csv"), batch=BATCH, send=send_options(regenerate=regenerate)
        )
        return partial(generate, options=options, steps=RunSteps(settle=settle))

    def _calm_down(self) -> None:
        """No more faults; what is stopped goes on."""
        self.calm = self.failures.over = True
        self.api.faults, self.network.faults = ApiFaults(), NetworkFaults()
        self.api.creates_each_s = None
        for host in self.hosts:
            for process in host.alive():
                self._go_on(process)

    async def _finish(self) -> None:
        """The same command again, with doubts cleared up by the books, until nothing is left to do."""
        commands: list[Command | None] = [*self._last_commands(), self._late_refunds]
        for _ in range(_ROUNDS):
            command = None
            if self.table.exists() and self._is_over(Table.of(self.table)):
                if not commands:
                    break
                command = commands.pop(0)
            await self.run_one(self.hosts[0], "finish", command or self._same_again())
            if self._has_doubts():
                await asyncio.sleep(310)
                await self.run_one(self.hosts[0], "reconcile", self._reconcile)
            if self._waits_for_budget():
                await asyncio.sleep(day_of(self.loop.time()) + 1)

    def _same_again(self) -> Command:
        """An open order goes on with the command that placed it."""
        if self.table.exists() and any(order["closed_at"] is None for order in Table.of(self.table).orders):
            return self._generate(settle=True, regenerate="all")
        return self._work(settle=True)

    async def _late_refunds(self, ledger: Ledger, settings: Settings) -> None:
        """They have come by now, or never will. The room that they make is used."""
        if any(attempt["refund_due_at"] for attempt in Table.of(self.table).attempts):
            await asyncio.sleep(8 * 86_400)
            await _settle(ledger, settings)

    def _last_commands(self) -> list[Command]:
        found: list[Command] = []
        if self.plan.reruns:
            found.append(self._rerun)
        if self.plan.regenerates:
            found.append(self._generate(settle=True, regenerate="all"))
        return found

    async def _rerun(self, ledger: Ledger, settings: Settings) -> None:
        for row in Table.of(self.table).rows:
            if row["state"] in {"error", "canceled"}:  # the user asks for another, whatever became of the first
                self.consents[row["row_key"]] = self.consents.get(row["row_key"], 0) + 1
        await rerun(ledger, settings, RerunOptions(batch=BATCH), RunSteps(settle=True))

    def _is_over(self, table: Table) -> bool:
        ends = {"complete", "error", "canceled", "rejected"}
        return len(table.rows) >= len(self.plan.lines) and all(
            row["state"] in ends or (row["state"] == "pending" and may_wait(self.plan, table, row))
            for row in table.rows
        )

    def _has_doubts(self) -> bool:
        return self.table.exists() and any(row["state"] == "in_doubt" for row in Table.of(self.table).rows)

    def _waits_for_budget(self) -> bool:
        if "budget" not in self.plan.settings or not self.table.exists():
            return False
        return any(row["state"] == "pending" for row in Table.of(self.table).rows)

    async def _reconcile(self, ledger: Ledger, settings: Settings) -> None:
        """By the books: an id, or, once nothing is under way, the word that there is none."""
        placed = []
        for doubt in ledger.read(in_doubt.doubts):
            tokens = ledger.read(partial(in_doubt.tokens_of, doubt=doubt))
            known = {attempt["video_id"] for attempt in Table.of(self.table).attempts}
            charges = [each for each in self.books.charges.values() if each.token in tokens]
            missing = [each for each in charges if each.video_id not in known]
            video_id = VideoId(missing[0].video_id) if missing else None
            if video_id is None and self.network.carries(doubt.token):
                continue
            placed.append(Placed(doubt.batch, ListEntry(doubt.row_key, video_id)))
        async with open_client(settings) as client:
            for each in await reconcile(ledger, client, placed, Rules(settings.doubt_min_age_s)):
                self.say(None, f"reconcile {each.row_key}: {each.video_id}: {each.problem or 'done'}")

    # --- what happens to them

    def _charged(self, charge: Charge) -> None:
        self.say(None, f"charged {charge.name} {charge.video_id} {charge.credits}")
        self.watch.charged(charge)
        self.events.charged(charge)

    def _happens(self, event: Event) -> None:
        if self.calm and event.what != "top-up":
            return
        self.say(None, f"{event.what} {event.amount:g}")
        self.failures.count(event.what)
        host = self.chance.choice(self.hosts)
        alive = [process for process in host.alive() if process.main is not None and not process.main.done()]
        match event.what:
            case "outage":
                before, self.network.faults = self.network.faults, NetworkFaults(lost_before=0.5, lost_after=1.0)
                self.loop.call_later(event.amount, self._end_outage, before)
            case "price":
                self.books.price_factor = event.amount
            case "top-up":
                self.books.balance += int(event.amount)
            case "jump":
                host.wall_ahead_s += event.amount
            case "suspend" | "stop" if alive:
                self._stop(host, alive if event.what == "suspend" else [self.chance.choice(alive)], event)
            case "kill" if alive:
                self.chance.choice(alive).kill()
            case "interrupt" if alive:
                process = self.chance.choice(alive)
                if process.interrupt is not None:
                    self.loop.call_soon(process.interrupt, context=process.context)

    def _stop(self, host: Host, processes: list[Process], event: Event) -> None:
        for process in processes:
            process.is_stopped = True
        if event.what == "suspend":
            self.loop.call_later(event.amount, self._wake, host, event.amount)
        for process in processes:
            self.loop.call_later(event.amount, self._go_on, process)

    def _end_outage(self, before: NetworkFaults) -> None:
        if not self.calm:
            self.network.faults = before

    @staticmethod
    def _wake(host: Host, seconds: float) -> None:
        host.suspended_s += seconds

    def _go_on(self, process: Process) -> None:
        if process.is_stopped:
            process.is_stopped = False
            self.loop.resume(process)

    # --- surroundings

    def _settings(self) -> Settings:
        stated = {
            "base_url": ADDRESS,
            "results": f"sqlite:///{self.folder / 'r.db'}",
            "unreachable_after_s": 120,
            **self.plan.settings,
        }
        return Settings(**stated).model_copy(update={"api_key": SecretStr(KEY)})

    def close(self) -> None:
        """Nothing of it is left but what was said."""
        Points.is_over = True
        self.watch.close()
        self.network.close()
        for host in self.hosts:
            for process in host.processes.values():
                for ledger in process.ledgers:
                    ledger._engine.dispose()
        for task in self.loop.made:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        self.loop.made.clear()
        runs._left.clear()
        self.loop.close()


async def _go_on(ledger: Ledger, settings: Settings, *, settle: bool) -> None:
    """The steps of `generate` once the manifest is in the table, without report and export."""
    base = ledger.read(partial(runs.base_of, batch=BATCH)) or "."
    async with open_run(ledger, settings, Assignment(batch=BATCH, command="generate", base=base)) as context:
        await submit_all(context, limit=None)
        if settle:
            await settle_videos(context)


async def _settle(ledger: Ledger, settings: Settings) -> None:
    await settle(ledger, settings, None, wait=True)


class _Listener(RunListener):
    """Knows how to stop a run gently, as Ctrl-C does."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def started(self, context: RunContext) -> None:
        """A run is open."""
        self._process.interrupt = context.interrupt
