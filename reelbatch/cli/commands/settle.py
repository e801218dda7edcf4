"""`reelbatch settle`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

import typer

from reelbatch.cli import options as opt
from reelbatch.storage.addresses import refuse_in_parameters


def settle(  # noqa: PLR0913, PLR0917 - options of a command
    config: opt.Config = None,
    results: opt.Results = None,
    batch: opt.AnyBatch = None,
    download: opt.Download = None,
    wait: Annotated[bool, typer.Option(help="Stay until all are finished, or look once at what is due.")] = True,
    sandbox: opt.Sandbox = False,
    base_url: opt.BaseUrl = None,
    history: opt.History = None,
    as_json: opt.Json = False,
    verbose: opt.Verbose = False,
) -> None:
    """Follow videos to their end: final states, final credits, downloads."""
    given = locals()
    from reelbatch.cli import render
    from reelbatch.cli.key import check_before_settling
    from reelbatch.cli.runner import Work, settle_to_end
    from reelbatch.ledger.accounts import Payer, unfinished
    from reelbatch.pipeline.resources import opened_ledger
    from reelbatch.pipeline.settle import left_elsewhere
    from reelbatch.pipeline.settle import settle as follow
    from reelbatch.settings import api_of

    refuse_in_parameters({"downloads": download})
    stated: dict[str, Any] = {"results": results, "base_url": base_url, "downloads": download, "history": history}
    settings = opt.settings_of(config, sandbox=sandbox, batch=batch, **stated)
    with opened_ledger(settings, must_exist=True) as ledger:  # that there is none is said before Prefect starts
        api = "local" if sandbox else api_of(settings.base_url)
        left, waits = left_elsewhere(ledger, api), ledger.read(partial(unfinished, payer=Payer(api)))
    if left and not batch:
        render.warn(left)
    if waits and not sandbox:
        check_before_settling(settings, as_json=as_json)
    work = Work(
        flow="settle",
        parameters=_parameters(given),
        steps=partial(follow, batch=batch, wait=wait),
        settings=settings,
        sandbox=sandbox,
        must_exist=True,
        idle=not waits,
    )
    settle_to_end(work, as_json=as_json, verbose=verbose)


def _parameters(given: Mapping[str, Any]) -> dict[str, Any]:
    """The flow's, from the command's own."""
    return {
        **{name: given[name] for name in ("batch", "wait", "base_url", "sandbox")},
        "downloads": given["download"],
        "config": str(given["config"]) if given["config"] else None,
        "results": opt.as_parameter(given["results"]),
        "overrides": {"history": str(given["history"]) if given["history"] else None},
    }
