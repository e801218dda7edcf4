"""`reelbatch plan`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from reelbatch.cli import options as opt
from reelbatch.cli.json_output import print_json
from reelbatch.errors import SettingsError
from reelbatch.storage.addresses import refuse_in_parameters

if TYPE_CHECKING:
    from reelbatch.ledger.selection import SendOptions
    from reelbatch.pipeline.plan import Plan
    from reelbatch.settings import Settings

_NOWHERE = "http://127.0.0.1"  # of the sandbox's kind: a plan needs none to be there
Account = Annotated[
    bool, typer.Option("--account", help="Ask the API for the balance and tier, and say how far they reach.")
]


def plan(  # noqa: PLR0913, PLR0917 - options of a command
    manifest: opt.Manifest,
    config: opt.Config = None,
    results: opt.Results = None,
    batch: opt.BatchName = None,
    sandbox: opt.Sandbox = False,
    base_url: opt.BaseUrl = None,
    concurrency: opt.Concurrency = None,
    max_credits: opt.MaxCredits = None,
    limit: opt.Limit = None,
    pilot: opt.Pilot = None,
    rate: opt.Rate = None,
    regenerate: opt.Regenerate = "none",
    rows: opt.Rows = None,
    repeats: opt.Repeats = None,
    strict: opt.Strict = False,
    account: Account = False,
    settle: opt.Settle = False,
    download: opt.Download = None,
    export: opt.Export = None,
    history: opt.History = None,
    yes: opt.Yes = False,
    as_json: opt.Json = False,
    verbose: opt.Verbose = False,
) -> None:
    """Check the manifest, compare it, estimate the cost, show the first requests. Takes the options of `generate`.

    Spends nothing.
    """
    run = opt.RunOptions.of(locals())
    del yes, verbose  # they change nothing of what is sent
    from reelbatch.cli.plan_text import reading_line
    from reelbatch.cli.row_keys import keys_of
    from reelbatch.pipeline.account import KeyRefused
    from reelbatch.pipeline.plan import GenerateOptions
    from reelbatch.pipeline.plan import plan as make_plan
    from reelbatch.pipeline.resources import sandboxed
    from reelbatch.pipeline.row_options import send_options

    refuse_in_parameters({"manifest": manifest})
    settings = _settings(run, manifest, repeats, sandbox=sandbox, asks=account)
    chosen = keys_of(rows, None)
    which = send_options(regenerate=regenerate, rows=chosen, repeats=settings.repeats, limit=limit, pilot=pilot)
    options = GenerateOptions(source=manifest, batch=batch, strict=strict, send=which)
    with sandboxed(settings, enabled=sandbox and account) as stated, reading_line() as told:
        try:
            made = make_plan(options, stated, told, asks_account=account)
        except KeyRefused as refusal:
            raise SettingsError(f"{refusal}. Check MAGIC_HOUR_API_KEY, or leave --account out.") from refusal
    _print(made, as_json=as_json)
    raise typer.Exit(1 if made.to_correct or _holds(made, which) else 0)


def _settings(run: opt.RunOptions, manifest: str, repeats: str | None, *, sandbox: bool, asks: bool) -> Settings:
    """A mistake in the sandbox's settings ends the run, so the plan too; no sandbox is started that no one asks."""
    from reelbatch.pipeline.resources import as_sandboxed

    nowhere = replace(run, base_url=_NOWHERE) if sandbox and not asks else run
    settings = nowhere.settings(manifest=manifest, repeats=repeats)
    if sandbox:
        as_sandboxed(settings)
    return settings


def _holds(made: Plan, which: SendOptions) -> bool:
    """Whether rows wait for someone's word."""
    from reelbatch.ledger.selection import RepeatPolicy

    return made.held_rows > 0 and which.repeats is RepeatPolicy.HOLD


def _print(made: Plan, *, as_json: bool) -> None:
    from reelbatch.cli.plan_text import print_findings, print_requests, print_whole_plan

    if as_json:
        print_json(made.as_json())
    else:
        print_findings(made)
        print_whole_plan(made)
        print_requests(made)
