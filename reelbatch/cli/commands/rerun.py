"""`reelbatch rerun`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reelbatch.cli import options as opt

if TYPE_CHECKING:
    from reelbatch.cli.confirm import Spending
    from reelbatch.domain import Batch
    from reelbatch.pipeline.rerun import RerunOptions
    from reelbatch.settings import Settings

State = Annotated[
    str | None, typer.Option(help="rejected, error, canceled; in_doubt needs consent.", metavar="STATE,…")
]
ErrorCode = Annotated[str | None, typer.Option(help="Only rows that failed with these.", metavar="CODE,…")]
Rows = Annotated[str | None, typer.Option(help="Only rows with these keys.", metavar="KEY,…")]
RowsFrom = Annotated[
    Path | None, typer.Option(help="Only rows whose keys a file lists.", metavar="FILE", callback=opt.in_home)
]
DoubleCharge = Annotated[
    bool, typer.Option("--accept-double-charge", help="Send rows in doubt again, even if they are paid for twice.")
]
Verdict = Annotated[
    str | None, typer.Option(help="Not failed rows, but videos that a review rejected.", metavar="rejected")
]
PromptSuffix = Annotated[
    str | None, typer.Option(help="With --verdict: what the prompts are to end with.", metavar="TEXT")
]
Model = Annotated[str | None, typer.Option(help="With --verdict: another model.", metavar="MODEL")]
Dismiss = Annotated[
    str | None, typer.Option(help="Let these failed rows count for nothing from now on.", metavar="KEY,…")
]
Undismiss = Annotated[str | None, typer.Option(help="Let these rows count again.", metavar="KEY,…")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show which rows would be sent again, and send nothing.")]


def rerun(  # noqa: PLR0913, PLR0917 - options of a command
    config: opt.Config = None,
    results: opt.Results = None,
    batch: opt.OneBatch = None,
    state: State = None,
    error_code: ErrorCode = None,
    rows: Rows = None,
    rows_from: RowsFrom = None,
    accept_double_charge: DoubleCharge = False,
    verdict: Verdict = None,
    prompt_suffix: PromptSuffix = None,
    model: Model = None,
    sandbox: opt.Sandbox = False,
    base_url: opt.BaseUrl = None,
    concurrency: opt.Concurrency = None,
    max_credits: opt.MaxCredits = None,
    limit: opt.Limit = None,
    rate: opt.Rate = None,
    repeats: opt.Repeats = None,
    settle: opt.Settle = False,
    download: opt.Download = None,
    export: opt.Export = None,
    history: opt.History = None,
    dry_run: DryRun = False,
    dismiss: Dismiss = None,
    undismiss: Undismiss = None,
    yes: opt.Yes = False,
    as_json: opt.Json = False,
    verbose: opt.Verbose = False,
) -> None:
    """Failed rows again, without paying for the others: rejected, in error or canceled. Or rejected videos."""
    given = locals()
    run = opt.RunOptions.of(given)
    from reelbatch.cli.confirm import Spending, show_rerun
    from reelbatch.cli.key import check_before_sending

    settings = run.settings(repeats=repeats)
    options = _options(given, settings)
    if dismiss is not None or undismiss is not None:
        from reelbatch.cli.dismissing import Dismissing, decide

        keys = Dismissing(batch, opt.words(dismiss) or (), opt.words(undismiss) or ())
        decide(keys, settings, as_json=as_json)
        return
    chosen = _chosen(options, settings, limit)  # what can't be carried out is said at once, before Prefect starts
    if dry_run:
        show_rerun(options, settings, limit, as_json=as_json)
        return
    if not sandbox:
        check_before_sending(settings, chosen, as_json=as_json)
    _send(run, options, settings, Spending(given=yes, as_json=as_json, sandbox=sandbox), verbose=verbose)


def _options(given: Mapping[str, Any], settings: Settings) -> RerunOptions:
    """From the command's own parameters."""
    from reelbatch.cli.row_keys import keys_of
    from reelbatch.pipeline.rerun import RerunOptions

    return RerunOptions(
        batch=given["batch"],
        states=opt.some_words(given["state"], "--state", "rejected,error") or (),
        error_codes=opt.some_words(given["error_code"], "--error-code", "http_422"),
        row_keys=keys_of(given["rows"], given["rows_from"]),
        accept_double_charge=given["accept_double_charge"],
        verdict=given["verdict"],
        prompt_suffix=given["prompt_suffix"],
        model=given["model"],
        repeats=settings.repeats,
    )


def _chosen(options: RerunOptions, settings: Settings, limit: int | None) -> Batch:
    """The batch whose rows are chosen.

    Raises:
        UsageError: the options can't be carried out.
    """
    from reelbatch.pipeline.rerun import preview, selection
    from reelbatch.pipeline.resources import opened_ledger

    with opened_ledger(settings, must_exist=True) as ledger:
        chosen = selection(options, ledger)
        if options.verdict is not None:
            preview(ledger, chosen, settings, limit)
    return chosen.batch


def _send(
    run: opt.RunOptions, options: RerunOptions, settings: Settings, spending: Spending, *, verbose: bool
) -> None:
    from reelbatch.cli.confirm import confirm_rerun
    from reelbatch.cli.runner import Work, run_to_end
    from reelbatch.pipeline.generate import RunSteps
    from reelbatch.pipeline.idle import rerun_seems_idle
    from reelbatch.pipeline.rerun import rerun as send

    question = confirm_rerun(options, settings, spending, run.limit)
    idle = (question is None or question.is_open) and rerun_seems_idle(
        options, settings, limit=run.limit, settles=run.settles
    )
    which = {"states": list(options.states) or None, "error_codes": options.error_codes, "rows": options.row_keys}
    added = {name: getattr(options, name) for name in ("verdict", "prompt_suffix", "model", "repeats")}
    work = Work(
        flow="rerun",
        parameters={**which, **added, "accept_double_charge": options.accept_double_charge, **run.parameters()},
        steps=partial(send, options=options, steps=RunSteps(limit=run.limit, settle=run.settles)),
        settings=settings,
        sandbox=run.sandbox,
        must_exist=True,
        idle=idle,
    )
    run_to_end(work, question, as_json=spending.as_json, verbose=verbose)
