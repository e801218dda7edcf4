"""Failed rows again: which ones, at what cost, and which are left alone."""

from __future__ import annotations

from dataclasses import dataclass

from reelbatch.domain import FAILED, Batch, RowKey, RowState
from reelbatch.errors import SettingsError
from reelbatch.ledger import Ledger, queries, reruns, runs
from reelbatch.ledger.reruns import Selection
from reelbatch.model_table import load_models
from reelbatch.pipeline.plan import Assignment, RerunPlan
from reelbatch.settings import Settings

_LEFT_ALONE = {
    RowState.COMPLETE: "have their video",
    RowState.QUEUED: "are being rendered",
    RowState.RENDERING: "are being rendered",
    RowState.PENDING: "were not sent yet: `reelbatch generate` sends them",
    RowState.INVALID: "failed their checks: correct the manifest and run `reelbatch generate` again",
    RowState.IN_DOUBT: "may have been charged: `reelbatch reconcile`, or --state in_doubt --accept-double-charge",
    RowState.CLAIMED: "are held by another run",
    RowState.SENDING: "are held by another run",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RerunOptions:
    """What is to be sent again. None: no restriction."""

    batch: str | None = None  # None: the only batch of the table
    states: tuple[str, ...] = ()  # none: rejected, error, canceled
    error_codes: tuple[str, ...] | None = None
    row_keys: tuple[str, ...] | None = None
    accept_double_charge: bool = False


def selection(order: RerunOptions, ledger: Ledger) -> Selection:
    """The rows that the order names.

    Raises:
        SettingsError: no such batch, state or key, or rows in doubt without consent.
    """
    chosen = Selection(
        batch=the_batch(ledger, order.batch),
        states=_states(order),
        error_codes=frozenset(order.error_codes) if order.error_codes else None,
        row_keys=tuple(RowKey(key) for key in order.row_keys) if order.row_keys is not None else None,
    )
    if missing := ledger.read(lambda connection: reruns.unknown_keys(connection, chosen)):
        names = ", ".join(missing[:10]) + (f" and {len(missing) - 10} more" if len(missing) > 10 else "")  # noqa: PLR2004 - as many as are shown
        raise SettingsError(f'batch "{chosen.batch}" has no row with the key {names}')
    return chosen


def the_batch(ledger: Ledger, stated: str | None) -> Batch:
    """The batch that is named, or the only one there is.

    Raises:
        SettingsError: there is no such batch, or more than one to choose from.
    """
    known = ledger.read(queries.batch_names)
    if stated is None and len(known) == 1:
        return known[0]
    if stated in known:
        return Batch(stated)
    names = ", ".join(known) or "none"
    if stated is None:
        raise SettingsError(f"--batch says which batch; the results table has: {names}")
    raise SettingsError(f'--batch "{stated}": the results table has no such batch. It has: {names}')


def _states(order: RerunOptions) -> frozenset[RowState]:
    allowed = {*FAILED, RowState.IN_DOUBT}
    if unknown := [state for state in order.states if state not in allowed]:
        names = ", ".join(sorted(allowed))
        raise SettingsError(f'--state "{unknown[0]}": a rerun takes up rows in {names}')
    states = frozenset(RowState(state) for state in order.states) or FAILED
    if RowState.IN_DOUBT in states and not order.accept_double_charge:
        raise SettingsError(
            "Rows in doubt may have been charged already. Clear them up with `reelbatch reconcile`, or add "
            "--accept-double-charge to pay for them a second time if need be."
        )
    return states


def preview(ledger: Ledger, chosen: Selection, settings: Settings, limit: int | None = None) -> RerunPlan:
    """What would be sent, and what not; changes nothing. With `limit`, no more rows than that."""
    counts = ledger.read(lambda connection: reruns.preview(connection, chosen, limit))
    states = ledger.read(lambda connection: queries.counts(connection, chosen.batch))
    gone = ledger.read(lambda connection: queries.counts_of_gone(connection, chosen.batch))
    taken: dict[RowState, int] = dict(gone)
    for count in counts:
        taken[count.state] = taken.get(count.state, 0) + count.rows
    rest = {state: rows - taken.get(state, 0) for state, rows in states.items()}
    models = load_models(settings.models)
    assumed = ledger.read(lambda connection: reruns.assumed(connection, chosen, limit))
    if settings.model_profile is not None:  # the model does not count
        assumed = []
    left = [f"{sum(gone.values()):,} gone left the manifest; they are never sent"] if gone else []
    return RerunPlan(
        batch=chosen.batch,
        send=sum(count.rows for count in counts),
        credits_estimated=sum(count.credits_estimated for count in counts),
        unknown_rate=sum(count.unknown for count in counts),
        credits_assumed=sum(credits_ for _, credits_ in assumed),
        assumed_models=sorted({models.resolve(request, tier=settings.tier).name for request, _ in assumed}),
        by_failure=counts,
        left_alone=[
            f"{rows:,} {state} {_LEFT_ALONE.get(state, 'were not chosen')}" for state, rows in rest.items() if rows
        ]
        + left,
    )


def rerun_assignment(ledger: Ledger, chosen: Selection) -> Assignment:
    """What a context for the rerun works on."""
    base = ledger.read(lambda connection: runs.base_of(connection, chosen.batch)) or "."
    return Assignment(batch=chosen.batch, command="rerun", base=base, rerun=True)
