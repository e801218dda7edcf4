"""Carrying out a command's work: as a flow of Prefect in a clone, by the core itself where a wheel is installed."""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
from collections.abc import Callable, Coroutine, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

import typer
from pydantic import ValidationError
from pydantic_settings import SettingsError as UnreadableSetting

from reelbatch.cli import render
from reelbatch.cli.confirm import Question
from reelbatch.cli.failures import why_nothing_was_sent
from reelbatch.cli.json_output import print_json
from reelbatch.cli.progress import ProgressLine, RowsToSend
from reelbatch.cli.render_settled import print_settle_report
from reelbatch.cli.server_ahead import clone_root, server_ahead
from reelbatch.client import ssl_context
from reelbatch.ctrl_c import INTERRUPTED
from reelbatch.errors import PipelineError
from reelbatch.failpoints import point
from reelbatch.ledger import Ledger
from reelbatch.orchestration.naming import may_name_a_server
from reelbatch.orchestration.prefect_server import TemporaryServer
from reelbatch.pipeline.advice import advice, after_trial, not_exported
from reelbatch.pipeline.export import export_target
from reelbatch.pipeline.resources import opened_ledger, sandboxed
from reelbatch.pipeline.run_context import RunContext
from reelbatch.pipeline.run_summary import RunSummary, close_order, did_all
from reelbatch.pipeline.settle_report import settle_advice
from reelbatch.pipeline.situations import EXIT_CODES, situation_of
from reelbatch.settings import Settings
from reelbatch.signals import unwinding
from reelbatch.storage.files import redact_url
from reelbatch.submit import ExitReason

_PATIENCE_S = 15.0
"""How long Prefect's server may take to learn of the end; Prefect's client would try for minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ahead:
    """Commands that may come after this one.

    Args:
        rest: sends what a pilot leaves.
        live: does with the vendor's API what was tried in the sandbox.
    """

    rest: str | None = None
    live: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a command does, in its two forms.

    Args:
        flow: the flow's name, which is its module's too.
        parameters: of the flow.
        steps: the same work of the core, on the table and with the settings that it is given.
        must_exist: whether the results table has to be there already.
        idle: whether nothing seems to be there to do: then Prefect, which takes seconds, has no part in it.
        ahead: what may be typed after it.
        server: the temporary one, where it is on its way already.
    """

    flow: str
    parameters: Mapping[str, Any]
    steps: Callable[[Ledger, Settings], Coroutine[Any, Any, None]]
    settings: Settings
    sandbox: bool
    must_exist: bool = False
    idle: bool = False
    ahead: Ahead = Ahead()
    server: TemporaryServer | None = None


def run_to_end(work: Work, question: Question | None, *, as_json: bool, verbose: bool) -> NoReturn:
    """Send rows, show how it goes, print the report, and end.

    Raises:
        typer.Exit: in the usual case.
        ReelbatchError: what ended the work before it had anything to report.
    """
    line = ProgressLine(question, show_plan=not as_json)
    _carry_out(work, line, verbose=verbose)
    _leave(line, _finish_run(line, work.ahead, as_json=as_json))


def settle_to_end(work: Work, *, as_json: bool, verbose: bool) -> NoReturn:
    """The same for videos that are followed.

    Raises:
        typer.Exit: in the usual case.
        ReelbatchError: what ended the work before it had anything to report.
    """
    line = ProgressLine(None, show_plan=False)
    _carry_out(work, line, verbose=verbose)
    _leave(line, _finish_settle(line, as_json=as_json))


def _carry_out(work: Work, line: ProgressLine, *, verbose: bool) -> None:
    root = clone_root()
    if root is None:
        _by_the_core(work, line)
    elif not _found_nothing(work, line):
        line.waits_for = "starting Prefect"
        _as_a_flow(root, work, line, verbose=verbose)


def _found_nothing(work: Work, line: ProgressLine) -> bool:
    """Whether there was nothing to do, and it is done. A server that is named is told of every run."""
    if not work.idle or may_name_a_server():
        return False
    line.expects_nothing = True
    try:
        _by_the_core(work, line)
    except RowsToSend:
        line.expects_nothing = False
        return False
    return True


def _by_the_core(work: Work, line: ProgressLine) -> None:
    with (
        sandboxed(work.settings, enabled=work.sandbox) as settings,
        opened_ledger(settings, must_exist=work.must_exist) as ledger,
    ):
        try:
            asyncio.run(_followed(work.steps(ledger, settings), line))
        except Exception:
            if not line.has_report:  # else the report says what became of the rows, as it does for a flow
                raise
    line.finished()


async def _followed(steps: Coroutine[Any, Any, None], line: ProgressLine) -> None:
    async with line.watching():
        await steps


def _as_a_flow(root: Path, work: Work, line: ProgressLine, *, verbose: bool) -> None:
    quiet_prefect(verbose=verbose)
    if os.environ.get("SSL_CERT_FILE"):
        ssl_context()  # Prefect reads it while it is imported, and tells in a traceback what it could not read
    with nullcontext(work.server) if work.server else server_ahead() as server:
        flow = _flow(root, work.flow)  # imports Prefect, while its server does the same
        from reelbatch.orchestration.prefect_server import prefect_api

        with unwinding(), prefect_api(server):
            runner = asyncio.Runner()
            try:
                runner.run(_watched(flow, work.parameters, line))
            except BaseException:
                runner.close()
                raise
            if not line.server_lost:  # else it would wait for what Prefect still tries; `_leave` ends all of it
                runner.close()


