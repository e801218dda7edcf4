"""Clearing up rows in doubt: by an id that was checked, or by someone's word that nothing was created."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import partial
from unicodedata import normalize

from reelbatch.client import Client, Video
from reelbatch.domain import REFUNDED, Batch, RowKey, Token, VideoId
from reelbatch.errors import ApiError, SettingsError
from reelbatch.ledger import Ledger, in_doubt, queries, rescue_files, sent_again, undone_decisions, utc_now
from reelbatch.ledger.in_doubt import Decision, Doubt, Found, Verdict
from reelbatch.ledger.runs import user_name
from reelbatch.ledger.undone_decisions import Undo
from reelbatch.pipeline.account import is_bad_key
from reelbatch.pipeline.reconcile_list import ListEntry
from reelbatch.storage.files import redact_url
from reelbatch.typed_options import as_stated, command

_ANOTHER_ID = "another id of it became known meanwhile; it is as it was"


@dataclass(frozen=True, slots=True)
class Resolution:
    """What became of a finding. `problem` None: the row is cleared up."""

    row_key: RowKey
    verdict: Verdict
    video_id: VideoId | None
    problem: str | None = None
    unchanged: bool = False  # the row has this id already


@dataclass(frozen=True, slots=True)
class Placed:
    """What someone says about a row, and the batch that the row is in."""

    batch: Batch
    entry: ListEntry


@dataclass(frozen=True, slots=True)
class Rules:
    """When "not created" is believed.

    Args:
        min_age_s: of the attempt, in seconds: a video may appear later than its request.
        now: whatever its age.
    """

    min_age_s: float
    now: bool = False


def open_doubts(ledger: Ledger, batch: Batch | None) -> list[Doubt]:
    """Requests in doubt, without what addresses of their images have of secrets; `batch` None: no archived batch's.

    Those of rows in doubt come first, then those whose rows were to be paid for once more.
    """
    again = _of_current(ledger, batch, ledger.read(partial(sent_again.doubts, batch=batch)))
    found = (*_doubts(ledger, batch), *again)
    return [replace(doubt, image_path=redact_url(doubt.image_path)) for doubt in found]


def _doubts(ledger: Ledger, batch: Batch | None) -> list[Doubt]:
    return _of_current(ledger, batch, ledger.read(partial(in_doubt.doubts, batch=batch)))


def _of_current(ledger: Ledger, batch: Batch | None, found: list[Doubt]) -> list[Doubt]:
    if batch is not None or not found:
        return found
    current = frozenset(ledger.read(queries.current_batches))
    return [doubt for doubt in found if doubt.batch in current]


def is_known(ledger: Ledger, batch: Batch, finding: ListEntry) -> bool:
    """Whether the row has this very id already, so that there is nothing to check."""
    if finding.video_id is None:
        return False
    return any(owner == (batch, finding.row_key) for owner in _owners(ledger, finding.video_id))


def _owners(ledger: Ledger, video_id: VideoId) -> list[tuple[Batch, RowKey]]:
    return ledger.read(partial(in_doubt.owners_of, video_id=video_id))


def refuse_unknown(ledger: Ledger, batch: Batch, keys: Iterable[RowKey]) -> None:
    """Rows that are named have to exist.

    Raises:
        SettingsError: the batch has no such row; nothing was decided.
    """
    if missing := [key for key in keys if _state(ledger, batch, key) is None]:
        raise SettingsError(_no_such_row(batch, ", ".join(missing)))


async def reconcile(
    ledger: Ledger, client: Client | None, placed: Iterable[Placed], rules: Rules
) -> list[Resolution]:
    """Carry out what is said of rows, one by one; an id is believed only when the API knows it under the row's token.

    `client` may be None where nothing names an id that the row does not have yet.
    """
    open_: dict[tuple[Batch, RowKey], list[Doubt]] = {}
    for doubt in (*ledger.read(in_doubt.doubts), *ledger.read(sent_again.doubts)):
        open_.setdefault((doubt.batch, doubt.row_key), []).append(doubt)
    case = _Case(ledger, client, rules, secrets.token_hex(6))
    return [await case.resolve(each, open_.get((each.batch, each.entry.row_key), [])) for each in placed]


@dataclass(frozen=True, slots=True)
class _Case:
    """All that one command decides."""

    ledger: Ledger
    client: Client | None
    rules: Rules
    command: str

    async def resolve(self, placed: Placed, doubts: Sequence[Doubt]) -> Resolution:
        batch, finding = placed.batch, placed.entry
        verdict = Verdict.NOT_CREATED if finding.video_id is None else Verdict.FOUND
        resolution = Resolution(finding.row_key, verdict, finding.video_id)
        if is_known(self.ledger, batch, finding):
            return replace(resolution, unchanged=True)
        if finding.video_id is not None:
            problem: str | None = await self._found(batch, doubts, finding)
        elif not doubts:
            problem = _not_in_doubt(self.ledger, batch, finding.row_key)
        else:
            meant = _meant(doubts, finding)
            problem = meant if isinstance(meant, str) else self._not_created(meant)
        return replace(resolution, problem=None if problem is None else f"{finding.where}{problem}")

    def _not_created(self, doubt: Doubt) -> str | None:
        """Why it may not be said, or None: it was."""
        if problem := rescue_files.objection(self.ledger):
            return problem
        age_s = (utc_now() - doubt.since).total_seconds()
        if age_s < self.rules.min_age_s and not self.rules.now:
            return as_stated(
                f"the request left {max(age_s, 0):.0f} s ago, and its video may still appear: look again after "
                f"{self.rules.min_age_s:.0f} s (doubt_min_age_s), or say so all the same with --now"
            )
        return self._decide(Decision(doubt, Verdict.NOT_CREATED, user_name(), utc_now(), doubt.token))

    async def _found(self, batch: Batch, doubts: Sequence[Doubt], finding: ListEntry) -> str | None:
        video_id, key = finding.video_id or VideoId(""), finding.row_key
        open_ = self.ledger.read(partial(in_doubt.without_id, batch=batch, row_key=key))
        if not open_:
            return _not_in_doubt(self.ledger, batch, key)
        checked = await _check(self.ledger, self.client, doubts, open_, video_id)
        if isinstance(checked, str):
            return checked
        if owners := _owners(self.ledger, video_id):
            other, their = owners[0]
            return f'video {video_id} is that of row {their} of batch "{other}" already; a video belongs to one row'
        if checked.doubt is None:
            known = (checked.token, video_id, checked.charged)
            found = Found(batch, key, *known, user_name(), utc_now(), self.command)
            (booked,) = self.ledger.change(partial(in_doubt.book, items=[found]))
            return None if booked else _ANOTHER_ID
        return self._decide(
            Decision(checked.doubt, Verdict.FOUND, user_name(), utc_now(), checked.token, video_id, checked.charged)
        )

    def _decide(self, decision: Decision) -> str | None:
        decision = replace(decision, command=self.command)
        if self.ledger.change(partial(in_doubt.decide, items=[decision])) == [True]:
            return None
        if decision.verdict is Verdict.NOT_CREATED:
            return "it was cleared up in another way meanwhile; it is as it was"
        if not _owners(self.ledger, decision.video_id or VideoId("")):
            return _ANOTHER_ID
        return (
            "the id belongs to an earlier attempt; it was kept, and is the row's once its last one is `not_created`"
        )


def _state(ledger: Ledger, batch: Batch, key: RowKey) -> str | None:
    return ledger.read(partial(in_doubt.state_of, batch=batch, row_key=key))


def _no_such_row(batch: Batch, keys: str) -> str:
    return f'batch "{batch}" has no row with the key {keys}'


def _not_in_doubt(ledger: Ledger, batch: Batch, key: RowKey) -> str:
    state = _state(ledger, batch, key)
    if state is not None:
        return f"the row is not in doubt (it is {state})"
    alike = {_bare(doubt.row_key): doubt.row_key for doubt in ledger.read(partial(in_doubt.doubts, batch=batch))}
    near = alike.get(_bare(key))
    return _no_such_row(batch, key) + (f'. Did you mean "{near}"? A spreadsheet rewrites keys.' if near else "")


def _bare(key: RowKey) -> str:
    """A key without what spreadsheets change in it: 7 and 7.0 for 007, another case, other blanks or accents."""
    text = " ".join(normalize("NFC", key).casefold().split()).lstrip("'0")
    return text.removesuffix(".0")


def _meant(doubts: Sequence[Doubt], finding: ListEntry) -> Doubt | str:
    """Which of a row's requests in doubt made nothing, or why that can't be told."""
    marks = ", ".join(f"{doubt.token} of its {doubt.generation}. video" for doubt in doubts)
    if finding.token is not None:
        stated = next((doubt for doubt in doubts if doubt.token == finding.token), None)
        return stated or f"the request {finding.token} is not in doubt; by now it is {marks}"
    rows = [doubt for doubt in doubts if not doubt.sent_again]
    if len(rows) == 1:  # the same word once more is not about what the row was sent before
        return rows[0]
    lists = command("reconcile", "--csv", "FILE", batch=doubts[0].batch)
    moved_on = "" if rows else "the row is not in doubt, but was paid for once more: "
    return (
        f"{moved_on}in doubt are {marks}. Write the list with `{lists}`, fill in the line "
        "of the one that is meant, and give that file with --from"
    )


@dataclass(frozen=True, slots=True)
class _Confirmed:
    """The attempt that made a video, the row in doubt that it is of (None: it is not), and what it was charged."""

    doubt: Doubt | None
    token: Token
    charged: int | None


async def _check(
    ledger: Ledger, client: Client | None, doubts: Sequence[Doubt], open_: AbstractSet[Token], video_id: VideoId
) -> _Confirmed | str:
    """What the API confirms, or why the id can't be believed."""
    if client is None:
        return "an id can only be checked with an API key"
    try:
        video: Video = await client.get_video(video_id)
    except ApiError as error:
        remedy = ". Check MAGIC_HOUR_API_KEY." if is_bad_key(error) else ""
        return f"the API does not confirm {video_id}: {error}{remedy}"
    mark = Token(((video.name or "").split() or [""])[-1])
    charged = None if video.status in REFUNDED else video.credits_charged
    for doubt in doubts:
        if not doubt.sent_again and mark in open_ & ledger.read(partial(in_doubt.tokens_of, doubt=doubt)):
            return _Confirmed(doubt, mark, charged)
    if mark in open_:
        return _Confirmed(None, mark, charged)
    tokens = " or ".join([doubt.token for doubt in doubts] or sorted(open_))
    return f'video {video_id} is named "{video.name}", which does not end in this row\'s token {tokens}'


