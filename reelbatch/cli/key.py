"""The key, before the question and before Prefect: what can't be sent at all is said at once."""

from __future__ import annotations

from functools import partial
from typing import Any, NoReturn

import typer

from reelbatch.cli import render
from reelbatch.cli.json_output import print_json
from reelbatch.domain import Batch, RunId
from reelbatch.ledger import Ledger, in_memory, queries
from reelbatch.pipeline.account import KeyRefused
from reelbatch.pipeline.key_check import check_key
from reelbatch.pipeline.resources import table_is_new
from reelbatch.pipeline.run_summary import FAILED_ROWS_SHOWN, RunReport
from reelbatch.pipeline.settle_report import SettleReport
from reelbatch.pipeline.situations import EXIT_CODES, Situation
from reelbatch.pipeline.status import batch_status
from reelbatch.settings import Settings
from reelbatch.settle import SettleReason, SettleStats
from reelbatch.submit import ExitReason

_REMEDY = "Nothing was sent. Check MAGIC_HOUR_API_KEY, then run the same command again."


def check_before_sending(settings: Settings, batch: Batch, *, as_json: bool) -> None:
    """For `generate` and `rerun`.

    Raises:
        typer.Exit: the API does not accept the key.
        UsageError: there is no key, or the batch is not its account's.
    """
    try:
        check_key(settings, batch)
    except KeyRefused as refusal:
        refuse_key(refusal, _nothing_sent(settings, batch, str(refusal)) if as_json else None)


def check_before_settling(settings: Settings, *, as_json: bool) -> None:
    """For `settle`, which follows batches of several accounts.

    Raises:
        typer.Exit: the API does not accept the key.
        SettingsError: there is no key.
    """
    try:
        check_key(settings, None)
    except KeyRefused as refusal:
        stats = SettleStats(reason=SettleReason.BAD_KEY, message=str(refusal))
        refuse_key(refusal, SettleReport(stats=stats, batches=()).as_json() if as_json else None)


def refuse_key(refusal: KeyRefused, report: dict[str, Any] | None = None) -> NoReturn:
    """Say that the API does not accept the key, with what there is to report as JSON.

    Raises:
        typer.Exit: always.
    """
    if report is not None:
        print_json(report)
    render.fail(f"{refusal}. {_REMEDY}")
    raise typer.Exit(EXIT_CODES[Situation.HALTED])


def _nothing_sent(settings: Settings, batch: Batch, message: str) -> dict[str, Any]:
    """What `--json` says of a run that never began: the keys of any other, and the batch as the table has it."""
    with in_memory() if table_is_new(settings) else Ledger.to_read(settings.results) as ledger:
        held_rows, held = ledger.read(partial(queries.held, batch=batch, limit=FAILED_ROWS_SHOWN))
        report = RunReport(
            batch=batch,
            run_id=RunId(""),
            sent=0,
            submitted=0,
            retries=0,
            credits_charged=0,
            submit_seconds=0.0,
            rows_per_second=0.0,
            exit_reason=ExitReason.BAD_KEY,
            message=message,
            unsent={},
            status=batch_status(ledger, batch),
            max_credits=settings.max_credits,
            held_rows=held_rows,
            held=held,
        )
    return {**report.as_json(), "run_id": None, "export": None, "export_problem": None, "settled": None}
