"""Running a flow from the command line: Prefect kept quiet, its API at hand, progress shown."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, NoReturn

import typer

from reelbatch.cli import render
from reelbatch.cli.progress import ProgressLine
from reelbatch.cli.shared import print_json
from reelbatch.failpoints import point
from reelbatch.ledger import Ledger
from reelbatch.pipeline.run_context import RunContext, close_order
from reelbatch.pipeline.run_summary import RunReport, advice
from reelbatch.settle import SettleReason
from reelbatch.storage.files import redact_url

INTERRUPTED = 130
_PATIENCE_S = 15.0
"""How long Prefect's server may take to hear of the end; Prefect's client would try for minutes."""


def watch(
    load_flow: Callable[[], Any], parameters: Mapping[str, Any], *, show_plan: bool, verbose: bool
) -> ProgressLine:
    """Run a flow in this process and show its progress; answers with what it opened.

    Raises:
        ReelbatchError: what ended the flow before it had anything to report.
    """
    quiet_prefect(verbose=verbose)
    from reelbatch.orchestration.prefect_server import prefect_api

    flow = load_flow()
    with prefect_api():
        runner = asyncio.Runner()
        try:
            line = runner.run(_watched(flow, parameters, show_plan=show_plan))
        except BaseException:
            runner.close()
            raise
        if not line.server_lost:  # else it would wait for what Prefect still tries; `leave` ends all of it
            runner.close()
        return line


async def _watched(flow: Any, parameters: Mapping[str, Any], *, show_plan: bool) -> ProgressLine:
    line = ProgressLine(show_plan=show_plan)
    async with line.watching():
        run = asyncio.ensure_future(flow(**parameters, return_state=True))
        await _until_over(run, line)
        if line.reported and (not run.done() or run.exception() is not None):
            line.server_lost = True  # the work is done and written down; only Prefect could not be told
            return line
    state = await run
    if not line.reported:
        await state.result()  # raises what ended the flow
    return line


async def _until_over(run: asyncio.Future[Any], line: ProgressLine) -> None:
    """Return when the flow has ended; or its work has, and Prefect was not told of it for so long."""
    done = asyncio.ensure_future(line.done.wait())
    try:
        await asyncio.wait({run, done}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({run}, timeout=_PATIENCE_S if line.reported else None)
    except asyncio.CancelledError:  # Ctrl-C
        if line.done.is_set() and line.reported:
            return
        run.cancel()
        await asyncio.wait({run})
        raise
    finally:
        done.cancel()


def leave(line: ProgressLine, code: int) -> NoReturn:
    """End with `code`; where Prefect's server is gone, without what Prefect would still try.

    Raises:
        typer.Exit: in the usual case.
    """
    if line.server_lost:
        render.warn("Prefect's server has not heard of the run's end; it may have gone away. The table has it all.")
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    raise typer.Exit(code)


def finish_run(line: ProgressLine, options: str, *, as_json: bool) -> int:
    """Print the report of a run that sent rows, with `options` for the next commands; answers with the exit code."""
    context = line.context
    if context is None or context.report is None:  # interrupted before there was anything to report
        return INTERRUPTED
    report = context.report
    point("report.write")
    if as_json:
        settled = asdict(context.settler.stats) if context.settler else None
        exported = {"export": redact_url(context.export_target), "export_problem": context.export_problem}
        print_json({**report.as_json(), **exported, "settled": settled})
    else:
        _print_run(context, report, options)
    sys.stdout.flush()
    point("report.written")
    # Not before it is reported: the same command goes on with an open order.
    if report.status.order is not None and context.did_all:
        with Ledger(context.settings.results) as ledger:
            close_order(ledger, report.batch)
    return _exit_code(context, report)


def _print_run(context: RunContext, report: RunReport, options: str) -> None:
    render.print_report(report, context.failed)
    if context.settler is not None:
        render.print_settled(context.settler.stats)
    if context.export_problem:
        render.fail(f"The results table is complete, but was not exported. {context.export_problem}")
    else:
        render.out.print(
            f"Results: {render.cell(redact_url(context.export_target))}  ({render.cell(context.ledger.shown_url)})"
        )
    for text in advice(report, options):
        render.out.print(f"→ {render.cell(text)}")


def _exit_code(context: RunContext, report: RunReport) -> int:
    """That of the run; a table that could not be exported is something to look at."""
    return report.exit_code or (1 if context.export_problem else 0)


def finish_settle(line: ProgressLine, *, as_json: bool) -> int:
    """Print what was settled; answers with the exit code."""
    if line.settler is None:
        return INTERRUPTED
    stats = line.settler.stats
    if as_json:
        print_json(asdict(stats))
    else:
        render.print_settled(stats)
    match stats.reason:
        case SettleReason.INTERRUPTED:
            return INTERRUPTED
        case SettleReason.DONE | SettleReason.TIMED_OUT:
            return 1 if stats.error or stats.canceled or stats.unsettled or stats.downloads_failed else 0
    return 3


def quiet_prefect(*, verbose: bool) -> None:
    """Before Prefect is imported: no telemetry, and no messages of its own unless they are asked for."""
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("PREFECT_CLI_PROMPT", "false")
    if not verbose:
        os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
        os.environ.setdefault("PREFECT_LOGGING_INTERNAL_LEVEL", "CRITICAL")
