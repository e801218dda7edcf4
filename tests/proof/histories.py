"""Judge a history of runs against the API's books, without the program and without its table.

    PYTHONPATH=tests python -m proof.histories HISTORY… --books BOOKS.json

The books are what the sandbox's `GET /sandbox/books` returns. It prints what it counted and each contradiction, and
ends with 1 where there is one. A worker that was killed (its run has no `ended`) may have left out the lines after
its last commit. Answers that state other credits than the books are the API's mistake: they are counted. With
`--parts N` a part of the rows is in memory at a time, since nothing that contradicts is about two rows.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Line = Mapping[str, Any]
Row = tuple[str, str, int]
"""Batch, row key, generation: what is paid for once."""
SURELY_NOTHING = frozenset({"retry", "rejected", "halted", "withdrawn"})
"""Endings of attempts that were surely not charged."""
REFUSED = frozenset({"retry", "rejected", "halt"})
"""Kinds of answers that say so."""


@dataclass(slots=True)
class _Attempt:
    """What a history says of one token, in the order of its lines."""

    token: str
    row: Row
    run_id: str
    events: list[str] = field(default_factory=list)
    ending: str | None = None
    video_id: str | None = None
    answered_id: str | None = None
    charged: int | None = None
    stated: int | None = None  # the answer's credits
    left: bool | None = None  # whether a byte of the create may have left; None: no answer is told

    @property
    def may_be_charged(self) -> bool:
        """Whether the API may have taken it, as far as the history goes."""
        if "sent" not in self.events or self.left is False:
            return False
        return self.ending not in SURELY_NOTHING


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was counted, and what contradicts."""

    counts: Mapping[str, int]
    contradictions: Sequence[str]


def read(paths: Iterable[Path]) -> list[Line]:
    """All lines, those of several files in the order of their times; a last line that was cut off is left out."""
    return sorted((line for path in paths for line in _lines(path)), key=lambda line: line["at"])


def _lines(path: Path) -> Iterator[Line]:
    with path.open(encoding="utf-8") as file:
        for text in file:
            try:
                yield json.loads(text)
            except ValueError:
                continue


def judge(lines: Sequence[Line], charges: Sequence[Line]) -> Judgement:
    """See that the history and the books (their `charges`) can both be true, and that no row was paid for twice."""
    attempts, found = _attempts(lines)
    ended = {line["run_id"] for line in lines if line["event"] == "ended"}
    consents = _consents(lines)
    found += [
        *_twice(lines, consents, ended),
        *_against(attempts, charges, ended),
        *_paid_twice(attempts, charges, consents),
    ]
    endings = Counter(attempt.ending or "none" for attempt in attempts.values())
    counts = {
        "lines": len(lines),
        "runs": sum(line["event"] == "run" for line in lines),
        "killed": sum(line["event"] == "run" and line["run_id"] not in ended for line in lines),
        "rows": len({attempt.row for attempt in attempts.values()}),
        "attempts": len(attempts),
        "charges": len(charges),
        "charges stated wrongly": sum(_is_misstated(attempts.get(each["token"]), each) for each in charges),
        **{f"recorded as {ending}": count for ending, count in sorted(endings.items())},
    }
    return Judgement(counts, found)


