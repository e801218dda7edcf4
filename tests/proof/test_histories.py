"""The judge of histories: what can be true passes, and each contradiction is named."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from proof.histories import Line, judge, judge_by_parts, read

NUMBERS = count()


def line(event: str, name: str = "t1", key: str = "TEA-001", **more: Any) -> Line:
    """A line of run `r1`; each has a later time than the one before."""
    whose = {"run_id": "r1", "token": name, "batch": "spring", "row_key": key, "generation": 1}
    return {"at": f"2026-11-26T20:00:00.{next(NUMBERS):06}", "event": event, **whose, **more}


def sent(name: str = "t1", *, left: bool = True, video_id: str | None = "v1", **more: Any) -> list[Line]:
    """An attempt up to its answer."""
    answered = {"request_sent": left, "video_id": video_id, "credits_charged": 48 if video_id else None}
    return [line("intent", name, **more), line("sent", name, **more), line("answered", name, **more, **answered)]


def recorded(ending: str, name: str = "t1", video_id: str | None = None, cost: int | None = None) -> Line:
    """Its end in the table."""
    return line("recorded", name, ending=ending, video_id=video_id, credits_charged=cost)


def charge(name: str = "t1", video_id: str = "v1", cost: int = 48) -> Line:
    """One of the books."""
    return {"token": name, "row": "TEA-001", "video_id": video_id, "credits": cost}


PAID = [*sent(), recorded("submitted", video_id="v1", cost=48)]
END = line("ended", reason="done")
AGAIN = line("decided", verdict="send_again", states=["in_doubt"], row_keys=None)
CAN_BE_TRUE: dict[str, tuple[list[Line], list[Line]]] = {
    "a row that was paid for": ([*PAID, END], [charge()]),
    "a try that was refused, then another": (
        [*sent("t0", video_id=None), recorded("retry", "t0"), *sent(), recorded("submitted", "t1", "v1", 48), END],
        [charge()],
    ),
    "a create that never left": ([*sent(left=False, video_id=None), recorded("retry"), END], []),
    "killed with its create on the way": ([line("intent"), line("sent")], [charge()]),
    "killed, and its end written by the commit alone": ([line("intent"), line("sent")], []),
    "killed once a refusal was in the table, and before its line was written": (
        [*sent("t0", video_id=None, run_id="r0", kind="retry"), *PAID, END],
        [charge()],
    ),
    "in doubt, and the API took it": ([*sent(video_id=None), recorded("in_doubt"), END], [charge()]),
    "in doubt, and sent again by consent": (
        [
            *sent("t0", video_id=None),
            recorded("in_doubt", "t0"),
            {**AGAIN, "at": line("decided")["at"]},
            *sent("t1"),
            recorded("submitted", "t1", "v1", 48),
            END,
        ],
        [charge("t0", "v0"), charge()],
    ),
}
CONTRADICTS: dict[str, tuple[list[Line], list[Line], str]] = {
    "no intent": (PAID[1:], [charge()], "sent without an intent"),
    "the same create twice": ([*PAID[:2], line("sent"), *PAID[2:]], [charge()], "sent twice"),
    "a second create": (
        [*sent("t0", video_id=None), recorded("in_doubt", "t0"), *sent(), recorded("submitted", "t1", "v1", 48)],
        [charge()],
        "sent again while t0 may have been charged",
    ),
    "a second create after a kill": (
        [*sent("t0", video_id=None, run_id="r0", kind="in_doubt"), *PAID, END],
        [charge()],
        "sent again while t0 may have been charged",
    ),
    "a second create whose refusal was never recorded": (
        [*sent("t0", video_id=None, kind="retry"), *PAID, END],
        [charge()],
        "sent again while t0 may have been charged",
    ),
    "a second charge": (
        [*sent("t0"), recorded("submitted", "t0", "v0", 48), *sent(), recorded("submitted", "t1", "v1", 48)],
        [charge("t0", "v0"), charge()],
        "paid for 2 times",
    ),
    "a charge of an unknown create": (PAID, [charge(), charge("t9", "v9")], "the history does not have it"),
    "a charge that was called a refusal": (
        [*sent(video_id=None), recorded("rejected")],
        [charge()],
        "recorded as rej",
    ),
    "a create that did not leave": ([*sent(left=False), recorded("retry")], [charge()], "recorded as retry"),
    "an answer that is nowhere": ([*sent(), END], [charge()], "its end was never recorded"),
    "another id": (PAID, [charge(video_id="v2")], "charged for v2, 48 credits; recorded as v1"),
    "an id from nowhere": (PAID, [], "which the books do not have"),
    "other credits": ([*sent(), recorded("submitted", "t1", "v1", 96)], [charge()], "48 credits; recorded with 96"),
    "a token of two rows": ([*PAID, line("sent", key="MUG-002")], [charge()], "of two rows"),
}


@pytest.mark.parametrize("name", CAN_BE_TRUE)
def test_what_can_be_true_is_not_contradicted(name: str) -> None:
    """Also where a worker was killed, and where a person agreed to pay again."""
    lines, charges = CAN_BE_TRUE[name]
    assert judge(lines, charges).contradictions == []


def test_credits_that_the_api_misstated_are_counted() -> None:
    """The answer said 48, the books have 96: no step of ours is wrong."""
    judgement = judge([*PAID, END], [charge(cost=96)])
    assert (judgement.contradictions, judgement.counts["charges stated wrongly"]) == ([], 1)


@pytest.mark.parametrize("name", CONTRADICTS)
def test_a_contradiction_is_named(name: str) -> None:
    """Each by what is wrong, with its token or row."""
    lines, charges, said = CONTRADICTS[name]
    found = judge(lines, charges).contradictions
    assert any(said in each for each in found), found


@pytest.mark.parametrize("parts", [1, 2, 7])
def test_a_history_in_parts_is_judged_as_a_whole(tmp_path: Path, parts: int) -> None:
    """Lines of rows, of runs and of a whole batch; the cases that can't be true stay so."""
    lines, charges = [], []
    for number, (told, paid) in enumerate(case[:2] for case in (*CAN_BE_TRUE.values(), *CONTRADICTS.values())):
        lines += [_of_case(each, number) for each in told]
        charges += [_of_case(each, number) for each in paid]
    (tmp_path / "history.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines), "utf-8")
    whole = judge(read([tmp_path / "history.jsonl"]), charges)
    judged = judge_by_parts([tmp_path / "history.jsonl"], charges, parts)
    assert judged.counts == whole.counts
    assert sorted(judged.contradictions) == sorted(whole.contradictions) != []


def _of_case(told: Line, number: int) -> Line:
    """The line, or the charge, of a case among others: its own rows, tokens and videos."""
    marked = {name: f"{number}:{told[name]}" for name in ("token", "row_key", "video_id") if told.get(name)}
    return {**told, "run_id": f"{number}:{told.get('run_id')}", **marked}
