"""The machines of one seed, the processes on them, the API and the network, and what happens to them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context
from pathlib import Path
from random import Random
from typing import Any

from pydantic import SecretStr

from reelbatch.errors import ReelbatchError
from reelbatch.ledger import Ledger, runs
from reelbatch.machine import machine
from reelbatch.pipeline.resources import opened_ledger
from reelbatch.pipeline.run_context import RunContext
from reelbatch.pipeline.run_listener import RunListener, listening
from reelbatch.settings import Settings
from simulation.api import ADDRESS, KEY, Api, ApiFaults
from simulation.books import Books, Charge
from simulation.checks import Watch
from simulation.events import Events
from simulation.loop import VirtualLoop
from simulation.machines import Failures, Host, Killed, Points, Process
from simulation.network import Network, NetworkFaults
from simulation.plan import Event, Plan

Command = Callable[[Ledger, Settings], Awaitable[None]]


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
        self.failures.stops_left, self.failures.stop_rate = plan.stops, plan.stop_rate
        self.failures.stops_at = plan.stops_at
        self.failures.on_stop = self._stand_still
        self.hosts = [Host(f"host{number}", self.loop.time) for number in range(plan.hosts)]
        self.settings = self._settings()
        self.table = folder / "r.db"
        self.watch = Watch(self.table, self.books, plan)
        self.events = Events(self)
        self.books.on_charge = self._charged
        self.api.on_image = self.watch.named
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
        process.main.add_done_callback(lambda _: self._ended(process))
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
        except Exception as error:
            self.crashed.append(f"{process.kind}: {type(error).__name__}: {error}")
            logging.getLogger("simulation").info("crash", exc_info=True)

    def _ended(self, process: Process) -> None:
        if not process.is_dead:
            self.watch.ended(process)
        process.end("ended")

    def _unhandled(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """What no one waits for may not fail, but by the end of its process."""
        error = context.get("exception")
        if not isinstance(error, Killed | None):
            self.crashed.append(f"unhandled: {type(error).__name__}: {error}")

    async def run_one(self, host: Host, kind: str, command: Command) -> str:
        """The same, to its end."""
        await asyncio.sleep(max(0.0, host.asleep_until - self.loop.time()))
        process = self.start(host, kind, command)
        assert process.ended is not None
        return await process.ended

    def say(self, process: Process | None, words: str) -> None:
        """For those who look at one seed."""
        who = "" if process is None else f" {process.host.name}/{process.pid} {process.kind}"
        self.said.append(f"{self.loop.time():12.3f}{who}: {words}")

    def calm_down(self) -> None:
        """No more faults; what is stopped goes on."""
        self.calm = self.failures.over = True
        self.api.faults, self.network.faults = ApiFaults(), NetworkFaults()
        self.api.creates_each_s = None
        for host in self.hosts:
            for process in host.alive():
                self._go_on(process)

    # --- what happens to them

    def _charged(self, charge: Charge) -> None:
        self.say(None, f"charged {charge.name} {charge.video_id} {charge.credits}")
        self.watch.charged(charge)
        self.events.charged(charge)

    def happens(self, event: Event) -> None:
        """An event of the plan."""
        if self.calm and event.what != "top-up":
            return
        self.say(None, f"{event.what} {event.amount:g}")
        self.failures.count(event.what)
        host = self.chance.choice(self.hosts)
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
            case _ if alive := [process for process in host.alive() if process.main is not None]:
                self._meets(host, alive, event)

    def _meets(self, host: Host, alive: list[Process], event: Event) -> None:
        """Something happens to processes, or to one of them."""
        one = self.chance.choice(alive)
        match event.what:
            case "suspend" | "stop":
                self._stop(host, alive if event.what == "suspend" else [one], event)
            case "kill":
                one.kill()
            case "interrupt" if one.interrupt is not None:
                self.loop.call_soon(one.interrupt, context=one.context)

    def _stop(self, host: Host, processes: list[Process], event: Event) -> None:
        for process in processes:
            process.is_stopped = True
        if event.what == "suspend":
            host.asleep_until = self.loop.time() + event.amount
            self.loop.call_later(event.amount, self._wake, host, event.amount)
        for process in processes:
            self.loop.call_later(event.amount, self._go_on, process)

    def _stand_still(self, process: Process, seconds: float) -> None:
        self.say(process, f"stands still for {seconds:g} s")
        process.is_stopped = True
        self.loop.call_later(seconds, self._go_on, process, context=Context())

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
            task._log_destroy_pending = False
        self.loop.made.clear()
        runs._left.clear()
        self.loop.close()


class _Listener(RunListener):
    """Knows how to stop a run gently, as Ctrl-C does."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def started(self, context: RunContext) -> None:
        """A run is open."""
        self._process.interrupt = context.interrupt
