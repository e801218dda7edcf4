"""The results table held against the sandbox's books, both looked at from outside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

_ENDED = {"complete", "error", "canceled", "rejected", "in_doubt"}


def audit(table: Iterable[Mapping[str, Any]], books: Mapping[str, Any]) -> dict[str, Any]:
    """Counts of what should be none, and of what there is.

    charged_twice: rows with more than one charge, refunded or not.
    ids_lost: charges whose video id is not in the table, and whose row is not in doubt with just that attempt.
    differing: rows whose id or credits are others than in the books, and ids that the books do not have.
    unfinished: rows that are neither at an end nor in doubt.
    credits_unexplained: kept by the API, and neither final in the table nor for a row in doubt there.
    """
    charges = books["charges"]
    rows = {row["row_key"]: row for row in table}
    times = Counter(charge["row"] for charge in charges)
    lost = [charge for charge in charges if not _explained(charge, rows.get(charge["row"]))]
    given = {charge["video_id"]: charge for charge in charges}
    differing = [row for row in rows.values() if row["video_id"] and not _same(row, given.get(row["video_id"]))]
    states = Counter(row["state"] for row in rows.values())
    why = Counter(row["error_code"] for row in rows.values() if row["state"] == "in_doubt")
    told = sum(row["credits_final"] or 0 for row in rows.values())
    doubtful = sum(_net(charge) for charge in charges if _is_doubted(charge, rows.get(charge["row"])))
    return {
        "rows": len(rows),
        "charges": len(charges),
        "charged_twice": sum(count > 1 for count in times.values()),
        "ids_lost": len(lost),
        "differing": len(differing),
        "differing_rows": [{**row, "books": given.get(row["video_id"])} for row in differing[:5]],
        "unfinished": sum(count for state, count in states.items() if state not in _ENDED),
        "in_doubt": states["in_doubt"],
        "in_doubt_and_charged": sum(row["state"] == "in_doubt" and row["row_key"] in times for row in rows.values()),
        **{f"state {state}": count for state, count in sorted(states.items())},
        "in_doubt_why": dict(sorted(why.items())),
        "credits_unexplained": books["net"] - told - doubtful,
        "credits_net_in_books": books["net"],
    }


def _explained(charge: Mapping[str, Any], row: Mapping[str, Any] | None) -> bool:
    return row is not None and (_is_doubted(charge, row) or row["video_id"] == charge["video_id"])


def _is_doubted(charge: Mapping[str, Any], row: Mapping[str, Any] | None) -> bool:
    return row is not None and row["state"] == "in_doubt" and row["token"] == charge["token"]


def _net(charge: Mapping[str, Any]) -> int:
    return int(charge["credits"] if charge["final"] is None else charge["final"])


def _same(row: Mapping[str, Any], charge: Mapping[str, Any] | None) -> bool:
    if charge is None or row["credits_final"] != charge["final"]:
        return False
    if row["credits_charged"] is None:  # the answer was lost, and the event that brought the id has the refund in it
        return row["state"] == "error"
    return bool(row["credits_charged"] == charge["credits"])
