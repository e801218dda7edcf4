"""What people see: tables and figures on standard output, progress and warnings on standard error."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console, ConsoleDimensions
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from reelbatch.cli.commands_group import leave_closed_pipe
from reelbatch.pipeline.resources import new_table
from reelbatch.pipeline.status import NO_ROWS
from reelbatch.printable import counted, one_line, printable
from reelbatch.typed_options import command

if TYPE_CHECKING:
    from reelbatch.ledger.queries import OddFigure
    from reelbatch.pipeline.plan import Plan
    from reelbatch.pipeline.rerun import RerunPlan
    from reelbatch.pipeline.run_summary import RunReport
    from reelbatch.pipeline.status import BatchStatus
    from reelbatch.settle import SettleStats


class Screen(Console):
    """The one way to the terminal: rich makes all that it prints of strings here, table cells as well."""

    @property  # type: ignore[misc]  # nothing sets it here
    def size(self) -> ConsoleDimensions:
        """The terminal's; a file or a pipe has no width of its own, so it is as wide as COLUMNS says, else 160."""
        if self.file.isatty():
            return super().size
        stated = os.environ.get("COLUMNS", "")
        return ConsoleDimensions(int(stated) if stated.isdigit() and int(stated) else _WIDE, super().size.height)

    def on_broken_pipe(self) -> None:
        """Rich has an exit code of its own for it."""
        leave_closed_pipe()

    def render_str(self, text: str, **options: Any) -> Text:
        """Nothing in it acts on the terminal but the styles of our own markup."""
        return super().render_str(printable(text), **options)


_WIDE = 160
out = Screen(highlight=False, emoji=False, soft_wrap=True)
err = Screen(stderr=True, highlight=False, emoji=False, soft_wrap=True)

_FAILED_SHOWN = 10
_HELD_SHOWN = 10
_ODD_SHOWN = 5


def cell(text: str) -> str:
    """Something from outside as a part of a line or of a table: no markup, and no line of its own."""
    return escape(one_line(text))


def fail(message: str) -> None:
    """An error, on standard error."""
    err.print(f"[bold red]Error:[/] {escape(message)}")


def warn(message: str) -> None:
    """Something to know, on standard error."""
    err.print(f"[yellow]Warning:[/] {escape(message)}")


def note(message: str) -> None:
    """Something that may be as it should be, on standard error."""
    err.print(f"[yellow]{escape(message)}[/]")


def print_plan(plan: Plan) -> None:
    """What `generate` would do."""
    from reelbatch.cli.money import print_funds, print_sample

    out.print(f"[bold]{cell(plan.manifest)}[/] as batch [bold]{cell(plan.batch)}[/]: {counted(plan.rows, 'row')}")
    of_batch = partial(command, batch=plan.batch)
    _rows(
        ("to send", plan.send, ""),
        ("skipped", plan.skip, "already sent, unchanged"),
        ("changed", plan.changed, "already sent, but the manifest says something else now; see --regenerate"),
        ("held", plan.held_rows, "paid for under another name; see --repeats"),
        ("failed", plan.failed, f"left for `{of_batch('rerun')}`"),
        ("in doubt", plan.in_doubt, f"may have been charged; see `{of_batch('reconcile')}`"),
        ("at work", plan.at_work, "another run is at work on them"),
        ("rendering", plan.later, "made again once their videos have settled; the same command again then"),
        ("limit", plan.beyond_limit, "left to the next run by --limit"),
        ("not chosen", plan.not_chosen, "left alone, since --rows names others"),
        ("left out", plan.left_out, "rows of the manifest that `where` does not let through"),
        ("invalid", plan.invalid, "failed their checks; nothing is sent for them"),
        ("gone", plan.gone, "in the results table, but not in the manifest any more; left alone"),
    )
    print_held(plan.held, plan.held_rows)
    if plan.order is not None:
        out.print(f"  An order is open: {cell(plan.order)}")
    if plan.results_is_new:
        out.print(f"[yellow]{cell(new_table(plan.results))}[/]")
    if plan.by_model:
        out.print(_model_table(plan))
    out.print(f"Estimated cost: [bold]{_money(plan)}[/]")
    _print_assumed(plan)
    if plan.unknown_rate:
        rows = counted(plan.unknown_rate, "row")
        out.print(f"  plus {rows} of unknown rate{escape(plan.observed)}; state one with --rate")
    print_sample(plan)
    if plan.max_credits is not None:
        out.print(f"Cap: {plan.max_credits:,} credits")
        if plan.cap is not None and plan.announced.rows:
            out.print(f"  what is left of it {plan.cap}")
    if plan.funds is None and plan.budget is not None and plan.budget_reach is not None:
        out.print(f"Budget of {cell(plan.budget.words)}: {plan.budget_reach}")
    print_funds(plan.funds, window=plan.duration is None, cap=plan.cap is None)
    if plan.joined:
        out.print("Another worker has read this manifest and is at work on it: the rows are shared.")


