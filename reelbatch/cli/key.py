"""The key, before the question and before Prefect: what can't be sent at all is said at once."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, NoReturn

import typer

from reelbatch.cli import render
from reelbatch.cli.json_output import print_json
from reelbatch.domain import Batch, RowState
from reelbatch.ledger import Ledger
from reelbatch.pipeline.account import KeyRefused
from reelbatch.pipeline.key_check import check_key
from reelbatch.pipeline.resources import table_is_new
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
        refuse_key(
            refusal, asdict(SettleStats(reason=SettleReason.BAD_KEY, message=str(refusal))) if as_json else None
        )


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
    """The report of a run that never began, with the batch as the table has it."""
    states: dict[RowState, int] = {}
    if not table_is_new(settings):
        with Ledger.to_read(settings.results) as ledger:
            states = batch_status(ledger, batch).states
    counts = {state.value: states.get(state, 0) for state in RowState}
    sent = {"sent": 0, "submitted": 0, "credits_charged": 0, "submit_seconds": 0.0, "rows_per_second": 0.0}
    end = {"exit_reason": ExitReason.BAD_KEY.value, "message": message}
    return {"batch": batch, "run_id": None, "rows": sum(states.values()), **counts, **sent, **end}
