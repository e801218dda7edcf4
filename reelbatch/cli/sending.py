"""Commands that send rows or follow them. Heavy modules are imported by the command that needs them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from reelbatch.cli import options as opt
from reelbatch.cli.shared import as_parameter, existing_table, repeated, settings_of
from reelbatch.storage.addresses import refuse_in_parameters

if TYPE_CHECKING:
    from reelbatch.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What generate and rerun are both told."""

    config: Path | None
    results: str | None
    batch: str | None
    sandbox: bool
    base_url: str | None
    concurrency: int | None
    max_credits: int | None
    limit: int | None
    rate: int | None
    settle: bool
    download: str | None
    export: str | None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """From the command's own parameters, which have the same names."""
        return cls(**{field.name: given[field.name] for field in fields(cls)})

    def settings(self, **more: Any) -> Settings:
        """The settings that the options change.

        Raises:
            SettingsError: a setting can't be used, or an option holds a secret, which Prefect would keep.
        """
        refuse_in_parameters(self._stated())
        return settings_of(self.config, sandbox=self.sandbox, **self._stated(), rate=self.rate, **more)

    def parameters(self) -> dict[str, Any]:
        """The parameters that the flows have in common."""
        return {
            "batch": self.batch,
            "config": str(self.config) if self.config else None,
            **self._stated(),
            "results": as_parameter(self.results),
            "limit": self.limit,
            "settle": self.settle or self.download is not None,
            "sandbox": self.sandbox,
            "overrides": {"rate": self.rate},
        }

    def repeated(self) -> str:
        """Those that the commands of a hint need as well."""
        return repeated(
            config=self.config,
            results=self.results,
            batch=self.batch,
            base_url=self.base_url,
            sandbox=self.sandbox,
        )

    def _stated(self) -> dict[str, Any]:
        names = ("results", "base_url", "concurrency", "max_credits", "export")
        return {**{name: getattr(self, name) for name in names}, "downloads": self.download}


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
    rate: opt.Rate = None,
    regenerate: opt.Regenerate = "none",
    rows: opt.Rows = None,
    repeats: opt.Repeats = None,
    strict: opt.Strict = False,
    settle: opt.Settle = False,
    download: opt.Download = None,
    export: opt.Export = None,
    yes: opt.Yes = False,
    as_json: opt.Json = False,
    verbose: opt.Verbose = False,
) -> None:
    """Send every row that has no video yet, each exactly once. The same command again finishes the work."""
    run = RunOptions.of(locals())
    from reelbatch.cli.running import finish_run, leave, watch
    from reelbatch.cli.spending import Consent, allow_spending, drop_order, keys_of
    from reelbatch.ledger.selection import Regenerate
    from reelbatch.pipeline.generate import GenerateOptions, assignment, send_options

    refuse_in_parameters({"manifest": manifest})
    settings = run.settings(repeats=repeats)
    chosen = keys_of(rows, None)
    which = send_options(regenerate=regenerate, rows=chosen, repeats=settings.repeats, limit=limit)
    options = GenerateOptions(source=manifest, batch=batch, strict=strict, send=which)
    named = assignment(options, settings).batch  # what can't be opened is said at once, before Prefect starts
    if which.regenerate is Regenerate.CANCEL:
        drop_order(settings, named, as_json=as_json)
        return
    allow_spending(options, settings, Consent(given=yes, as_json=as_json, sandbox=sandbox))
    stated = {"manifest": manifest, "regenerate": regenerate, "rows": chosen, "repeats": repeats, "strict": strict}
    parameters = {**stated, **run.parameters()}
    line = watch(_generate_flow, parameters, show_plan=not as_json, verbose=verbose)
    leave(line, finish_run(line, run.repeated(), as_json=as_json))


def _generate_flow() -> Callable[..., Any]:
    from flows.generate import generate as flow

    return flow