def take_back(ledger: Ledger, batch: Batch, keys: Sequence[RowKey]) -> list[Resolution]:
    """Take back what was decided last: about each of these rows, or all that the batch's last command decided.

    Raises:
        SettingsError: there is nothing to take back; nothing was changed.
    """
    asked: Sequence[RowKey | None] = keys or [None]
    parts = [(key, ledger.read(partial(undone_decisions.last_made, batch=batch, row_key=key))) for key in asked]
    if nothing := [key or f'batch "{batch}"' for key, made in parts if not made]:
        raise SettingsError(f"--undo: no decision about {', '.join(nothing)} is left to take back")
    made = [each for _, some in parts for each in some]
    problems = ledger.change(
        partial(undone_decisions.undo, items=[Undo(each, user_name(), utc_now()) for each in made])
    )
    return [
        Resolution(each.row_key, Verdict.UNDONE, each.video_id, problem)
        for each, problem in zip(made, problems, strict=True)
    ]


async def wait_until_clear(ledger: Ledger, batch: Batch | None, every_s: float, told: Callable[[int], None]) -> None:
    """Return when no row is in doubt any more: webhook events, or someone else, clear them up.

    `told` is called with how many there are, again when that changes.
    """
    said = 0
    while left := len(_doubts(ledger, batch)):
        if left != said:
            told(left)
            said = left
        await asyncio.sleep(every_s)
