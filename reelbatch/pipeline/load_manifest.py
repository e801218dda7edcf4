"""The manifest into the results table, once for all workers that start with the same one."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from reelbatch.domain import DEFAULT_MODEL, RunId
from reelbatch.errors import LedgerError
from reelbatch.home_folder import at_home
from reelbatch.ledger import Ledger, manifest_lock, orders, runs, samples, utc_now, waiting_rows
from reelbatch.ledger.accounts import Payer
from reelbatch.ledger.engine import is_lost, now
from reelbatch.ledger.samples import SampleCost
from reelbatch.ledger.selection import Action, SendOptions
from reelbatch.ledger.staging import ActionCount
from reelbatch.model_table import load_models
from reelbatch.pipeline.account import payer
from reelbatch.pipeline.dollars import estimated_dollars
from reelbatch.pipeline.findings import Findings
from reelbatch.pipeline.model_estimates import by_model
from reelbatch.pipeline.outlook import room_of
from reelbatch.pipeline.plan import (
    GenerateOptions,
    Plan,
    batch_name,
    foresee,
    make_plan,
    manifest_of,
    origin_of,
    plan_from_json,
)
from reelbatch.pipeline.plan_refusals import refuse_problems, refuse_unusable
from reelbatch.pipeline.run_listener import NotAgreed
from reelbatch.printable import one_line
from reelbatch.settings import Settings
from reelbatch.storage import files

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from reelbatch.pipeline.run_context import RunContext

_log = logging.getLogger("reelbatch")
_NO_ORDER = 0
"""The number of no order: nothing was chosen, so nothing is sent."""
_ASK_EVERY_S = 0.5


async def load_manifest(context: RunContext, options: GenerateOptions) -> None:
    """The first worker reads the manifest; others wait, and join where it was the same. The run is told the plan.

    Where it is stopped while it waits, or someone does not agree to what would be sent, it has no plan.

    Raises:
        ManifestError: the manifest can't be used; nothing was changed.
        LedgerUnusable: the batch belongs to another API.
    """
    try:
        plan = await _join_or_read(context, options)
    except NotAgreed as refusal:
        context.decline(refusal)
        return
    if plan is not None:
        await asyncio.to_thread(context.planned, plan, options.send.limit)


async def _join_or_read(context: RunContext, options: GenerateOptions) -> Plan | None:
    """The plan; None where the run was stopped while it waited."""
    settings, ledger, scope = context.settings, context.ledger, context.scope
    digest = await asyncio.to_thread(digest_of, options, settings)
    wanted = manifest_lock.Load(scope.batch, scope.run_id, digest, utc_now())
    told = False
    while not context.submitter.limiter.closed:
        match await ledger.write(manifest_lock.begin, wanted):
            case manifest_lock.Joined(found):
                plan = replace(plan_from_json(found), max_credits=settings.max_credits, joined=True)
                await asyncio.to_thread(_choose, context, options.send)
                plan = await asyncio.to_thread(_own, context, options.send, plan)
                await asyncio.to_thread(context.agree, plan)
                return plan
            case manifest_lock.Mine():
                if (read := await _read(context, options, wanted)) is not None:
                    await asyncio.to_thread(_choose, context, options.send)
                    return read
            case manifest_lock.Wait():
                if not told:
                    _log.info('Another worker is reading a manifest into batch "%s"; waiting.', one_line(scope.batch))
                    told = True
                await context.submitter.limiter.sleep(_ASK_EVERY_S)
                await asyncio.to_thread(ledger.recover, timedelta(seconds=settings.lease_s))
    return None


async def _read(context: RunContext, options: GenerateOptions, wanted: manifest_lock.Load) -> Plan | None:
    """Read the manifest into the table; None where another worker has taken that over."""
    ledger = context.ledger
    try:
        plan = await asyncio.to_thread(_load, context, options, wanted)
    except manifest_lock.Overtaken:
        return None
    except BaseException:
        await ledger.write(manifest_lock.give_up, wanted)
        raise
    found = json.dumps(plan.as_json())
    await ledger.write(manifest_lock.end, manifest_lock.Loaded(replace(wanted, at=utc_now()), found))
    return plan


def _load(context: RunContext, options: GenerateOptions, wanted: manifest_lock.Load) -> Plan:
    """Once more where the connection is lost, and the temporary table with it: what is merged already stays so."""
    check = partial(manifest_lock.still_mine, item=wanted)
    who = LoadFor(run_id=wanted.run_id, payer=context.payer, check=check, agree=context.agree)
    try:
        return load(options, context.settings, context.ledger, who)
    except LedgerError as error:
        if not is_lost(error.__cause__):
            raise
        context.ledger.read(now)  # waits until the database is back
        return load(options, context.settings, context.ledger, who)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadFor:
    """Who loads a manifest.

    Args:
        check: begins each transaction that changes rows, and may raise.
        agree: is shown the plan before anything is changed, and may raise.
    """

    run_id: RunId = RunId("")  # noqa: RUF009 - a name for a text
    payer: Payer | None = None  # None: as far as the table knows
    check: Callable[[Connection], None] | None = None
    agree: Callable[[Plan], None] | None = None


def load(options: GenerateOptions, settings: Settings, ledger: Ledger, who: LoadFor = LoadFor()) -> Plan:
    """Check the manifest and bring it into the results table.

    Raises:
        ManifestError: the manifest can't be used; nothing was changed.
        LedgerUnusable: the batch belongs to another API.
        OrderOpen: videos are to be made again, and another order is open.
        NotAgreed: more would be sent than someone said yes to.
    """
    manifest = manifest_of(options, settings)
    batch = batch_name(options.batch, manifest)
    findings = Findings()
    payer_ = who.payer or payer(ledger, settings)
    with ledger.staged(findings.gather(manifest), batch, options.send, origin_of(manifest, payer_)) as staged:
        room = staged.ask(partial(room_of, batch=batch, settings=settings))
        comparison = staged.compare(batch, room)
        refuse_unusable(manifest, findings, comparison)
        if options.strict:
            refuse_problems(manifest, findings, comparison)
        made = foresee(make_plan(manifest, batch, settings, findings, comparison), staged, comparison, settings)
        if who.agree is not None:
            who.agree(made)
        ledger.change(lambda connection: runs.open_batch(connection, batch, payer_, manifest.base))
        staged.merge(batch, who.run_id, who.check)
    return made


def _choose(context: RunContext, options: SendOptions) -> None:
    """Once the manifest is in the table: which of its rows this run takes, and where their images are."""
    batch, state = context.batch, context.state
    order = context.ledger.read(partial(orders.going_on, batch=batch, options=options))
    only = options.makes_again and options.row_keys is not None
    number = None if order is None else order.order_id
    state.scope = state.scope._replace(
        order=_NO_ORDER if only and number is None else number, only_order=only, repeats=options.repeats
    )
    if options.pilot is not None:
        chosen = partial(samples.sample, scope=state.scope, rows=options.pilot)
        state.scope = state.scope._replace(sample=context.ledger.read(chosen))
    context.submitter.sender.repeats = options.repeats
    # The machine that read the manifest may have it elsewhere; this one has its images beside its own copy.
    read_from = context.ledger.read(partial(runs.base_of, batch=batch))
    if read_from is not None:
        context.submitter.sender.uploader.bases[read_from] = context.assignment.base


def _own(context: RunContext, options: SendOptions, plan: Plan) -> Plan:
    """The plan of the worker that read the manifest, with what this run sends of it: the other has its own limits."""
    plan = replace(plan, pilot=options.pilot, pilot_cost=None, cap=None, cap_left=None)
    if options.limit is not None or plan.beyond_limit:
        plan = _counted_again(context, options.limit, plan)
    if options.pilot is None:
        return plan
    found = context.ledger.read(partial(waiting_rows.prices, scope=context.scope, limit=None))
    return replace(plan, pilot_cost=SampleCost.of([price for _, price, rows in found for _ in range(rows)]))


def _counted_again(context: RunContext, limit: int | None, plan: Plan) -> Plan:
    """The plan with the rows that wait in the table, up to the limit; without what only a manifest's reader knows."""
    scope = context.scope._replace(sample=None)
    room = context.ledger.read(partial(room_of, batch=context.batch, settings=context.settings))
    found = context.ledger.read(partial(waiting_rows.prices, scope=scope, limit=limit, room=room))
    waiting = found if limit is None else context.ledger.read(partial(waiting_rows.prices, scope=scope, limit=None))
    models = by_model(ActionCount.of(Action.SEND, *each) for each in found)
    credits_ = sum(model.credits or 0 for model in models)
    rows = sum(model.rows for model in models)
    assumed = sum(model.credits or 0 for model in models if plan.assumed_models and model.model == DEFAULT_MODEL)
    return replace(
        plan,
        send=rows,
        beyond_limit=sum(count for *_, count in waiting) - rows,
        credits_estimated=credits_,
        unknown_rate=sum(model.unknown for model in models),
        credits_assumed=assumed,
        dollars=estimated_dollars(credits_, context.settings),
        by_model=models,
        observed_rows=0,
        credits_observed=0,
        observed_models=[],
        requests=plan.requests[:rows],
        duration=None,
    )


