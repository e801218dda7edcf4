"""What `reconcile --by-balance` prints."""

from __future__ import annotations

from reelbatch.cli import render
from reelbatch.pipeline.by_balance import BalanceSheet, commands, name_of, otherwise, words
from reelbatch.printable import counted
from reelbatch.typed_options import command

_SHOWN = 10
_TIME = "%Y-%m-%d %H:%M:%S"


def print_sheet(sheet: BalanceSheet) -> None:
    """The sum, what it allows, and the commands that would follow."""
    render.out.print(f"Account [bold]{render.cell(sheet.account)}[/]")
    _print_sum(sheet)
    _print_doubts(sheet)
    if sheet.silent:
        render.out.print("Nothing can be told from this sum:")
        for reason in sheet.silent:
            render.out.print(f"  {render.cell(reason)}")
    elif sheet.doubts:
        _print_readings(sheet)
    render.out.print("[dim]Nothing was decided.[/]")


def _print_sum(sheet: BalanceSheet) -> None:
    lines = []
    if sheet.start is not None:
        began = f"when run {sheet.start.run_id} began, {sheet.start.at:{_TIME}} UTC"
        lines.append(("balance", sheet.start.balance, began))
    if sheet.flows is not None:
        videos = f"{counted(sheet.flows.videos, 'video')} of this table since then"
        lines.append(("charged", -sheet.flows.charged, videos))
        back = sheet.flows.charged - sheet.flows.final
        what = ("refunded", "of these") if back >= 0 else ("charged later", "of these, once they were finished")
        lines.append((what[0], back, what[1]))
    if sheet.balance is not None:
        lines.append(("balance now", sheet.balance, ""))
    if (left := sheet.left_over) is not None:
        lines.append(("left over", left, "gone, and nothing of this table explains it" if left > 0 else ""))
    for label, figure, note in lines:
        render.out.print(f"  {label:<14}{figure:>10,}  [dim]{render.cell(note)}[/]".rstrip())


def _print_doubts(sheet: BalanceSheet) -> None:
    if not sheet.doubts and not sheet.older:
        render.out.print("No rows are in doubt.")
    for doubts, what in ((sheet.doubts, "May have been charged since then"), (sheet.older, "Older, not in this sum")):
        if doubts:
            render.out.print(f"{what}: {len(doubts):,}")
        for each in doubts[:_SHOWN]:
            since = f"{each.started_at:{_TIME}}"
            render.out.print(
                f"  {render.cell(name_of(each))}: {each.credits_reserved:,} credits, {since}, {each.token}"
            )
        if len(doubts) > _SHOWN:
            render.out.print(f"  and {len(doubts) - _SHOWN:,} more; --json lists them")


def _print_readings(sheet: BalanceSheet) -> None:
    render.out.print("What the sum allows, at these prices:")
    for reading in sheet.found:
        render.out.print(f"  • {render.cell(words(reading))}")
        lines = commands(sheet.doubts, reading)
        for line in lines[:_SHOWN]:
            render.out.print(f"      {render.cell(line)}")
        if len(lines) > _SHOWN:
            render.out.print(f"      and {len(lines) - _SHOWN:,} more of this kind")
    if sheet.has_more:
        render.out.print("  • and other sets of these rows")
    render.out.print(f"  • {render.cell(otherwise(sheet.left_over or 0, len(sheet.found)))}")
    both = render.cell(command("reconcile"))
    render.out.print(f"To be sure, look for these tokens in the Magic Hour library; `{both}` has both commands.")