def rerun(  # noqa: PLR0913, PLR0917 - options of a command
    config: opt.Config = None,
    results: opt.Results = None,
    batch: opt.OneBatch = None,
    state: Annotated[
        str | None, typer.Option(help="rejected, error, canceled; in_doubt needs consent.", metavar="STATE,…")
    ] = None,
    error_code: Annotated[
        str | None, typer.Option(help="Only rows that failed with these.", metavar="CODE,…")
    ] = None,
    rows: Annotated[str | None, typer.Option(help="Only rows with these keys.", metavar="KEY,…")] = None,
    rows_from: Annotated[Path | None, typer.Option(help="Only rows whose keys a file lists.", metavar="FILE")] = None,
    accept_double_charge: Annotated[
        bool,
        typer.Option("--accept-double-charge", help="Send rows in doubt again, even if they are paid for twice."),
    ] = False,
    sandbox: opt.Sandbox = False,
    base_url: opt.BaseUrl = None,
    concurrency: opt.Concurrency = None,
    max_credits: opt.MaxCredits = None,
    limit: opt.Limit = None,
    rate: opt.Rate = None,
    settle: opt.Settle = False,
    download: opt.Download = None,
    export: opt.Export = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show which rows would be sent again, and send nothing.")
    ] = False,
    yes: opt.Yes = False,
    as_json: opt.Json = False,
    verbose: opt.Verbose = False,
) -> None:
    """Failed rows again, without paying for the others: rejected, in error or canceled."""
    run = RunOptions.of(locals())
    from reelbatch.cli.running import finish_run, leave, watch
    from reelbatch.cli.spending import Consent, allow_rerun, keys_of, show_rerun
    from reelbatch.pipeline.rerun import RerunOptions, selection

    options = RerunOptions(
        batch=batch,
        states=_list(state) or (),
        error_codes=_list(error_code),
        row_keys=keys_of(rows, rows_from),
        accept_double_charge=accept_double_charge,
    )
    settings = run.settings()
    with existing_table(settings) as ledger:
        selection(options, ledger)  # what can't be carried out is said at once, before Prefect starts
    if dry_run:
        show_rerun(options, settings, limit, as_json=as_json)
        return
    allow_rerun(options, settings, Consent(given=yes, as_json=as_json, sandbox=sandbox), limit)
    which = {"states": list(options.states) or None, "error_codes": options.error_codes, "rows": options.row_keys}
    parameters = {**which, "accept_double_charge": accept_double_charge, **run.parameters()}
    line = watch(_rerun_flow, parameters, show_plan=not as_json, verbose=verbose)
    leave(line, finish_run(line, run.repeated(), as_json=as_json))


def _rerun_flow() -> Callable[..., Any]:
    from flows.rerun import rerun as flow

    return flow


def settle(  # noqa: PLR0913, PLR0917 - options of a command
    config: opt.Config = None,
    results: opt.Results = None,
    batch: opt.AnyBatch = None,
    download: opt.Download = None,
    wait: Annotated[bool, typer.Option(help="Stay until all are finished, or look once at what is due.")] = True,
    sandbox: opt.Sandbox = False,
    base_url: opt.BaseUrl = None,
    as_json: opt.Json = False,
    verbose: opt.Verbose = False,
) -> None:
    """Follow videos to their end: final states, final credits, downloads."""
    from reelbatch.cli import render
    from reelbatch.cli.running import finish_settle, leave, watch
    from reelbatch.pipeline.settle import left_elsewhere
    from reelbatch.settings import api_of

    refuse_in_parameters({"downloads": download})
    settings = settings_of(config, sandbox=sandbox, results=results, base_url=base_url)
    with existing_table(settings) as ledger:  # that there is none is said at once, before Prefect starts
        left = left_elsewhere(ledger, "local" if sandbox else api_of(settings.base_url))
    if left and not batch:
        render.warn(left)
    parameters = {
        "batch": batch,
        "downloads": download,
        "wait": wait,
        "config": str(config) if config else None,
        "results": as_parameter(results),
        "base_url": base_url,
        "sandbox": sandbox,
    }
    line = watch(_settle_flow, parameters, show_plan=False, verbose=verbose)
    leave(line, finish_settle(line, as_json=as_json))


def _settle_flow() -> Callable[..., Any]:
    from flows.settle import settle as flow

    return flow


def _list(stated: str | None) -> tuple[str, ...] | None:
    """`a,b` as ("a", "b"); None where nothing was stated."""
    return tuple(part.strip() for part in stated.split(",") if part.strip()) if stated is not None else None
