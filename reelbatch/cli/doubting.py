"""`reelbatch reconcile`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from rich.markup import escape

from reelbatch.cli import screen
from reelbatch.cli.shared import print_json
from reelbatch.connecting import open_client
from reelbatch.domain import Batch, RowKey, VideoId
from reelbatch.errors import SettingsError
from reelbatch.ledger import Ledger, doubts
from reelbatch.ledger.doubts import Doubt
from reelbatch.local import sandboxed
from reelbatch.opening import opened_ledger
from reelbatch.reconciling import Finding, Resolution, findings_of, reconcile, wait_until_clear
from reelbatch.rerunning import the_batch
from reelbatch.settings import Settings

_ASK_EVERY_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What was typed."""

    batch: str | None
    row: str | None
    video_id: str | None
    not_created: bool
    file: Path | None
    wait: bool
    sandbox: bool
    repeated: str  # the options that a printed command repeats


def findings_asked(request: Request) -> list[Finding]:
    """What the options say about rows; none where they only ask for the list.

    Raises:
        SettingsError: they contradict each other.
    """
    if request.file is not None:
        if request.row or request.video_id or request.not_created:
            raise SettingsError("--from takes its rows from the file; leave out --row, --video-id and --not-created")
        return findings_of(request.file)
    if request.row is None:
        if request.video_id or request.not_created:
            raise SettingsError("--row says which row is meant")
        return []
    if bool(request.video_id) == request.not_created:
        raise SettingsError("say what became of the row: either --video-id ID or --not-created")
    return [Finding(RowKey(request.row), VideoId(request.video_id) if request.video_id else None)]


def run(request: Request, stated: Settings, *, as_json: bool) -> int:
    """List rows in doubt or resolve them; answers with the exit code."""
    findings = findings_asked(request)
    with sandboxed(stated, enabled=request.sandbox) as settings, opened_ledger(settings, must_exist=True) as ledger:
        chosen = the_batch(ledger, request.batch) if request.batch or findings else None
        resolutions: list[Resolution] = []
        if findings and chosen is not None:
            resolutions = asyncio.run(_resolve(ledger, settings, chosen, findings))
        if request.wait:
            asyncio.run(wait_until_clear(ledger, chosen, _ASK_EVERY_S, _say_left))
        left = ledger.read(partial(doubts.doubts, batch=chosen))
    if as_json:
        print_json({"in_doubt": [asdict(doubt) for doubt in left], "resolved": [asdict(r) for r in resolutions]})
    else:
        _print(left, resolutions, request.repeated)
    failed = any(resolution.problem for resolution in resolutions)
    return 1 if left or failed else 0


async def _resolve(ledger: Ledger, settings: Settings, batch: Batch, findings: list[Finding]) -> list[Resolution]:
    with_ids = any(finding.video_id for finding in findings)
    async with open_client(settings) if with_ids else nullcontext() as client:
        return await reconcile(ledger, client, batch, findings)


def _say_left(left: int) -> None:
    screen.err.print(f"{left} in doubt, waiting for events")


def _print(left: list[Doubt], resolutions: Iterable[Resolution], options: str) -> None:
    for resolution in resolutions:
        done = f"{resolution.verdict.replace('_', ' ')} {resolution.video_id or ''}".strip()
        if resolution.problem:
            screen.err.print(f"[red]{escape(resolution.row_key)}:[/] {escape(resolution.problem)}")
        else:
            screen.out.print(f"{escape(resolution.row_key)}: {done}")
    if not left:
        screen.out.print("No rows are in doubt.")
        return
    screen.print_doubts(left, options)