def print_any_plan(plan: Plan | RerunPlan) -> None:
    """What a run would do."""
    from reelbatch.pipeline.rerun import RerunPlan

    if isinstance(plan, RerunPlan):
        print_rerun_plan(plan)
    else:
        print_plan(plan)


def print_held(held: Sequence[Mapping[str, Any]], rows: int) -> None:
    """Rows that were paid for under another name, with both names."""
    for row in held[:_HELD_SHOWN]:
        paid = f"{row['paid_row_key']} of batch {row['paid_batch']}" + (
            f", {row['video_id']}" if row["video_id"] else ""
        )
        out.print(f"    [dim]{cell(row['row_key'])}: paid for as {cell(paid)} ({row['paid_state']})[/]")
    if rows > _HELD_SHOWN:
        listed = "them" if rows == len(held) else f"the first {len(held):,}"
        out.print(f"    [dim]and {rows - _HELD_SHOWN:,} more; --json lists {listed}[/]")


def _model_table(plan: Plan) -> Table:
    table = Table(box=None, padding=(0, 2), show_edge=False, header_style="dim")
    table.add_column("  model", overflow="fold")
    table.add_column("rows", justify="right", no_wrap=True)
    table.add_column("credits", justify="right", no_wrap=True)
    for model in plan.by_model:
        credits_ = "unknown" if model.credits is None else f"{model.credits:,}"
        table.add_row(f"  {cell(model.model)}", f"{model.rows:,}", credits_)
    return table


def _money(plan: Plan | RerunPlan) -> str:
    dollars = "" if plan.dollars is None else f" (about ${plan.dollars:,.2f})"
    return f"{plan.credits_estimated:,} credits{dollars}"


def _print_assumed(plan: Plan | RerunPlan) -> None:
    if plan.credits_assumed:
        from reelbatch.model_table import either

        models = escape(either(plan.assumed_models))
        out.print(f"  of it {plan.credits_assumed:,} assumed: model default is taken to be {models}")


def _rows(*lines: tuple[str, int, str]) -> None:
    """`label  count  explanation` for every count that is not zero; the first in any case."""
    for index, (label, count, explanation) in enumerate(lines):
        if count or index == 0:
            out.print(f"  {label:<12}{count:>9,}  [dim]{cell(explanation)}[/]".rstrip())


def _in_lines(label: str, figures: Sequence[str]) -> None:
    """`label  figure · figure`, in as many lines as it takes; no figure is broken."""
    lines = [""]
    for figure in figures:
        longer = f"{lines[-1]} · {figure}" if lines[-1] else figure
        if lines[-1] and len(label) + len(longer) > out.width:
            lines.append(figure)
        else:
            lines[-1] = longer
    for number, line in enumerate(lines):
        out.print(f"{label if number == 0 else ' ' * len(label)}{line}")


