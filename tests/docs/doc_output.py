"""Compares what a page shows of an output with what was printed; what differs each time may differ."""

from __future__ import annotations

import json
import re
from typing import Any

_VARYING = (
    r"rb_[0-9a-f]{20}",  # a token
    r"\bc[0-9a-z]{20,}\b",  # a video's id
    r"\b(?=[0-9a-f]*\d)[0-9a-f]{12}\b",  # a run's id
    r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?([.,]\d+)?(\+00:00| UTC)?",
    r"\bin \d+\.\d s \(\d[\d,]* rows/s\)",
    r"\b\d+ s ago",
    r"\d+\.\d MB",
    r"(/[\w.-]+)+/(?=results/|reelbatch\.yaml|spring\.db)",  # the reader's folder
)
_WILD = re.compile("|".join((*(f"(?:{each})" for each in _VARYING), "…")))
_HIDDEN = "\x00"


def missing(shown: str, printed: str) -> list[str]:
    """The lines that a page shows and no line that was printed is like. `…` stands for anything."""
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    wanted = [line for line in shown.splitlines() if line.strip() not in {"", "…"}]
    return [line for line in wanted if not any(_pattern(line).fullmatch(each) for each in lines)]


def _pattern(line: str) -> re.Pattern[str]:
    whole, parts, end = " ".join(line.split()), [], 0
    for wild in _WILD.finditer(whole):
        parts += [re.escape(whole[end : wild.start()]), _like(wild[0])]
        end = wild.end()
    return re.compile("".join((*parts, re.escape(whole[end:]))))


def _like(wild: str) -> str:
    if wild == "…":
        return ".*"
    return next(f"(?:{each})" for each in _VARYING if re.fullmatch(each.partition("(?=results")[0], wild))


def unknown_keys(shown: str, printed: str) -> list[str]:
    """The keys of a JSON object, and of those within it, that the printed one has not, and the other way round."""
    stated: Any = json.loads(re.sub(r",? *…", "", shown))
    found: Any = next(json.loads(line) for line in printed.splitlines() if line.startswith("{"))
    return sorted(_differing(stated, found, ""))


def _differing(stated: Any, found: Any, at: str) -> set[str]:
    if isinstance(stated, dict) and isinstance(found, dict):
        here = {f"{at}{key}" for key in stated.keys() - found.keys()}
        return here.union(
            *(_differing(stated[key], found[key], f"{at}{key}.") for key in stated.keys() & found.keys())
        )
    if isinstance(stated, list) and isinstance(found, list) and stated and found:
        return _differing(stated[0], found[0], at)
    return set()
