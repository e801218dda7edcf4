"""What people see of credits: balance, cap and budget, and where every credit of a batch went."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reelbatch.cli.render import cell, out, warn
from reelbatch.printable import counted
from reelbatch.typed_options import command

if TYPE_CHECKING:
    from reelbatch.ledger.budgets import BudgetLeft
    from reelbatch.ledger.samples import SampleCost
    from reelbatch.pipeline.funds import Funds
    from reelbatch.pipeline.pilot import Pilot
    from reelbatch.pipeline.plan import Plan
    from reelbatch.pipeline.run_summary import RunReport


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


def print_sample(plan: Plan) -> None:
    """What a pilot sends."""
    if plan.pilot is not None:
        size = min(plan.pilot, plan.rows)
        sample = f"a sample of {counted(size, 'row')}"
        if not plan.announced.rows:
            out.print(f"Pilot: none of {sample} is left to send{_sample_cost(plan.pilot_cost)}.")
            return
        begun = plan.skip + plan.changed + plan.failed + plan.in_doubt
        which = f"of {sample}, those not sent yet are" if begun else f"{sample} is"
        out.print(f"Pilot: {which} sent now, and no others{_sample_cost(plan.pilot_cost)}.")


def _sample_cost(sample: SampleCost | None) -> str:
    if sample is None:
        return ""
    unknown = f", and {sample.unknown:,} of unknown rate" if sample.unknown else ""
    return f"; estimated cost of {sample.rows:,}: [bold]{sample.credits:,} credits[/]{unknown}"


def print_pilot(pilot: Pilot) -> None:
    """What a sample says of the rest."""
    for line in pilot.lines():
        out.print(cell(line) if not line.startswith(" ") else f"  {cell(line)}")


def print_prices(report: RunReport) -> None:
    """What costs another price than was estimated."""
    for words in report.dearer:
        warn(f"dearer than estimated: {words}; correct the table of models")
    for words in report.drifted:
        warn(f"not the price that was estimated: {words}; see `{command('models', '--check')}`")
