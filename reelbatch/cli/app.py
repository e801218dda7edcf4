"""Every command. Heavy modules are imported by the command that needs them: `--help` stays fast."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reelbatch.cli import options as opt
from reelbatch.errors import ReelbatchError

if TYPE_CHECKING:
    from reelbatch.settings import Settings

app = typer.Typer(
    name="reelbatch",
    help="Bulk image-to-video over the Magic Hour API: a manifest in, every row paid for exactly once.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # they print local variables, and a key may be among them
    add_completion=False,
)

_USAGE = 2
_INTERRUPTED = 130


def main() -> None:
    """Run the command line; errors that have a message end with it and without a traceback."""
    try:
        app()
    except ReelbatchError as error:
        from reelbatch.cli import screen

        screen.fail(str(error))
        sys.exit(_USAGE)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    except BrokenPipeError:  # `reelbatch status | head`
        sys.stderr.close()
        sys.exit(0)


def _settings(config: Any, **options: Any) -> Settings:
    from reelbatch.settings import load_settings

    return load_settings(config, options)


@app.command()
def plan(  # noqa: PLR0913, PLR0917 - options of a command
    manifest: opt.Manifest,
    config: opt.Config = None,
    results: opt.Results = None,
    batch: opt.BatchName = None,
    max_credits: opt.MaxCredits = None,
    rate: opt.Rate = None,
    as_json: opt.Json = False,
) -> None:
    """Check the manifest, compare it with the results table, estimate the cost. Spends nothing."""
    from reelbatch.cli import screen
    from reelbatch.generation import Order
    from reelbatch.generation import plan as make_plan

    settings = _settings(config, results=results, max_credits=max_credits, rate=rate)
    made = make_plan(Order(source=manifest, batch=batch), settings)
    if as_json:
        screen.print_json(made.as_json())
    else:
        screen.print_findings(made)
        screen.print_plan(made)
    raise typer.Exit(1 if made.problem_count else 0)


@app.command()
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
    regenerate: Annotated[
        str, typer.Option(help="Make videos again: none, changed or all.", metavar="WHICH")
    ] = "none",
    strict: Annotated[bool, typer.Option("--strict", help="Send nothing if any row fails its checks.")] = False,
    settle: opt.Settle = False,
    download: opt.Download = None,
    export: opt.Export = None,
    yes: opt.Yes = False,
    as_json: opt.Json = False,
    verbose: opt.Verbose = False,
) -> None:
    """Send every row that has no video yet, each exactly once. The same command again finishes the work."""
    from reelbatch.cli.running import finish_run, watch
    from reelbatch.cli.spending import allow_spending
    from reelbatch.generation import Order, assignment
    from reelbatch.ledger.staging import Regenerate

    if regenerate not in set(Regenerate):
        raise typer.BadParameter("use none, changed or all", param_hint="--regenerate")
    stated = {
        "results": results,
        "base_url": base_url,
        "concurrency": concurrency,
        "max_credits": max_credits,
        "export": export,
        "downloads": download,
    }
    settings = _settings(config, **stated, rate=rate)
    order = Order(source=manifest, batch=batch, strict=strict, regenerate=Regenerate(regenerate))
    assignment(order, settings)  # what can't be opened is said at once, before Prefect starts
    if not yes and not as_json:
        allow_spending(order, settings, sandbox=sandbox)
    parameters = {
        "manifest": manifest,
        "batch": batch,
        "config": str(config) if config else None,
        **stated,
        "limit": limit,
        "regenerate": regenerate,
        "strict": strict,
        "settle": settle or download is not None,
        "sandbox": sandbox,
        "overrides": {"rate": rate},
    }
    line = watch(_generate_flow, parameters, show_plan=not as_json, verbose=verbose)
    raise typer.Exit(finish_run(line, as_json=as_json))


def _generate_flow() -> Callable[..., Any]:
    from flows.generate import generate as flow

    return flow


@app.command()
def rerun(  # noqa: PLR0913, PLR0917 - options of a command
    config: opt.Config = None,
    results: opt.Results = None,
    batch: opt.BatchName = None,
    state: Annotated[
        str | None, typer.Option(help="rejected, error, canceled; in_doubt needs consent.", metavar="…")
    ] = None,
    error_code: Annotated[str | None, typer.Option(help="Only rows that failed with these.", metavar="…")] = None,
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
    yes: opt.Yes = False,
    as_json: opt.Json = False,
    verbose: opt.Verbose = False,
) -> None:
    """Failed rows again, without paying for the others: rejected, in error or canceled."""
    from reelbatch.cli.running import finish_run, watch
    from reelbatch.cli.spending import allow_rerun, keys_of
    from reelbatch.rerunning import RerunOrder, selection

    stated = {
        "results": results,
        "base_url": base_url,
        "concurrency": concurrency,
        "max_credits": max_credits,
        "export": export,
        "downloads": download,
    }
    order = RerunOrder(
        batch=batch,
        states=_list(state) or (),
        error_codes=_list(error_code),
        row_keys=keys_of(rows, rows_from),
        accept_double_charge=accept_double_charge,
    )
    settings = _settings(config, **stated, rate=rate)
    with _existing_table(settings) as ledger:
        selection(order, ledger)  # what can't be carried out is said at once, before Prefect starts
    if not yes and not as_json:
        allow_rerun(order, settings, sandbox=sandbox)
    parameters = {
        "batch": batch,
        "states": list(order.states) or None,
        "error_codes": order.error_codes,
        "rows": order.row_keys,
        "accept_double_charge": accept_double_charge,
        "config": str(config) if config else None,
        **stated,
        "limit": limit,
        "settle": settle or download is not None,
        "sandbox": sandbox,
        "overrides": {"rate": rate},
    }
    line = watch(_rerun_flow, parameters, show_plan=not as_json, verbose=verbose)
    raise typer.Exit(finish_run(line, as_json=as_json))


def _rerun_flow() -> Callable[..., Any]:
    from flows.rerun import rerun as flow

    return flow


@app.command()
def settle(  # noqa: PLR0913, PLR0917 - options of a command
    config: opt.Config = None,
    results: opt.Results = None,
    batch: opt.BatchName = None,
    download: opt.Download = None,
    wait: Annotated[bool, typer.Option(help="Stay until all are finished, or look once at what is due.")] = True,
    sandbox: opt.Sandbox = False,
    base_url: opt.BaseUrl = None,
    as_json: opt.Json = False,
    verbose: opt.Verbose = False,
) -> None:
    """Follow videos to their end: final states, final credits, downloads."""
    from reelbatch.cli.running import finish_settle, watch

    with _existing_table(_settings(config, results=results, base_url=base_url)):
        pass  # that there is none is said at once, before Prefect starts
    parameters = {
        "batch": batch,
        "downloads": download,
        "wait": wait,
        "config": str(config) if config else None,
        "results": results,
        "base_url": base_url,
        "sandbox": sandbox,
    }
    line = watch(_settle_flow, parameters, show_plan=False, verbose=verbose)
    raise typer.Exit(finish_settle(line, as_json=as_json))


def _settle_flow() -> Callable[..., Any]:
    from flows.settle import settle as flow

    return flow


def _list(stated: str | None) -> tuple[str, ...] | None:
    """`a,b` as ("a", "b"); None where nothing was stated."""
    return tuple(part.strip() for part in stated.split(",") if part.strip()) if stated is not None else None


@app.command()
def status(
    config: opt.Config = None,
    results: opt.Results = None,
    batch: opt.BatchName = None,
    rows: Annotated[int, typer.Option(help="Show so many rows of each batch as well.", metavar="N", min=0)] = 0,
    as_json: opt.Json = False,
) -> None:
    """Counts by state, and credits."""
    from reelbatch.cli import screen
    from reelbatch.domain import Batch
    from reelbatch.ledger import reading
    from reelbatch.reporting import batch_status

    with _existing_table(_settings(config, results=results)) as ledger:
        known = ledger.read(reading.batch_names)
        if batch is not None and batch not in known:
            raise _no_batch(batch, known)
        names = [Batch(batch)] if batch else known
        statuses = [batch_status(ledger, name) for name in names]
        shown = {name: ledger.read(partial(reading.first_rows, batch=name, limit=rows)) for name in names if rows}
    if as_json:
        screen.print_json({"batches": [found.as_json() for found in statuses]})
        return
    for found in statuses:
        screen.print_status(found)
        if rows:
            screen.print_rows(shown[found.batch])


@app.command()
def export(
    path: Annotated[str, typer.Argument(help="Target; the ending says the format: .parquet, .csv or .jsonl.")],
    config: opt.Config = None,
    results: opt.Results = None,
    batch: opt.BatchName = None,
    as_json: opt.Json = False,
) -> None:
    """Write the results table to a file."""
    from reelbatch.cli import screen
    from reelbatch.domain import Batch
    from reelbatch.exporting import export as write
    from reelbatch.ledger import reading

    with _existing_table(_settings(config, results=results)) as ledger:
        known = ledger.read(reading.batch_names)
        if batch is not None and batch not in known:
            raise _no_batch(batch, known)
        rows = write(ledger, path, Batch(batch) if batch else None)
    if as_json:
        screen.print_json({"path": path, "rows": rows})
    else:
        screen.out.print(f"{rows:,} rows written to {path}")


@app.command()
def sandbox(
    port: Annotated[int | None, typer.Option(help="Port on 127.0.0.1; 0: a free one.", metavar="N")] = None,
    config: opt.Config = None,
    key: Annotated[str | None, typer.Option(help="The key it accepts. [default: sandbox]")] = None,
    data: Annotated[str | None, typer.Option(help="Keep books, uploads and videos here.", metavar="DIR")] = None,
) -> None:
    """Run the local API by itself, until Ctrl-C."""
    from reelbatch.sandbox.__main__ import main as serve

    given = {"--port": port, "--config": config, "--key": key, "--data": data}
    arguments = [part for name, value in given.items() if value is not None for part in (name, str(value))]
    raise typer.Exit(serve(arguments))


def _existing_table(settings: Settings) -> Any:
    from reelbatch.session import opened_ledger

    return opened_ledger(settings, must_exist=True)


def _no_batch(batch: str, known: list[Any]) -> ReelbatchError:
    from reelbatch.errors import SettingsError

    names = ", ".join(known) or "none"
    return SettingsError(f'--batch "{batch}": the results table has no such batch. It has: {names}')
