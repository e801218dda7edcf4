"""Clearing up rows in doubt: by an id that was checked, or by somebody's word that nothing was created."""

from __future__ import annotations

import asyncio
import csv
import getpass
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from reelbatch.client import Client, Video
from reelbatch.domain import Batch, RowKey, Token, VideoId
from reelbatch.errors import ApiError, SettingsError
from reelbatch.ledger import Ledger, doubts, rescue_files, utc_now
from reelbatch.ledger.doubts import Decision, Doubt, Verdict


@dataclass(frozen=True, slots=True)
class Finding:
    """What somebody says about one row: the video's id, or None for "not created"."""

    row_key: RowKey
    video_id: VideoId | None
    where: str = ""  # for messages: the file's line it comes from


@dataclass(frozen=True, slots=True)
class Resolution:
    """What became of a finding. `problem` None: the row is cleared up."""

    row_key: RowKey
    verdict: Verdict
    video_id: VideoId | None
    problem: str | None = None


async def reconcile(
    ledger: Ledger, client: Client | None, batch: Batch, findings: Iterable[Finding]
) -> list[Resolution]:
    """Carry out `findings` one by one; an id is believed only when the API knows it under the row's token.

    `client` may be None where no finding names an id.
    """
    open_doubts = {doubt.row_key: doubt for doubt in ledger.read(partial(doubts.doubts, batch=batch))}
    return [await _resolve(ledger, client, open_doubts, finding) for finding in findings]


async def _resolve(
    ledger: Ledger, client: Client | None, open_doubts: dict[RowKey, Doubt], finding: Finding
) -> Resolution:
    verdict = Verdict.NOT_CREATED if finding.video_id is None else Verdict.FOUND
    resolution = partial(Resolution, finding.row_key, verdict, finding.video_id)
    doubt = open_doubts.get(finding.row_key)
    if doubt is None:
        return resolution(f"{finding.where}the row is not in doubt")
    token, charged = doubt.token, None
    if verdict is Verdict.NOT_CREATED and (objection := rescue_files.objection(ledger)) is not None:
        return resolution(f"{finding.where}{objection}")
    if finding.video_id is not None:
        checked = await _check(ledger, client, doubt, finding.video_id)
        if isinstance(checked, str):
            return resolution(f"{finding.where}{checked}")
        token, charged = checked
    decision = Decision(doubt, verdict, getpass.getuser(), utc_now(), token, finding.video_id, charged)
    if ledger.change(partial(doubts.decide, items=[decision])) == [False]:
        return resolution(f"{finding.where}the id belongs to an earlier attempt; it was kept, the row is as it was")
    return resolution()


async def _check(
    ledger: Ledger, client: Client | None, doubt: Doubt, video_id: VideoId
) -> tuple[Token, int | None] | str:
    """The attempt that made the video and what it was charged; or why the id can't be believed."""
    if client is None:
        return "an id can only be checked with an API key"
    try:
        video: Video = await client.get_video(video_id)
    except ApiError as error:
        return f"the API does not confirm {video_id}: {error}"
    mark = (video.name or "").split()[-1:]
    if not mark or Token(mark[0]) not in ledger.read(partial(doubts.tokens_of, doubt=doubt)):
        return f'video {video_id} is named "{video.name}", which does not end in this row\'s token {doubt.token}'
    return Token(mark[0]), video.credits_charged


async def wait_until_clear(ledger: Ledger, batch: Batch | None, every_s: float, say: Callable[[int], None]) -> None:
    """Return when no row is in doubt any more: webhook events, or somebody else, clear them up.

    `say` hears how many there are, again when that changes.
    """
    said = 0
    while left := len(ledger.read(partial(doubts.doubts, batch=batch))):
        if left != said:
            say(left)
            said = left
        await asyncio.sleep(every_s)


def findings_of(file: Path) -> list[Finding]:
    """A CSV with the columns `row_key` and `video_id`; an empty id, or `not_created`, says that there is no video.

    Raises:
        SettingsError: the file can't be read, or lacks a column or a key.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            return list(_findings(csv.DictReader(text), file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SettingsError(f"--from {file}: can't be read: {error}") from error


def _findings(lines: csv.DictReader[str], file: Path) -> Iterator[Finding]:
    if missing := {"row_key", "video_id"} - set(lines.fieldnames or ()):
        raise SettingsError(
            f"--from {file}: lacks the column {' and '.join(sorted(missing))}; a CSV with both is needed"
        )
    for line in lines:
        key, video_id = (line["row_key"] or "").strip(), (line["video_id"] or "").strip()
        if not key:
            raise SettingsError(f"--from {file}, line {lines.line_num}: row_key is empty")
        known = None if video_id in {"", Verdict.NOT_CREATED.value} else VideoId(video_id)
        yield Finding(RowKey(key), known, f"{file}, line {lines.line_num}: ")
