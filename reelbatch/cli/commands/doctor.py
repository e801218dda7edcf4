"""`reelbatch doctor`."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict
from itertools import chain
from typing import TYPE_CHECKING, Any

import typer

from reelbatch.cli import options as opt
from reelbatch.cli.json_output import print_json

if TYPE_CHECKING:
    from reelbatch.pipeline.checkup import Check
    from reelbatch.settings import Settings

_COLOURS = {"ok": "green", "absent": "dim", "warning": "yellow", "problem": "red"}


def doctor(
    config: opt.Config = None,
    results: opt.Results = None,
    sandbox: opt.Sandbox = False,
    base_url: opt.BaseUrl = None,
    as_json: opt.Json = False,
) -> None:
    """What works, what does not, and what to do: key, account, results table, Prefect, folders, extras."""
    from reelbatch.pipeline.checkup import Health, examine

    checks: list[Check] = []
    with ExitStack() as stack:
        settings, wrong = _settings(stack, sandbox=sandbox, config=config, results=results, base_url=base_url)
        for check in chain(wrong, examine(settings)):
            checks.append(check)
            if not as_json:
                _print(check)
    ill = any(check.health is Health.PROBLEM for check in checks)
    if as_json:
        print_json({"ok": not ill, "checks": [asdict(check) for check in checks]})
    raise typer.Exit(1 if ill else 0)


def _settings(stack: ExitStack, *, sandbox: bool, **options: Any) -> tuple[Settings | None, list[Check]]:
    """The settings, or why they can't be used. With `sandbox` those of one that runs until the stack is left."""
    from reelbatch.errors import ReelbatchError
    from reelbatch.pipeline.checkup import Check, Health
    from reelbatch.pipeline.resources import sandboxed

    try:
        settings = opt.settings_of(options.pop("config"), sandbox=sandbox, **options)
        if sandbox:  # it keeps nothing: a look leaves nothing behind
            settings = settings.model_copy(update={"sandbox": {**settings.sandbox, "data": None}})
        return stack.enter_context(sandboxed(settings, enabled=sandbox)), []
    except ReelbatchError as error:
        return None, [Check("settings", Health.PROBLEM, str(error), "Fix that: what needs them was not looked at.")]


def _print(check: Check) -> None:
    from reelbatch.cli import render

    mark = f"[{_COLOURS[check.health]}]{check.health:<8}[/]"
    first, *more = check.found.splitlines() or [""]
    render.out.print(f"{mark} {check.name}: {render.cell(first)}")
    for line in more:
        render.out.print(f"         {render.cell(line)}")
    if check.remedy is not None:
        render.out.print(f"         → {render.cell(check.remedy)}")
