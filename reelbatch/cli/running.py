"""Running a flow from the command line: Prefect kept quiet, its API at hand, progress shown."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from reelbatch.cli import screen
from reelbatch.cli.live import ProgressLine
from reelbatch.reporting import advice

if TYPE_CHECKING:
    from reelbatch.session import Session

INTERRUPTED = 130


def run_flow(load_flow: Callable[[], Any], parameters: Mapping[str, Any], *, as_json: bool, verbose: bool) -> int:
    """Run a flow in this process and print its report; answers with the exit code."""
    quiet_prefect(verbose=verbose)
    from flows.server import prefect_api

    flow = load_flow()
    with prefect_api():
        session = asyncio.run(_watched(flow, parameters, show_plan=not as_json))
    report = session.report
    if report is None:  # interrupted while the manifest was being read
        return INTERRUPTED
    if as_json:
        settled = asdict(session.settler.tally) if session.settler else None
        screen.print_json({**report.as_json(), "export": session.export_target, "settled": settled})
        return report.exit_code
    screen.print_report(report, session.failed)
    screen.out.print(f"Results: {session.export_target}  ({session.ledger.shown_url})")
    for line in advice(report):
        screen.out.print(f"→ {line}")
    return report.exit_code


async def _watched(flow: Any, parameters: Mapping[str, Any], *, show_plan: bool) -> Session:
    line = ProgressLine(show_plan=show_plan)
    async with line.watching():
        state = await flow(**parameters, return_state=True)
    if line.session is None or line.session.report is None:
        await state.result()  # raises what ended the flow
    assert line.session is not None  # noqa: S101 - a flow that ended well has opened a session
    return line.session


def quiet_prefect(*, verbose: bool) -> None:
    """Before Prefect is imported: no telemetry, and no messages of its own unless they are asked for."""
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("PREFECT_CLI_PROMPT", "false")
    if not verbose:
        os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
