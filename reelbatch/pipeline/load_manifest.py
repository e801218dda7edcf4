"""The manifest into the results table, once for all workers that start with the same one."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import secrets
from dataclasses import asdict, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from reelbatch.errors import LedgerError
from reelbatch.ledger import manifest_lock, utc_now
from reelbatch.ledger.engine import is_lost, now
from reelbatch.model_table import load_models
from reelbatch.pipeline.generate import GenerateOptions, LoadFor, load
from reelbatch.pipeline.plan import NotAgreed, Plan, plan_from_json
from reelbatch.printable import one_line, say
from reelbatch.settings import Settings
from reelbatch.storage import files
from reelbatch.submit import ExitReason

if TYPE_CHECKING:
    from reelbatch.pipeline.run_context import RunContext

_ASK_EVERY_S = 0.5


async def join_or_load(context: RunContext, options: GenerateOptions) -> None:
    """The first worker reads the manifest; others wait, and join where it was the same. The context takes the plan.

    Where the run is stopped while it waits, or somebody does not agree to what would be sent, it has no plan.

    Raises:
        ManifestError: the manifest can't be used; nothing was changed.
        LedgerUnusable: the batch belongs to another API.
    """
    try:
        await _take_up(context, options)
    except NotAgreed as refusal:
        reason = ExitReason.DECLINED if refusal.asked else ExitReason.NOT_AGREED
        context.submitter.stop(reason, str(refusal))
    else:
        await asyncio.to_thread(context.take_selection, options.send)


async def _take_up(context: RunContext, options: GenerateOptions) -> None:
    settings, ledger, scope = context.settings, context.ledger, context.scope
    digest = await asyncio.to_thread(digest_of, options, settings)
    wanted = manifest_lock.Load(scope.batch, scope.run_id, digest, utc_now())
    told = False
    while not context.submitter.limiter.closed:
        match await ledger.write(manifest_lock.begin, wanted):
            case manifest_lock.Joined(found):
                plan = replace(plan_from_json(found), max_credits=settings.max_credits, joined=True)
                await asyncio.to_thread(context.agree, plan)
                context.take_plan(plan)
                return
            case manifest_lock.Mine():
                if (read := await _read(context, options, wanted)) is not None:
                    context.take_plan(read)
                    return
            case manifest_lock.Wait():
                if not told:
                    say(f'Another worker is reading a manifest into batch "{one_line(scope.batch)}"; waiting.')
                    told = True
                await context.submitter.limiter.sleep(_ASK_EVERY_S)
                await asyncio.to_thread(ledger.recover, timedelta(seconds=settings.lease_s))


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


def digest_of(options: GenerateOptions, settings: Settings) -> str:
    """Equal for two workers whose loads would come to the same: the manifest's content, and how it is read.

    A file behind a URL is not fetched for it: what its store says of it (size, ETag, time of change) has to do.
    """
    how = {
        "manifest": settings.manifest.model_dump(mode="json"),
        "models": load_models(settings.models).model_dump(mode="json"),
        "checks": [settings.tier, settings.model_profile, settings.rate, sorted(settings.image_schemes)],
        "send": asdict(replace(options.send, limit=None)),
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
        with Path(name).expanduser().open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except Exception:  # noqa: BLE001 - any of a store's own; reading the manifest says what is wrong
        return unlike_any
