"""`reelbatch generate`."""

from __future__ import annotations

from functools import partial

from reelbatch.cli import options as opt
from reelbatch.storage.addresses import refuse_in_parameters


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
    run = opt.RunOptions.of(locals())
    from reelbatch.cli.confirm import Spending, confirm_generate, drop_order, keys_of
    from reelbatch.cli.key import check_before_sending
    from reelbatch.cli.runner import Work, run_to_end
    from reelbatch.ledger.selection import Regenerate
    from reelbatch.pipeline.generate import RunSteps, assignment
    from reelbatch.pipeline.generate import generate as send
    from reelbatch.pipeline.idle import seems_idle
    from reelbatch.pipeline.plan import GenerateOptions, send_options
    from reelbatch.pipeline.resources import as_sandboxed

    refuse_in_parameters({"manifest": manifest})
    settings = run.settings(repeats=repeats)
    chosen = keys_of(rows, None)
    which = send_options(regenerate=regenerate, rows=chosen, repeats=settings.repeats, limit=limit, pilot=pilot)
    options = GenerateOptions(source=manifest, batch=batch, strict=strict, send=which)
    named = assignment(options, settings).batch  # what can't be opened is said at once, before Prefect starts
    if which.regenerate is Regenerate.CANCEL:
        drop_order(settings, named, as_json=as_json)
        return
    if not sandbox:
        check_before_sending(settings, named, as_json=as_json)
    question = confirm_generate(options, settings, Spending(given=yes, as_json=as_json, sandbox=sandbox))
    stated = {
        "manifest": manifest,
        "regenerate": regenerate,
        "rows": chosen,
        "repeats": repeats,
        "strict": strict,
    }
    settles = run.settles or pilot is not None
    again = {"--regenerate": None if regenerate == "none" else regenerate, "--rows": rows, "--repeats": repeats}
    rest = run.command(manifest, {**again, "--strict": strict or None})
    known = as_sandboxed(settings) if sandbox else settings
    work = Work(
        flow="generate",
        parameters={**stated, **run.parameters(), "pilot": pilot, "settle": settles},
        steps=partial(send, options=options, steps=RunSteps(limit=limit, settle=settles)),
        settings=settings,
        sandbox=sandbox,
        idle=question is None and seems_idle(options, known, named, settles=settles),
        rest=rest,
    )
    run_to_end(work, question, run.repeated(), as_json=as_json, verbose=verbose)
