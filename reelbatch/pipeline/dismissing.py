"""Failed rows that are to count for nothing, and taking that back."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from reelbatch.domain import Batch, RowKey
from reelbatch.errors import SettingsError
from reelbatch.ledger import Ledger, dismissals, reruns, utc_now
from reelbatch.ledger.dismissals import Dismissal
from reelbatch.ledger.runs import user_name
from reelbatch.typed_options import command

_NAMED = 10


def dismiss(ledger: Ledger, batch: Batch, keys: Sequence[str]) -> int:
    """Dismiss failed rows, with who said so and when; returns how many were not dismissed before.

    Raises:
        SettingsError: the batch has no such row, or one did not fail; nothing was changed.
    """
    item = _item(ledger, batch, keys)
    if others := ledger.read(partial(dismissals.not_to_dismiss, batch=batch, keys=item.row_keys)):
        named = ", ".join(f"{key} ({state})" for key, state in list(others.items())[:_NAMED])
        raise SettingsError(
            f"--dismiss takes rows that are invalid, rejected, in error or canceled, and these are not: {named}. "
            f"Rows in doubt may have been charged: `{command('reconcile', batch=batch)}`."
        )
    return ledger.change(partial(dismissals.dismiss, item=item))


def undismiss(ledger: Ledger, batch: Batch, keys: Sequence[str]) -> int:
    """Take dismissals back; returns of how many rows.

    Raises:
        SettingsError: the batch has no such row; nothing was changed.
    """
    return ledger.change(partial(dismissals.recall, item=_item(ledger, batch, keys)))


def _item(ledger: Ledger, batch: Batch, keys: Sequence[str]) -> Dismissal:
    named = tuple(RowKey(key) for key in keys)
    if missing := ledger.read(partial(reruns.unknown_keys, batch=batch, row_keys=named)):
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        raise SettingsError(f'batch "{batch}" has no row with the key {", ".join(missing[:_NAMED])}{more}')
    return Dismissal(batch, named, user_name(), utc_now())
