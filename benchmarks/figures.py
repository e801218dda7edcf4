"""What is measured: figures with their goals, and what every part is given."""

from __future__ import annotations

import json
import os
import platform
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

RESULTS = Path(__file__).with_name("results.json")
PEAK = "peak MiB"
Figure = dict[str, Any]
"""`name`, `value`, `unit`; where there is a goal, what it is and whether it is `met`; perhaps a `note`."""


def plain(name: str, value: float, unit: str, note: str | None = None) -> Figure:
    """A figure without a goal."""
    return {"name": name, "value": short(value), "unit": unit, **({"note": note} if note else {})}


def at_least(name: str, value: float, goal: float, unit: str, note: str | None = None) -> Figure:
    """A figure that should not be less than `goal`."""
    return {**plain(name, value, unit, note), "goal": f"≥ {goal:g}", "met": value >= goal}


def at_most(name: str, value: float, goal: float, unit: str, note: str | None = None) -> Figure:
    """A figure that should not be more than `goal`."""
    return {**plain(name, value, unit, note), "goal": f"≤ {goal:g}", "met": value <= goal}


def short(value: float) -> float:
    """Four digits."""
    return float(f"{value:.4g}")


def middle(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Of each thing that was measured several times the median; of memory the most."""
    taken = {name: max if name == PEAK else statistics.median for name in runs[0]}
    return {name: short(take(run[name] for run in runs)) for name, take in taken.items()}


class Found(NamedTuple):
    """What a part has found: figures, and what they come from."""

    figures: list[Figure]
    data: dict[str, Any]


@dataclass(frozen=True)
class Bench:
    """What every part is given."""

    quick: bool
    folder: Path  # for files of the benchmarks; gone afterwards
    results: Path
    stack: ExitStack

    def size(self, full: int, quick: int) -> int:
        """How much of something, by the mode."""
        return quick if self.quick else full

    @property
    def repeats(self) -> int:
        """How often a short measurement is made."""
        return self.size(3, 1)

    def place(self, name: str) -> Path:
        """A new folder."""
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder))

    @cached_property
    def prefect(self) -> Mapping[str, str]:
        """The environment of commands beside a Prefect server, which runs until the last part has ended."""
        from benchmarks.serving import prefect_server

        return self.stack.enter_context(prefect_server(self.folder / "prefect"))

    def known(self) -> dict[str, Any]:
        """All that was found so far, by part."""
        return dict(json.loads(self.results.read_text(encoding="utf-8"))) if self.results.exists() else {}

    def write(self, name: str, found: Found, took_s: float) -> None:
        """Merge a part's figures into the file of results, under its own name."""
        told = {"quick": self.quick, "took_s": round(took_s), "figures": found.figures, "data": found.data}
        known = {**self.known(), name: {"machine": machine(), **told}}
        self.results.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def machine() -> dict[str, Any]:
    """Where and when, and how busy the machine was with everything together."""
    return {
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "date": datetime.now(UTC).date().isoformat(),
        "load_average_5_min": round(os.getloadavg()[1], 2),
    }


def say(text: str) -> None:
    """Print a line as it goes."""
    print(text, flush=True)
