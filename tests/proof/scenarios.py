"""What is typed, and what has happened before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

MANIFEST = """row_key,image_path,prompt,end_seconds,model,resolution
spring-up,up.png,Slow pan,2,ltx-2.3,480p
spring-lost,https://images.example.com/lost.png,Quick zoom,2,ltx-2.3,480p
spring-refused,https://images.example.com/refused.png,Tilt down,2,ltx-2.3,480p
spring-dud,https://images.example.com/dud.png,Hold still,2,ltx-2.3,480p
"""
"""An image to upload, a lost answer, a refused row, a render error; the names are what the faults go by."""

UP, LOST, REFUSED, DUD = "spring-up", "spring-lost", "spring-refused", "spring-dud"

GENERATE = ("generate", "manifest.csv", "--yes", "--json")
FINISH = (*GENERATE, "--settle", "--download", "videos")


def _faults(**kinds: str) -> dict[str, Any]:
    """The first create of a row meets its kind; a refused row is refused always."""
    return {
        "match": [
            {"text": f"spring-{row}", "kind": kind, **({} if kind == "invalid" else {"times": 1})}
            for row, kind in kinds.items()
        ]
    }


_ALL = _faults(lost="lost_after", refused="invalid", dud="render_error")
_DUD = _faults(dud="render_error")
_REFUSING = _faults(refused="invalid")


@dataclass(frozen=True, slots=True)
class Scenario:
    """A command under test.

    Args:
        name: as `--only` names it.
        command: what is typed, and typed again.
        ends: the state of each row when everything is finished, rows in doubt cleared up included.
        before: what was typed before, once for all runs.
        faults: of the API, before and during the command.
        generations: videos that a row may be made into.
        told: the command serves, and is sent an event about each video.
        fails: the table fails once, with the first answer in hand: the answer goes to a rescue file. "kept": that
            was before, and the process was killed; "now": it is so in each run.
        since: the first point that is looked at; those before are as in another scenario.
        until: the last one.
        stays: rows may be left unfinished by the command itself.
        doubtful: rows whose answers the API itself lost.
        nothing_left: exit codes that say that an earlier try has done it.
    """

    name: str
    command: tuple[str, ...]
    ends: dict[str, str]
    before: tuple[tuple[str, ...], ...] = ()
    faults: tuple[dict[str, Any], dict[str, Any]] = (_ALL, _ALL)
    generations: int = 1
    told: bool = False
    fails: str = ""
    since: str = ""
    until: str = ""
    stays: bool = False
    nothing_left: frozenset[int] = frozenset()
    doubtful: frozenset[str] = frozenset({LOST})


_ENDS = {UP: "complete", LOST: "complete", REFUSED: "rejected", DUD: "error"}
_ALL_GOOD = {**_ENDS, DUD: "complete"}
_ALL_PAID = {**_ENDS, REFUSED: "complete"}
_DOUBTS = (_faults(lost="lost_after", refused="invalid", dud="lost_before"), _REFUSING)
_REFUSED = frozenset({2})
_FROM = ("reconcile", "--from", "found.csv", "--now", "--json")

SCENARIOS = (
    Scenario("generate", FINISH, _ENDS),
    Scenario(
        "rerun",
        ("rerun", "--yes", "--json", "--settle", "--download", "videos"),
        _ALL_GOOD,
        before=(FINISH,),
        faults=(_ALL, _REFUSING),
    ),
    Scenario(
        "regenerate",
        (*FINISH, "--regenerate", "all"),
        _ENDS,
        before=(FINISH,),
        faults=(_ALL, _REFUSING),
        generations=2,
    ),
    Scenario(
        "remake",
        (*FINISH, "--regenerate", "all", "--rows", UP),
        _ENDS,
        before=(FINISH,),
        faults=(_ALL, _REFUSING),
        generations=2,
        since="export.open",
    ),
    Scenario("settle", ("settle", "--download", "videos", "--json"), _ENDS, before=(GENERATE,)),
    Scenario(
        "list",
        ("reconcile", "--csv", "doubts.csv", "--json"),
        _ALL_GOOD,
        before=(FINISH,),
        faults=_DOUBTS,
        doubtful=frozenset({LOST, DUD}),
        stays=True,
        nothing_left=_REFUSED,
    ),
    Scenario(
        "reconcile",
        _FROM,
        _ALL_GOOD,
        before=(FINISH,),
        faults=_DOUBTS,
        doubtful=frozenset({LOST, DUD}),
        stays=True,
    ),
    Scenario(
        "undo",
        ("reconcile", "--undo", "--json"),
        _ALL_GOOD,
        before=(FINISH, _FROM),
        faults=_DOUBTS,
        doubtful=frozenset({LOST, DUD}),
        stays=True,
        nothing_left=_REFUSED,
    ),
    Scenario("webhook", ("webhook", "--port", "0"), _ENDS, before=(GENERATE,), told=True),
    Scenario(
        "rescue",
        FINISH,
        _ALL_PAID,
        faults=(_DUD, _DUD),
        fails="now",
        doubtful=frozenset(),
        since="rescue.open",
        until="rescue.unlink",
    ),
    Scenario(
        "rescued",
        FINISH,
        _ALL_PAID,
        faults=(_DUD, _DUD),
        fails="kept",
        doubtful=frozenset(),
        until="rescue_taken.renamed",
    ),
)
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