def _rest(*lines: tuple[str, int, str]) -> None:
    """The same for counts that are mostly zero."""
    for label, count, explanation in lines:
        if count:
            out.print(f"  {label:<12}{count:>9,}  [dim]{cell(explanation)}[/]")


def print_rerun_plan(plan: RerunPlan) -> None:
    """What `rerun` would do."""
    from reelbatch.cli.money import print_funds

    why = "" if plan.verdict is None else f", whose videos were {cell(plan.verdict)} in review, and stay"
    out.print(f"Batch [bold]{cell(plan.batch)}[/]: {counted(plan.send, 'row')} to send again{why}")
    if plan.order is not None:
        out.print(f"  An order is open: {cell(plan.order)}")
    for count in plan.by_failure:
        code = f" ({cell(count.error_code)})" if count.error_code else ""
        out.print(f"  {count.rows:>9,}  {count.state}{code}")
    if plan.of_decided:
        out.print(f"  {plan.of_decided:>9,}  variants of products that have an approved one; --rows chooses others")
    for line in plan.left_alone:
        out.print(f"  [dim]left alone: {cell(line)}[/]")
    out.print(f"Estimated cost: [bold]{_money(plan)}[/]")
    _print_assumed(plan)
    if plan.unknown_rate:
        out.print(f"  plus {counted(plan.unknown_rate, 'row')} of unknown rate; state one with --rate")
    print_funds(plan.funds)


def print_settled(stats: SettleStats) -> None:
    """What became of the videos."""
    if stats.message:
        err.print(f"[yellow]{cell(stats.message)}[/]")
    if not (stats.outstanding or stats.changed or stats.downloads_failed or stats.message):
        out.print("No videos are outstanding.")
        return
    out.print(
        f"Videos: [bold]{stats.complete:,} complete[/], {stats.error:,} failed, {stats.canceled:,} canceled, "
        f"{stats.unsettled:,} not finished, {stats.downloaded:,} downloaded"
        + (f", [red]{stats.downloads_failed:,} not downloaded[/]" if stats.downloads_failed else "")
        + "".join(f", [yellow]{count:,} {mark}[/]" for mark, count in sorted(stats.marked_videos.items()))
    )
    names = ("estimated", "charged", "final", "refunded")
    _in_lines("Credits of these: ", [f"{name} {getattr(stats, f'credits_{name}'):,}" for name in names])
    _print_cleared_up(stats.cleared_up)
    if stats.odd_figure_rows:
        _print_odd_figures("charged in the end", "they count as before", stats.odd_figure_rows, stats.odd_figures)
    for key, message in stats.refused.items():
        err.print(f"[yellow]{cell(key)}: not finished:[/] {cell(message)}")
    for key, message in stats.download_failures:
        err.print(f"[red]{cell(key)}: not downloaded:[/] {cell(message)}")


def print_status(status: BatchStatus) -> None:
    """A batch as the table has it."""
    out.print(f"[bold]{cell(status.batch)}[/]: {counted(status.rows, 'row') if status.rows else NO_ROWS}")
    for state, count in status.states.items():
        out.print(f"  {state:<12}{count:>9,}")
    every = command("export", "PATH", "--all-videos", batch=status.batch)
    _rest(
        ("gone", sum(status.gone.values()), "left the manifest; never sent, and counted above"),
        ("dismissed", sum(status.dismissed.values()), "failed rows that count for nothing; counted above"),
        ("odd", status.odd_figure_rows, "figures of the API were not believed; --json names them"),
        ("earlier", status.earlier_videos, f"videos of rows that were made again; `{every}` has them"),
    )
    if status.order is not None and not status.order.is_done:
        out.print(f"  An order is open: {cell(str(status.order))}")
    money = status.credits
    figures = {
        "charged": money.charged,
        "refunded": money.refunded,
        "reserved": money.reserved,
        "in doubt": money.in_doubt,
        "worst case": money.worst_case,
    }
    _in_lines("  credits     ", [f"{name} {value:,}" for name, value in figures.items()])
    if money.unknown:
        out.print(
            f"  [yellow]and {counted(money.unknown, 'request')} of unknown rate: the worst case is not known[/]"
        )