def judge_by_parts(paths: Iterable[Path], charges: Iterable[Line], parts: int) -> Judgement:
    """The same of files, with one of `parts` parts of the rows in memory at a time."""
    counts: Counter[str] = Counter()
    found: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{part}.jsonl" for part in range(parts)]
        part_of, repeated = _split(paths, files)
        split: list[list[Line]] = [[] for _ in files]
        for charge in charges:
            split[part_of.get(charge["token"], 0)].append(charge)
        for path, theirs in zip(files, split, strict=True):
            judgement = judge(read([path]), theirs)
            counts.update(judgement.counts)
            found += judgement.contradictions
    runs = {name: counts[name] // parts for name in ("runs", "killed")}
    return Judgement({**counts, "lines": counts["lines"] - repeated * (parts - 1), **runs}, found)


def _split(paths: Iterable[Path], files: Sequence[Path]) -> tuple[dict[str, int], int]:
    """Each row's lines in one of `files`, those of runs in all; the file of each token, and how many are in all."""
    part_of: dict[str, int] = {}
    repeated = 0
    with ExitStack() as stack:
        opened = [stack.enter_context(file.open("w", encoding="utf-8")) for file in files]
        for line in (line for path in paths for line in _lines(path)):
            theirs = opened
            if "row_key" in line:
                part = zlib.crc32(line["row_key"].encode()) % len(files)
                part = part_of.setdefault(line.get("token") or line["row_key"], part)  # a token of two rows is seen
                theirs = opened[part : part + 1]
            else:
                repeated += 1
            for file in theirs:
                file.write(json.dumps(line) + "\n")
    return part_of, repeated


def _attempts(lines: Sequence[Line]) -> tuple[dict[str, _Attempt], list[str]]:
    attempts: dict[str, _Attempt] = {}
    found: list[str] = []
    for line in lines:
        event, token = line["event"], line.get("token")
        if event not in {"intent", "sent", "answered", "recorded"}:
            continue
        row = (line["batch"], line["row_key"], line["generation"])
        attempt = attempts.setdefault(token, _Attempt(token, row, line["run_id"]))
        if attempt.row != row:
            found.append(f"{token}: of two rows, {attempt.row} and {row}")
        found += _out_of_order(attempt, event)
        attempt.events.append(event)
        if event == "answered":
            attempt.left, attempt.answered_id = line["request_sent"], line["video_id"]
            attempt.stated = line["credits_charged"]
        if event == "recorded" and (attempt.video_id is None or line["video_id"]):
            attempt.ending, attempt.video_id, attempt.charged = (
                line["ending"],
                line["video_id"],
                line["credits_charged"],
            )
    return attempts, found


def _out_of_order(attempt: _Attempt, event: str) -> Iterator[str]:
    before = attempt.events
    if event in {"intent", "sent", "answered"} and event in before:
        yield f"{attempt.token}: {event} twice"
    if event == "sent" and "intent" not in before:
        yield f"{attempt.token}: sent without an intent in the table"
    if event == "sent" and "recorded" in before:
        yield f"{attempt.token}: sent after its end was recorded"
    if event == "answered" and "sent" not in before:
        yield f"{attempt.token}: answered and never sent"


def _consents(lines: Sequence[Line]) -> list[tuple[str, Line]]:
    """Decisions after which a row may be sent again although it may be paid for: when, and of what."""
    return [
        (line["at"], line)
        for line in lines
        if line["event"] == "decided" and line["verdict"] in {"not_created", "send_again"}
    ]


def _has_consent(row: Row, since: str, until: str, consents: Sequence[tuple[str, Line]]) -> bool:
    for at, line in consents:
        keys = line.get("row_keys") or ([line["row_key"]] if "row_key" in line else None)
        if since <= at <= until and line["batch"] == row[0] and (keys is None or row[1] in keys):
            return True
    return False


def _twice(lines: Sequence[Line], consents: Sequence[tuple[str, Line]], ended: set[str]) -> Iterator[str]:
    """Creates that left although an earlier one of the same row may have been taken."""
    open_: dict[Row, dict[str, str]] = defaultdict(dict)  # by row: tokens that may be charged, and since when
    for line in lines:
        event, token = line["event"], line.get("token")
        if event not in {"sent", "answered", "recorded"}:
            continue
        row = (line["batch"], line["row_key"], line["generation"])
        if event == "sent":
            for other, since in open_[row].items():
                if not _has_consent(row, since, line["at"], consents):
                    yield f"{token}: {row} was sent again while {other} may have been charged"
            open_[row][token] = line["at"]
        elif _is_surely_nothing(line, ended):
            open_[row].pop(token, None)


def _is_surely_nothing(line: Line, ended: set[str]) -> bool:
    """Whether an `answered` or `recorded` line says that nothing was charged.

    Of a worker that was killed the answer has to do: it may have been recorded without a line.
    """
    if line["event"] == "recorded":
        return line["ending"] in SURELY_NOTHING
    return not line["request_sent"] or (line["run_id"] not in ended and line.get("kind") in REFUSED)


def _against(attempts: Mapping[str, _Attempt], charges: Sequence[Line], ended: set[str]) -> Iterator[str]:
    """Charges that the history does not explain, and ids that it has and the books do not."""
    ids = {charge["video_id"] for charge in charges}
    for charge in charges:
        attempt = attempts.get(charge["token"])
        why = "the history does not have it" if attempt is None else _unexplained(charge, attempt, ended)
        if why is not None:
            yield f"{charge['token']}: charged for {charge['video_id']}, {charge['credits']} credits; {why}"
    for attempt in attempts.values():
        if attempt.video_id is not None and attempt.video_id not in ids:
            yield f"{attempt.token}: recorded as {attempt.video_id}, which the books do not have"
        if attempt.answered_id and attempt.run_id in ended and attempt.video_id is None:
            yield f"{attempt.token}: {attempt.answered_id} was answered, and not recorded"


def _is_misstated(attempt: _Attempt | None, charge: Line) -> bool:
    """Whether the answer stated other credits than the books have."""
    return attempt is not None and attempt.stated not in {None, charge["credits"]}


def _unexplained(charge: Line, attempt: _Attempt, ended: set[str]) -> str | None:
    """Why the charge of an attempt can't be, by its history; None where it can."""
    has_ended = attempt.run_id in ended
    if attempt.ending is None:
        if not has_ended:  # killed: its last lines may be missing
            return None
        return "its end was never recorded" if "sent" in attempt.events else "it was never sent"
    if not attempt.may_be_charged:
        return f"recorded as {attempt.ending}"
    if attempt.video_id not in {None, charge["video_id"]}:
        return f"recorded as {attempt.video_id}"
    if attempt.charged not in {None, charge["credits"], attempt.stated}:
        return f"recorded with {attempt.charged} credits"
    return None


def _paid_twice(
    attempts: Mapping[str, _Attempt], charges: Sequence[Line], consents: Sequence[tuple[str, Line]]
) -> Iterator[str]:
    paid: dict[Row, list[str]] = defaultdict(list)
    for charge in charges:
        if (attempt := attempts.get(charge["token"])) is not None:
            paid[attempt.row].append(charge["token"])
    for row, tokens in paid.items():
        if len(tokens) > 1 and not _has_consent(row, "", "9", consents):
            yield f"{row}: paid for {len(tokens)} times, by {', '.join(tokens)}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the judgement; 1 where something contradicts."""
    parser = argparse.ArgumentParser(prog="python -m proof.histories", description=__doc__)
    parser.add_argument("history", nargs="+", type=Path)
    parser.add_argument("--books", type=Path, required=True, help="what GET /sandbox/books returned, as JSON")
    parser.add_argument("--parts", type=int, default=1, help="number of parts, judged one after the other")
    stated = parser.parse_args(arguments)
    charges = json.loads(stated.books.read_text("utf-8"))["charges"]
    judgement = judge_by_parts(stated.history, charges, max(1, stated.parts))
    for name, count in judgement.counts.items():
        print(f"{count:>9,}  {name}")  # noqa: T201 - its output
    for line in judgement.contradictions:
        print(line)  # noqa: T201 - its output
    return int(bool(judgement.contradictions))


if __name__ == "__main__":
    sys.exit(main())
