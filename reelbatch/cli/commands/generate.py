"""`reelbatch generate`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from reelbatch.cli import options as opt
from reelbatch.storage.addresses import refuse_in_parameters

if TYPE_CHECKING:
    from reelbatch.cli.confirm import Spending
    from reelbatch.cli.runner import Ahead
    from reelbatch.domain import Batch
    from reelbatch.orchestration.prefect_server import TemporaryServer
    from reelbatch.pipeline.plan import GenerateOptions
    from reelbatch.settings import Settings


def generate(  # noqa: PLR0913, PLR0917 - options of a command
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
    settle: opt.Settle = False,
    download: opt.Download = None,
    export: opt.Export = None,
    history: opt.History = None,
    yes: opt.Yes = False,
    as_json: opt.Json = False,
    verbose: opt.Verbose = False,
) -> None:
    """Send every row that has no video yet, each exactly once. The same command again finishes the work."""
    given = locals()
    run = opt.RunOptions.of(given)
    refuse_in_parameters({"manifest": manifest})
    settings = run.settings(manifest=manifest, repeats=repeats)
    from reelbatch.cli.server_ahead import server_for_new

    with server_for_new(settings.results) as server:  # before more is imported here
        _generate(run, settings, given, server)


def _generate(
    run: opt.RunOptions, settings: Settings, given: Mapping[str, Any], server: TemporaryServer | None
) -> None:
    """With the command's own parameters, and Prefect's server where it is on its way already."""
    from reelbatch.cli.confirm import Spending, drop_order
    from reelbatch.cli.key import check_before_sending
    from reelbatch.cli.row_keys import keys_of
    from reelbatch.cli.runner import Ahead
    from reelbatch.ledger.selection import Regenerate
    from reelbatch.pipeline.generate import assignment
    from reelbatch.pipeline.plan import GenerateOptions
    from reelbatch.pipeline.row_options import send_options

    manifest, regenerate, repeats, as_json = (
        given[name] for name in ("manifest", "regenerate", "repeats", "as_json")
    )
    own = {name: given[name] for name in ("manifest", "regenerate", "repeats", "strict", "pilot")}
    chosen = keys_of(given["rows"], None)
    which = send_options(
        regenerate=regenerate, rows=chosen, repeats=settings.repeats, limit=run.limit, pilot=given["pilot"]
    )
    options = GenerateOptions(source=manifest, batch=given["batch"], strict=given["strict"], send=which)
    named = assignment(options, settings).batch  # what can't be opened is said at once, before Prefect starts
    if which.regenerate is Regenerate.CANCEL:
        drop_order(settings, named, as_json=as_json)
        return
    if not run.sandbox:
        check_before_sending(settings, named, as_json=as_json)
    again = {"--regenerate": None if regenerate == "none" else regenerate, "--rows": given["rows"]}
    again |= {"--repeats": repeats, "--strict": given["strict"] or None}
    size = {"--limit": run.limit, "--pilot": given["pilot"], "--settle": run.settle or None}
    live = run.command(manifest, {**size, **again}, live=True) if run.sandbox else None
    ahead = Ahead(rest=run.command(manifest, again), live=live)
    asked = Spending(given=given["yes"], as_json=as_json, sandbox=run.sandbox)
    _send(run, options, settings, asked, _Launch({**own, "rows": chosen}, named, ahead, server, given["verbose"]))


@dataclass(frozen=True, slots=True)
class _Launch:
    """What a run is started with beside its options."""

    parameters: Mapping[str, Any]  # of the flow alone
    batch: Batch
    ahead: Ahead
    server: TemporaryServer | None
    verbose: bool


def _send(
    run: opt.RunOptions, options: GenerateOptions, settings: Settings, spending: Spending, launch: _Launch
) -> None:
    from reelbatch.cli.confirm import confirm_generate
    from reelbatch.cli.runner import Work, run_to_end
    from reelbatch.pipeline.generate import RunSteps
    from reelbatch.pipeline.generate import generate as send
    from reelbatch.pipeline.idle import seems_idle
    from reelbatch.pipeline.resources import as_sandboxed

    question = confirm_generate(options, settings, spending)
    settles = run.settles or options.send.pilot is not None
    payer = as_sandboxed(settings) if run.sandbox else settings
    work = Work(
        flow="generate",
        parameters={**launch.parameters, **run.parameters(), "settle": settles},
        steps=partial(send, options=options, steps=RunSteps(limit=run.limit, settle=settles)),
        settings=settings,
        sandbox=run.sandbox,
        idle=(question is None or question.is_open) and seems_idle(options, payer, launch.batch, settles=settles),
        ahead=launch.ahead,
        server=launch.server,
    )
    run_to_end(work, question, as_json=spending.as_json, verbose=launch.verbose)
