"""What is on disk before a request leaves: the intent, and the credits and places that it reserves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, bindparam, insert, not_, select

from reelbatch.domain import Batch, ClaimedRow, Token
from reelbatch.failpoints import point
from reelbatch.ledger import earlier_attempts
from reelbatch.ledger.admission import Admission, Intent, Ruling, reserve
from reelbatch.ledger.engine import now
from reelbatch.ledger.paid_requests import HELD_CODE, PaidAs, paid_elsewhere, serialize
from reelbatch.ledger.schema import attempts, generations
from reelbatch.ledger.selection import RepeatPolicy
from reelbatch.ledger.transitions import RELEASE, SEND, THIS_ROW, execute_each
from reelbatch.ledger.version_check import refuse_newer


def record_intents(connection: Connection, items: Sequence[Intent]) -> list[Ruling]:
    """Reserve credits and move rows to `sending`, or say why not.

    Raises:
        StateConflict: a row was no longer claimed by this run.
        LedgerError: a newer version has migrated the table.
    """
    refuse_newer(connection)
    told = dict.fromkeys(_made(connection, items), Ruling(Admission.MADE))
    held = _hold(connection, [item for item in items if item.token not in told])
    told |= dict.fromkeys(held, Ruling(Admission.HELD))
    if connection.dialect.name != "sqlite":  # the clocks of two machines differ, and so would a budget's periods
        at = now(connection)
        items = [replace(item, at=at) for item in items]
    reserved = iter(reserve(connection, [item for item in items if item.token not in told]))
    rulings = [told.get(item.token) or next(reserved) for item in items]
    both = zip(items, rulings, strict=True)
    admitted = [(item, ruling) for item, ruling in both if ruling.admission is Admission.ADMITTED]
    if admitted:
        execute_each(connection, _SEND, [_send_values(item) for item, _ in admitted])
        connection.execute(insert(attempts), [_attempt_values(item, ruling.reserved) for item, ruling in admitted])
    point("table.intents.write")
    return rulings


def _made(connection: Connection, items: Sequence[Intent]) -> list[Token]:
    """Rows that were tried, and whose request has made its video after all, go by it; returns their tokens."""
    tried = {
        earlier_attempts.Claimed(
            earlier_attempts.Line(item.row.batch, item.row.row_key, item.row.generation),
            item.run_id,
            item.row.fingerprint,
            item.asked,
            item.at,
        ): item.token
        for item in items
        # A further line may have one of its number before it, of an order that was dropped.
        if (item.row.attempts or item.row.generation > 1) and item.asked.request_sha256 is not None
    }
    made = earlier_attempts.accept_before_sending(connection, tried)
    return [token for claimed, token in tried.items() if claimed.line in made]


def _hold(connection: Connection, items: Sequence[Intent]) -> set[Token]:
    """Rows whose requests are paid for under another name wait, and name it; returns their tokens."""
    asking: dict[Batch, dict[Token, Intent]] = {}
    for item in items:
        if item.repeats is not RepeatPolicy.SEND and item.asked.request_sha256 is not None:
            asking.setdefault(item.row.batch, {})[item.token] = item
    hashes = [item.asked.request_sha256 for some in asking.values() for item in some.values()]
    serialize(connection, filter(None, hashes))
    held: dict[Token, dict[str, Any]] = {}
    for batch, some in asking.items():
        paid = paid_elsewhere(connection, batch, {item.asked.request_sha256 or "" for item in some.values()})
        if gone := _gone(connection, batch, some.values()):
            paid |= paid_elsewhere(connection, batch, gone, of_gone=True)
        found = ((item, paid.get(item.asked.request_sha256 or "")) for item in some.values())
        held |= {item.token: {**_key_values(item.row), **_held_values(item, of)} for item, of in found if of}
    if held:
        execute_each(connection, _HOLD, list(held.values()))
    return set(held)


def _gone(connection: Connection, batch: Batch, items: Iterable[Intent]) -> set[str]:
    """Requests of rows that were claimed, and that a manifest which was read meanwhile has no longer."""
    g = generations.c
    asking = {item.row.row_key: item.asked.request_sha256 or "" for item in items}
    left = select(g.row_key).where(g.batch == batch, g.row_key.in_(list(asking)), not_(g.in_manifest))
    return {asking[key] for key in connection.scalars(left)}


def _held_values(item: Intent, paid: PaidAs) -> dict[str, Any]:
    told = {"b_mark": paid.mark, "b_message": paid.explanation}
    return {**told, "b_run_id": item.run_id, "b_request_sha256": item.asked.request_sha256}


def _key_values(row: ClaimedRow) -> dict[str, Any]:
    return {"b_batch": row.batch, "b_row_key": row.row_key, "b_generation": row.generation}


_OWN_CLAIM = (*THIS_ROW, generations.c.run_id == bindparam("b_run_id"))
_SAME_REQUEST = generations.c.fingerprint == bindparam("b_fingerprint")
"""Claimed anew meanwhile, the row may ask for something else."""
_SEND = SEND.update(*_OWN_CLAIM, _SAME_REQUEST).values(
    token=bindparam("b_token"),
    attempts=generations.c.attempts + 1,
    **earlier_attempts.AS_ASKED,
)
_HOLD = RELEASE.update(*_OWN_CLAIM).values(
    paid_as=bindparam("b_mark"),
    request_sha256=bindparam("b_request_sha256"),  # by which it is known when no one pays for it any more
    error_code=HELD_CODE,
    error_message=bindparam("b_message"),
)


def _send_values(item: Intent) -> dict[str, Any]:
    row = item.row
    own = {"b_run_id": item.run_id, "b_token": item.token, "b_fingerprint": row.fingerprint}
    return {**_key_values(row), **own, **item.asked.values}


def _attempt_values(item: Intent, reserved: int) -> dict[str, Any]:
    return {
        "token": item.token,
        "batch": item.row.batch,
        "row_key": item.row.row_key,
        "run_id": item.run_id,
        "started_at": item.at,
        "credits_reserved": reserved,
        "unrated": item.is_unrated,
        "request_sha256": item.asked.request_sha256,
        "generation": item.row.generation,
    }
