"""The course of one seed: trouble, then calm, then the same command again until nothing is left to do."""

from __future__ import annotations

import asyncio
from functools import partial

from reelbatch.domain import Batch, VideoId
from reelbatch.ledger import Ledger, in_doubt, runs
from reelbatch.pipeline.generate import RunSteps, generate, submit_all
from reelbatch.pipeline.plan import GenerateOptions
from reelbatch.pipeline.reconcile import Placed, Rules, reconcile
from reelbatch.pipeline.reconcile_list import ListEntry
from reelbatch.pipeline.rerun import RerunOptions, rerun
from reelbatch.pipeline.resources import open_client
from reelbatch.pipeline.row_options import send_options
from reelbatch.pipeline.run_context import Assignment, open_run
from reelbatch.pipeline.settle import settle, settle_videos
from reelbatch.settings import Settings
from simulation.checks import Table, count_rows, day_of, may_wait, verdict
from simulation.world import Command, World

BATCH = Batch("sim")
_RESTARTS = 8
_ROUNDS = 25
_LOOKS = 40  # at doubts: a clock that was set back by two hours makes them that much younger
_ENDS = frozenset({"complete", "error", "canceled", "rejected"})


class Course:
    """What is typed on the machines of one world, and when."""

    def __init__(self, world: World) -> None:
        self.consents: dict[str, int] = {}
        self._world = world
        self._plan = world.plan
        self._chance = world.chance

    async def run(self) -> list[str]:
        """Gives what did not hold."""
        world, plan, loop = self._world, self._plan, self._world.loop
        work = [loop.create_task(self._keep_working(number)) for number in range(plan.workers)]
        if plan.with_settler:
            work.append(loop.create_task(self._keep_settling()))
        if plan.with_clerk:
            work.append(loop.create_task(self._keep_reconciling()))
        for event in plan.events:
            loop.call_at(event.at, world.happens, event)
        await asyncio.sleep(plan.faulty_s)
        world.calm_down()
        await asyncio.wait(work)
        await self._finish()
        return [*world.crashed, *world.watch.wrong, *verdict(plan, world.books, world.table, self.consents)]

    # --- trouble

    async def _keep_working(self, number: int) -> None:
        host = self._world.hosts[number % len(self._world.hosts)]
        await asyncio.sleep(self._chance.expovariate(1 / 2) * number)
        for _ in range(_RESTARTS):
            settles = self._chance.random() < 0.5
            await self._world.run_one(host, f"generate{number}", self._work(settle=settles))
            if self._world.calm or self._is_sent():
                return
            await asyncio.sleep(self._chance.uniform(0.1, 100))

    async def _keep_settling(self) -> None:
        while not self._world.calm:
            await asyncio.sleep(self._chance.uniform(1, 120))
            if self._world.table.exists():
                await self._world.run_one(self._world.hosts[-1], "settle", _settle)

    async def _keep_reconciling(self) -> None:
        while not self._world.calm:
            await asyncio.sleep(self._chance.uniform(5, 60))
            if self._has_doubts():
                await self._world.run_one(self._world.hosts[-1], "reconcile", self._reconcile)

    def _work(self, *, settle: bool) -> Command:
        """`generate`; mostly without reading the manifest again, which costs more than all the rest."""
        if not self._world.table.exists() or self._chance.random() < 0.02 or self._lacks_rows():
            return self._generate(settle=settle)
        return partial(_go_on, settle=settle)

    def _lacks_rows(self) -> bool:
        return self._count() < len(self._plan.lines)

    def _is_sent(self) -> bool:
        """Whether a further run would find nothing to do. What is left to settle is settled in the calm."""
        return not self._lacks_rows() and not self._count("pending", "claimed", "sending", "in_doubt")

    def _count(self, *states: str) -> int:
        """Rows in these states; with none: all."""
        return count_rows(self._world.table, *states) if self._world.table.exists() else 0

    def _generate(self, *, settle: bool, regenerate: str = "none") -> Command:
        options = GenerateOptions(
            source=str(self._world.folder / "sim.csv"), batch=BATCH, send=send_options(regenerate=regenerate)
        )
        return partial(generate, options=options, steps=RunSteps(settle=settle))

    # --- calm

    async def _finish(self) -> None:
        """The same command again, with doubts cleared up by the books, until nothing is left to do."""
        commands: list[Command | None] = [self._late_refunds, *self._last_commands(), self._late_refunds]
        for _ in range(_ROUNDS):
            command, table = None, Table.of(self._world.table) if self._world.table.exists() else None
            if table is not None and self._is_over(table):
                if commands:
                    command = commands.pop(0)
                elif any(attempt["refund_due_at"] for attempt in table.attempts):  # sent after the last look
                    command = self._late_refunds
                elif table.has_open_run:  # the last one that died on the other machine still has its lease
                    await asyncio.sleep(self._world.settings.lease_s)
                else:
                    break
            await self._world.run_one(self._world.hosts[0], "finish", command or self._same_again())
            await self._clear_up()
            if self._waits_for_budget():
                await asyncio.sleep(day_of(self._world.loop.time()) + 1)

    async def _clear_up(self) -> None:
        """Doubts, once they are old enough."""
        for _ in range(_LOOKS):
            if not self._has_doubts():
                return
            await asyncio.sleep(310)
            await self._world.run_one(self._world.hosts[0], "reconcile", self._reconcile)

    def _same_again(self) -> Command:
        """An open order goes on with the command that placed it."""
        if self._world.table.exists() and Table.of(self._world.table).has_open_order:
            return self._generate(settle=True, regenerate="all")
        return self._work(settle=True)

    async def _late_refunds(self, ledger: Ledger, settings: Settings) -> None:
        """They have come by now, or never will. The room that they make is used."""
        if any(attempt["refund_due_at"] for attempt in Table.of(self._world.table).attempts):
            await asyncio.sleep(8 * 86_400)
            await _settle(ledger, settings)

    def _last_commands(self) -> list[Command]:
        found: list[Command] = []
        if self._plan.reruns:
            found.append(self._rerun)
        if self._plan.regenerates:
            found.append(self._generate(settle=True, regenerate="all"))
        return found

    async def _rerun(self, ledger: Ledger, settings: Settings) -> None:
        for row in Table.of(self._world.table).rows:
            if row["state"] in {"error", "canceled"}:  # the user asks for another, whatever became of the first
                self.consents[row["row_key"]] = self.consents.get(row["row_key"], 0) + 1
        await rerun(ledger, settings, RerunOptions(batch=BATCH), RunSteps(settle=True))

    def _is_over(self, table: Table) -> bool:
        return len(table.rows) >= len(self._plan.lines) and all(
            row["state"] in _ENDS or (row["state"] == "pending" and may_wait(self._plan, table, row))
            for row in table.rows
        )

    def _has_doubts(self) -> bool:
        return self._count("in_doubt") > 0

    def _waits_for_budget(self) -> bool:
        return "budget" in self._plan.settings and self._count("pending") > 0

    async def _reconcile(self, ledger: Ledger, settings: Settings) -> None:
        """By the books: an id, or, once nothing is under way, the word that there is none."""
        placed = []
        for doubt in ledger.read(in_doubt.doubts):
            tokens = ledger.read(partial(in_doubt.tokens_of, doubt=doubt))
            known = {attempt["video_id"] for attempt in Table.of(self._world.table).attempts}
            charges = [each for each in self._world.books.charges.values() if each.token in tokens]
            missing = [each for each in charges if each.video_id not in known]
            video_id = VideoId(missing[0].video_id) if missing else None
            if video_id is None and self._world.network.carries(doubt.token):
                continue
            placed.append(Placed(doubt.batch, ListEntry(doubt.row_key, video_id)))
        async with open_client(settings) as client:
            for each in await reconcile(ledger, client, placed, Rules(settings.doubt_min_age_s)):
                self._world.say(None, f"reconcile {each.row_key}: {each.video_id}: {each.problem or 'done'}")


async def _go_on(ledger: Ledger, settings: Settings, *, settle: bool) -> None:
    """The steps of `generate` once the manifest is in the table, without report and export."""
    base = ledger.read(partial(runs.base_of, batch=BATCH)) or "."
    async with open_run(ledger, settings, Assignment(batch=BATCH, command="generate", base=base)) as context:
        await submit_all(context, limit=None)
        if settle:
            await settle_videos(context)


async def _settle(ledger: Ledger, settings: Settings) -> None:
    await settle(ledger, settings, None, wait=True)
