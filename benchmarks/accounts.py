"""The results table held against the sandbox's books, both looked at from outside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.tables import query

_ENDED = {"complete", "error", "canceled", "rejected", "in_doubt"}
_QUESTION = "SELECT row_key, state, video_id, token, credits_charged, credits_final FROM results"


def audit(table: Path, books: Mapping[str, Any]) -> dict[str, Any]:
    """Counts of what should be none, and of what there is.

    charged_twice: rows with more than one charge, refunded or not.
    ids_lost: charges whose video id is not in the table, and whose row is not in doubt with just that attempt.
    differing: rows whose id or credits are others than in the books, and ids that the books do not have.
    """
    charges = books["charges"]
    rows = {row["row_key"]: dict(row) for row in query(table, _QUESTION)}
    times = Counter(charge["row"] for charge in charges)
    lost = [charge for charge in charges if not _explained(charge, rows.get(charge["row"]))]
    given = {charge["video_id"]: charge for charge in charges}
    differing = [row for row in rows.values() if row["video_id"] and not _same(row, given.get(row["video_id"]))]
    states = Counter(row["state"] for row in rows.values())
    return {
        "rows": len(rows),
        "charges": len(charges),
        "charged_twice": sum(count > 1 for count in times.values()),
        "ids_lost": len(lost),
        "differing": len(differing),
        "unfinished": sum(count for state, count in states.items() if state not in _ENDED),
        "in_doubt": states["in_doubt"],
        "in_doubt_and_charged": sum(row["state"] == "in_doubt" and row["row_key"] in times for row in rows.values()),
        **{f"state {state}": count for state, count in sorted(states.items())},
        "credits_net_in_books": books["net"],
    }


def _explained(charge: Mapping[str, Any], row: Mapping[str, Any] | None) -> bool:
    if row is None:
        return False
    in_doubt = row["state"] == "in_doubt" and row["token"] == charge["token"]
    return in_doubt or row["video_id"] == charge["video_id"]


def _same(row: Mapping[str, Any], charge: Mapping[str, Any] | None) -> bool:
    if charge is None or row["credits_charged"] != charge["credits"]:
        return False
    return row["credits_final"] == charge["final"]