def print_course(status: BatchStatus, next_step: str | None) -> None:
    """What ran last on a batch, and what comes next."""
    if (run := status.last_run) is not None:
        figures = (f"{run.started_at:%Y-%m-%d %H:%M} UTC", f"{run.command} by {run.user_name}", run.why)
        _in_lines("  last run    ", [cell(figure) for figure in figures])
    if next_step is not None:
        out.print(f"→ {cell(next_step)}")


def print_report(report: RunReport, failed: Iterable[dict[str, Any]], why_nothing: Iterable[str] = ()) -> None:
    """The end of a run: what was charged, what failed."""
    from reelbatch.cli.money import print_budget, print_pilot, print_prices

    if report.stopped_early:
        why = f": {cell(report.message)}" if report.message else ""
        out.print(f"[yellow]Stopped early ({report.exit_reason.value.replace('_', ' ')}){why}[/]")
    if report.sent:
        speed = f" in {report.submit_seconds:.1f} s ({report.rows_per_second:.0f} rows/s)" if report.submitted else ""
        out.print(f"[bold]{counted(report.sent, 'row')}[/] sent in this run, {report.submitted:,} got an id{speed}.")
        out.print(f"Charged in this run: [bold]{report.credits_charged:,} credits[/]")
    else:
        out.print("Nothing was sent in this run.")
        for reason in why_nothing:
            out.print(f"  {cell(reason)}")
    _print_cleared_up(report.cleared_up)
    print_status(report.status)
    if report.held_rows:
        out.print(f"  held        {report.held_rows:>9,}  [dim]paid for under another name[/]")
        print_held([held.as_json() for held in report.held], report.held_rows)
    if report.odd_figure_rows:
        _print_odd_figures("charged", "the estimate counts", report.odd_figure_rows, report.odd_figures)
    if report.budget is not None:
        print_budget(report.budget)
    if report.pilot is not None:
        print_pilot(report.pilot)
    print_prices(report)
    rows = list(failed)
    if rows:
        out.print(failed_table(rows))


def _print_cleared_up(rows: int) -> None:
    if rows:
        was = "was" if rows == 1 else "were"
        out.print(f"{counted(rows, 'row')} {was} in doubt no longer: the API was asked about the id in the answer.")


def _print_odd_figures(what: str, counts: str, rows: int, first: Sequence[OddFigure]) -> None:
    shown = ", ".join(f"{odd.row_key} ({odd.why})" for odd in first[:_ODD_SHOWN])
    more = ", …" if rows > _ODD_SHOWN else ""
    warn(f"what the API {what} can't be told for {counted(rows, 'row')}, so {counts}: {shown}{more}")


def failed_table(rows: list[dict[str, Any]]) -> Table:
    """Failed rows with their reasons, the first of them."""
    more = f" (the first {_FAILED_SHOWN})" if len(rows) > _FAILED_SHOWN else ""
    table = plain_table(f"Rows that need attention{more}", ("row", "key", "state", "why"))
    for row in rows[:_FAILED_SHOWN]:
        table.add_row(str(row["row_number"]), cell(row["row_key"]), row["state"], cell(row["error_message"] or ""))
    return table


_NUMBERS = frozenset({"row", "rows", "credits"})
_WHOLE = frozenset({*_NUMBERS, "state"})
"""Columns that are never shortened, nor broken, to make room for others."""


def plain_table(title: str | None, columns: Iterable[str]) -> Table:
    """An empty one, whose figures are kept whole."""
    table = Table(title=title, title_justify="left", header_style="dim", box=None, padding=(0, 2, 0, 0))
    for column in columns:
        justify: Literal["left", "right"] = "right" if column in _NUMBERS else "left"
        table.add_column(column, overflow="fold", no_wrap=column in _WHOLE, justify=justify)
    return table
