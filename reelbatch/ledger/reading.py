"""Questions to the results table: counts, credits, failed rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, and_, case, func, or_, select

from reelbatch.domain import HELD, Batch, RowState, RunId
from reelbatch.ledger.books import Ending
from reelbatch.ledger.claims import Scope
from reelbatch.ledger.moves import in_states
from reelbatch.ledger.schema import RESULT_COLUMNS, SUMS, attempts, batches, results


@dataclass(frozen=True, slots=True, kw_only=True)
class Credits:
    """The money of a batch, in credits. `worst_case` = charged + reserved + in doubt, refunds taken off."""

    estimated: int = 0  # rows that have an id, as estimated before they were sent
    charged: int = 0  # what the creates were answered with
    final: int = 0  # settled figures
    refunded: int = 0  # charged minus final, where settled
    reserved: int = 0  # requests under way
    in_doubt: int = 0
    worst_case: int = 0


def batch_names(connection: Connection) -> list[Batch]:
    """Every batch of the table."""
    return [Batch(name) for name in connection.scalars(select(batches.c.batch).order_by(batches.c.batch))]


def counts(connection: Connection, batch: Batch) -> dict[RowState, int]:
    """Rows by state; states without rows are left out."""
    query = select(results.c.state, func.count()).where(results.c.batch == batch).group_by(results.c.state)
    return {RowState(state): rows for state, rows in connection.execute(query)}


def credits_of(connection: Connection, batch: Batch) -> Credits:
    """The batch's money: every POST that was ever made for it, by the running sums."""
    columns = (batches.c[name] for name in SUMS)
    found = connection.execute(select(*columns).where(batches.c.batch == batch)).one_or_none()
    return _credits(found or [0] * len(SUMS))


def added_up(connection: Connection, batch: Batch) -> Credits:
    """The same, added up from the attempts: what the running sums have to be equal to."""
    return _credits(connection.execute(select(*_sums()).where(attempts.c.batch == batch)).one())


def credits_by_model(connection: Connection, batch: Batch) -> dict[str, Credits]:
    """The same for each model, added up from the attempts; one counts for the model that its row states now."""
    own_row = and_(results.c.batch == attempts.c.batch, results.c.row_key == attempts.c.row_key)
    model = func.coalesce(results.c.model, "default").label("model")
    query = select(model, *_sums()).select_from(attempts.outerjoin(results, own_row)).where(attempts.c.batch == batch)
    return {name: _credits(sums) for name, *sums in connection.execute(query.group_by(model).order_by(model))}


def _sums() -> list[Any]:
    a = attempts.c
    has_id = a.video_id.is_not(None)
    held = and_(~has_id, or_(a.outcome.is_(None), a.outcome == Ending.IN_DOUBT.value))
    charged = case((has_id, func.coalesce(a.credits_charged, a.credits_reserved)), else_=0)
    settled = a.credits_final.is_not(None)
    return [
        _sum(case((has_id, a.credits_reserved), else_=0)),
        _sum(charged),
        _sum(a.credits_final),
        _sum(case((settled, charged - a.credits_final), else_=0)),
        _sum(case((and_(held, a.outcome.is_(None)), a.credits_reserved), else_=0)),
        _sum(case((and_(held, a.outcome.is_not(None)), a.credits_reserved), else_=0)),
    ]


def _credits(sums: Iterable[Any]) -> Credits:
    known = dict(zip(SUMS, map(int, sums), strict=True))
    worst = known["charged"] - known["refunded"] + known["reserved"] + known["in_doubt"]
    return Credits(**known, worst_case=worst)


def _sum(expression: Any) -> Any:
    return func.coalesce(func.sum(expression), 0)


def committed(connection: Connection, batch: Batch) -> int:
    """The running worst case that a cap is reserved against."""
    return connection.scalar(select(batches.c.committed).where(batches.c.batch == batch)) or 0


def claimable(connection: Connection, scope: Scope) -> int:
    """Rows that a run of this scope may still take."""
    return connection.scalar(select(func.count()).select_from(results).where(scope.condition())) or 0


def held_by_others(connection: Connection, batch: Batch, run_id: RunId) -> int:
    """Rows that other workers hold."""
    query = select(func.count()).select_from(results)
    return connection.scalar(query.where(results.c.batch == batch, in_states(HELD), results.c.run_id != run_id)) or 0


def rows(batch: Batch | None = None) -> Select[Any]:
    """The exported columns of all rows, in the manifest's order."""
    query = select(*(results.c[name] for name in RESULT_COLUMNS))
    if batch is not None:
        query = query.where(results.c.batch == batch)
    return query.order_by(results.c.batch, results.c.row_number, results.c.row_key)


def first_rows(connection: Connection, batch: Batch, limit: int) -> list[dict[str, Any]]:
    """The batch's first rows, all exported columns."""
    return [dict(row) for row in connection.execute(rows(batch).limit(limit)).mappings()]


def failed(connection: Connection, batch: Batch, limit: int) -> list[dict[str, Any]]:
    """The first rows that need somebody's attention."""
    states = {RowState.INVALID, RowState.REJECTED, RowState.ERROR, RowState.CANCELED, RowState.IN_DOUBT}
    columns = ("row_number", "row_key", "image_path", "state", "error_code", "error_message", "token")
    query = (
        select(*(results.c[name] for name in columns))
        .where(results.c.batch == batch, in_states(states), results.c.listed)
        .order_by(results.c.row_number)
        .limit(limit)
    )
    return [dict(row) for row in connection.execute(query).mappings()]
