"""`reelbatch rerun --dismiss` and `--undismiss`."""

from __future__ import annotations

from dataclasses import dataclass

from reelbatch.cli import render
from reelbatch.cli.json_output import print_json
from reelbatch.errors import SettingsError
from reelbatch.pipeline.dismissing import dismiss, undismiss
from reelbatch.pipeline.resources import opened_ledger, the_batch
from reelbatch.settings import Settings
from reelbatch.typed_options import command, joined


@dataclass(frozen=True, slots=True)
class Dismissing:
    """What was typed."""

    batch: str | None
    dismiss: tuple[str, ...]
    undismiss: tuple[str, ...]


def decide(keys: Dismissing, settings: Settings, *, as_json: bool) -> None:
    """Dismiss rows, or take that back, and say so.

    Raises:
        SettingsError: both or neither were asked for, or a row is not there or did not fail.
    """
    if bool(keys.dismiss) == bool(keys.undismiss):
        raise SettingsError("Name rows by their keys, either with --dismiss KEY,… or with --undismiss KEY,…")
    with opened_ledger(settings, must_exist=True) as ledger:
        batch = the_batch(ledger, keys.batch)
        change = dismiss if keys.dismiss else undismiss
        rows = change(ledger, batch, keys.dismiss or keys.undismiss)
    if as_json:
        print_json({"batch": batch, "dismissed" if keys.dismiss else "undismissed": rows})
        return
    if keys.undismiss:
        render.out.print(f"{rows:,} of batch {render.cell(batch)} counted for nothing, and count again.")
        return
    render.out.print(
        f"{rows:,} of batch {render.cell(batch)} count for nothing from now on. "
        f"`{render.cell(command('rerun', '--undismiss', joined(keys.dismiss)))}` takes that back."
    )
