"""What people see of credits: balance, cap and budget, and where every credit of a batch went."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from reelbatch.cli.render import cell, out, warn

if TYPE_CHECKING:
    from reelbatch.ledger.budgets import BudgetLeft
    from reelbatch.pipeline.funds import Funds
    from reelbatch.pipeline.pilot import Pilot
    from reelbatch.pipeline.status import BatchStatus


def print_funds(funds: Funds | None, *, window: bool = True, cap: bool = True) -> None:
    """What balance, cap and budget allow, where the account was asked; without what is said elsewhere."""
    for line in [] if funds is None else funds.lines(window=window, cap=cap):
        out.print(cell(line))


def print_budget(left: BudgetLeft) -> None:
    """How an account's budget stands."""
    if left.is_short:
        warn(f"budget of {left.words}")
    else:
        out.print(f"  budget      {cell(left.words)}")
    if left.unknown:
        out.print(f"  [yellow]and {left.unknown:,} of unknown rate, which count 0[/]")


def print_pilot(pilot: Pilot) -> None:
    """What a sample says of the rest."""
    for line in pilot.lines():
        out.print(cell(line) if not line.startswith(" ") else f"  {cell(line)}")


def print_credits(status: BatchStatus) -> None:
    """Where every credit of a batch went, by model and in all."""
    names = ("estimated", "charged", "refunded", "final", "reserved", "in_doubt", "worst_case")
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("  model")
    for name in names:
        table.add_column(name.replace("_", " "), justify="right")
    for model, money in {**status.by_model, "in all": status.credits}.items():
        table.add_row(f"  {cell(model)}", *(f"{getattr(money, name):,}" for name in names))
    out.print(table)