def digest_of(options: GenerateOptions, settings: Settings) -> str:
    """Equal for two workers whose loads would come to the same: the manifest's content, and how it is read.

    A file behind a URL is not fetched for it: what its store says of it (size, ETag, time of change) has to do.
    """
    how = {
        "manifest": settings.manifest.model_dump(mode="json"),
        "models": load_models(settings.models).model_dump(mode="json"),
        "checks": [settings.tier, settings.model_profile, settings.rate, sorted(settings.image_schemes)],
        "image_checks": settings.image_checks,
        "send": asdict(replace(options.send, limit=None, pilot=None)),
        "strict": options.strict,
    }
    whole = hashlib.sha256(json.dumps(how, sort_keys=True, default=str).encode())
    whole.update(_content(options).encode())
    return whole.hexdigest()


def _content(options: GenerateOptions) -> str:
    """What tells this manifest from another; of a DataFrame nothing does, so it is always read."""
    unlike_any = secrets.token_hex(16)
    if not isinstance(options.source, str | os.PathLike):
        return unlike_any
    name = os.fspath(options.source)
    try:
        if files.scheme_of(name) is not None:
            return f"{name} {json.dumps(files.facts(name), sort_keys=True, default=str)}"
        with Path(at_home(name)).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except Exception:  # noqa: BLE001 - any of a store's own; reading the manifest says what is wrong
        return unlike_any