def _flow(root: Path, name: str) -> Any:
    """Our own flow, also where the user's folder has a package of the name `flows` or `tasks`.

    Raises:
        PipelineError: Prefect can't be imported with the settings that it finds.
    """
    if sys.path[:1] != [str(root)]:
        sys.path.insert(0, str(root))
    try:
        return getattr(importlib.import_module(f"flows.{name}"), name)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise _unusable(f"{error.title}: {wrong}") from None
    except UnreadableSetting as error:  # it is no JSON
        raise _unusable(str(error)) from None


def _unusable(what: str) -> PipelineError:
    return PipelineError(f"Prefect's settings can't be used: {what}. Correct the variable PREFECT_… or profile.")


async def _watched(flow: Any, parameters: Mapping[str, Any], line: ProgressLine) -> None:
    async with line.watching():
        run = asyncio.ensure_future(flow(**parameters, return_state=True))
        await _until_over(run, line)
        if line.has_report and (not run.done() or run.exception() is not None):
            line.server_lost = True  # the work is done and written down; only Prefect could not be told
            return
    state = await run
    if not line.has_report:
        await state.result()  # raises what ended the flow


async def _until_over(run: asyncio.Future[Any], line: ProgressLine) -> None:
    """Return when the flow has ended; or its work has, and Prefect was not told of it for so long."""
    done = asyncio.ensure_future(line.done.wait())
    try:
        await asyncio.wait({run, done}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({run}, timeout=_PATIENCE_S if line.has_report else None)
    except asyncio.CancelledError:  # Ctrl-C
        if line.done.is_set() and line.has_report:
            return
        run.cancel()
        await asyncio.wait({run})
        raise
    finally:
        done.cancel()


def _leave(line: ProgressLine, code: int) -> NoReturn:
    """End with `code`; where Prefect's server is gone, without what Prefect would still try."""
    if line.server_lost:
        render.warn(
            "Could not tell Prefect's server that the run finished (is it down?). The results table is complete."
        )
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    raise typer.Exit(code)


def _finish_run(line: ProgressLine, ahead: Ahead, *, as_json: bool) -> int:
    """Print the report of a run that sent rows; returns the exit code."""
    context, summary = line.context, line.summary
    if context is None or summary is None:  # interrupted before there was anything to report
        return INTERRUPTED
    point("report.write")
    if as_json:
        _print_json(line, context, summary, ahead.rest)
    else:
        _print_run(line, context, summary, ahead)
    sys.stdout.flush()
    point("report.written")
    report = summary.report
    # Not before it is reported: the same command goes on with an open order.
    if report.status.order is not None and did_all(context, line.export):
        with Ledger(context.settings.results) as ledger:
            close_order(ledger, report.batch)
    return EXIT_CODES[situation_of(report, export_failed=line.export_problem is not None)]


def _print_json(line: ProgressLine, context: RunContext, summary: RunSummary, rest: str | None) -> None:
    settler = context.state.settler
    exported = {"export": redact_url(export_target(context)), "export_problem": line.export_problem}
    settled = {"settled": asdict(settler.stats) if settler else None}
    pilot = summary.report.pilot
    more = {} if pilot is None else {"pilot": {**pilot.as_json(), "command": rest}}
    print_json({**summary.report.as_json(), **more, **exported, **settled})


def _print_run(line: ProgressLine, context: RunContext, summary: RunSummary, ahead: Ahead) -> None:
    report = summary.report
    render.print_report(report, summary.failed, why_nothing_was_sent(report, line.given_back))
    if context.state.settler is not None:
        render.print_settled(context.state.settler.stats)
    if line.export_problem:
        is_complete = report.exit_reason is not ExitReason.LEDGER_FAILED
        render.fail(not_exported(line.export_problem, is_complete=is_complete))
    else:
        render.out.print(
            f"Results: {render.cell(redact_url(export_target(context)))}  ({render.cell(context.ledger.shown_url)})"
        )
    for text in [*advice(report, ahead.rest), *after_trial(report, ahead.live)]:
        render.out.print(f"→ {render.cell(text)}")


def _finish_settle(line: ProgressLine, *, as_json: bool) -> int:
    """Print what was settled; returns the exit code."""
    report = line.settle_report
    if report is None:  # interrupted before there was anything to report
        return INTERRUPTED
    if as_json:
        print_json(report.as_json())
    else:
        print_settle_report(report, settle_advice(report))
    return report.exit_code


def quiet_prefect(*, verbose: bool) -> None:
    """Before Prefect is imported: no telemetry, and no messages of its own unless they are asked for."""
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("PREFECT_CLI_PROMPT", "false")
    if not verbose:
        os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
        os.environ.setdefault("PREFECT_LOGGING_INTERNAL_LEVEL", "CRITICAL")
