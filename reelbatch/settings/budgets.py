"""The setting `budget`: a mapping, or `1000/day@Europe/Berlin` on one line."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

from reelbatch.domain import MOST_CREDITS
from reelbatch.domain.budget import DEFAULT_ZONE, Budget

_FORM = "state credits, per and timezone: {credits: 25000, per: month, timezone: Europe/Berlin}"
_LINE = re.compile(r"(?P<credits>[\d_]{1,25})\s*/\s*(?P<per>\w+)\s*(?:@\s*(?P<timezone>\S+))?")
_NAMES = frozenset({"credits", "per", "timezone"})


def read_budget(stated: Any) -> Budget | None:
    """The budget that is stated; None where there is none.

    Raises:
        ValueError: says what is wrong with it.
    """
    if isinstance(stated, Budget) or stated is None:
        return stated
    if isinstance(stated, str):
        if not stated.strip():
            return None
        stated = _read_line(stated.strip())
    if not isinstance(stated, Mapping):
        raise ValueError(f"is no mapping; {_FORM}")  # noqa: TRY004 - pydantic takes a ValueError
    return _built(stated)


def _read_line(line: str) -> Any:
    """As the environment has it: JSON, or the short form."""
    if line.startswith("{"):
        try:
            return json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"is no JSON ({error}); write it so, or as 1000/day@Europe/Berlin") from None
    if not (found := _LINE.fullmatch(line)):
        raise ValueError(f'"{line}": write it as 1000/day@Europe/Berlin, or as JSON')
    said = {name: value for name, value in found.groupdict().items() if value is not None}
    return {**said, "credits": int(said["credits"])}


def _built(stated: Mapping[Any, Any]) -> Budget:
    if unknown := sorted(map(str, set(stated) - _NAMES)):
        raise ValueError(f'has no "{unknown[0]}"; {_FORM}')
    credits_, per, zone = stated.get("credits"), stated.get("per"), stated.get("timezone", DEFAULT_ZONE)
    if not isinstance(credits_, int) or isinstance(credits_, bool) or not 0 <= credits_ <= MOST_CREDITS:
        raise ValueError(f"credits: {credits_!r} is no whole number of credits up to {MOST_CREDITS:,}; {_FORM}")
    if not isinstance(per, str) or per not in {"day", "month"}:
        raise ValueError(f'per: "{per}": use day or month')
    try:
        ZoneInfo(zone)
    except (ValueError, OSError, TypeError, LookupError):
        raise ValueError(f'timezone: "{zone}" is no time zone; use a name such as Europe/Berlin or UTC') from None
    return Budget(credits_, "day" if per == "day" else "month", zone)
