"""What stands beside the cards: rows by state, the money, how far the review is, and what needs someone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from reelbatch.domain import NEEDS_ATTENTION, Batch, RowState
from reelbatch.ledger import queries, review
from reelbatch.ledger.review import Reviewed
from reelbatch.ledger.selection import rows_of
from reelbatch.printable import one_line

if TYPE_CHECKING:
    from sqlalchemy import Connection

CURVE_POINTS = 24
_LISTED = 200
_ORDER = tuple(RowState)


def summary_of(connection: Connection, batch: Batch, dollars_per_credit: float | None = None) -> dict[str, Any]:
    """The side bar of one batch."""
    states = queries.counts(connection, batch)
    facets = review.facets(connection, batch)
    money = queries.credits_of(connection, batch)
    return {
        "batch": one_line(batch),
        "rows": rows_of(connection, batch),
        "states": {state: states[state] for state in _ORDER if state in states},
        "reviewed": dict(facets.reviewed),
        "complete": states.get(RowState.COMPLETE, 0),
        "models": facets.models,
        "errors": facets.errors,
        "credits": asdict(money),
        "dollars": None if dollars_per_credit is None else _paid(asdict(money)) * dollars_per_credit,
        "credits_by_model": {
            model: _paid(asdict(each)) for model, each in queries.credits_by_model(connection, batch).items()
        },
        "curve": [
            [spent.at.timestamp(), spent.credits] for spent in review.spending(connection, batch, CURVE_POINTS)
        ],
        "running": review.is_running(connection, batch),
        "nothing_said": facets.reviewed[Reviewed.NONE],
    }


def open_questions(connection: Connection, batch: Batch) -> dict[str, Any]:
    """For a report: rows that failed, are in doubt or are held; of each kind how many, and the first of them."""
    failed_rows, failed = queries.failed_as(connection, batch, _LISTED, NEEDS_ATTENTION - {RowState.IN_DOUBT})
    doubtful_rows, doubtful = queries.failed_as(connection, batch, _LISTED, {RowState.IN_DOUBT})
    held_rows, held = queries.held(connection, batch, _LISTED)
    return {
        "failed": {"rows": failed_rows, "first": [_line(row) for row in failed]},
        "in_doubt": {"rows": doubtful_rows, "first": [_line(row) for row in doubtful]},
        "held": {
            "rows": held_rows,
            "first": [
                {
                    "key": one_line(each.row_key),
                    "row": each.row_number,
                    "what": one_line(f"{each.paid.row_key} of batch {each.paid.batch} has paid for the same request"),
                }
                for each in held
            ],
        },
    }


def _line(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "key": one_line(row["row_key"]),
        "row": row["row_number"],
        "state": row["state"],
        "what": one_line(row["error_message"] or row["error_code"] or ""),
        "token": row["token"],
    }


def _paid(credits_: Mapping[str, int]) -> int:
    return credits_["charged"] - credits_["refunded"]
