"""What is measured, printed and written: figures with their goals, each part under its own name."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.processes import RunFailed

RESULTS = Path(__file__).with_name("results.json")


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure. `met` is None where no goal is set."""

    name: str
    value: float | None
    unit: str
    goal: str | None = None
    met: bool | None = None
    note: str | None = None


def plain(name: str, value: float | None, unit: str, note: str | None = None) -> Figure:
    """A figure without a goal."""
    return Figure(name, _short(value), unit, note=note)


def at_least(name: str, value: float | None, goal: float, unit: str, note: str | None = None) -> Figure:
    """A figure that should not be less than `goal`."""
    met = value is not None and value >= goal
    return Figure(name, _short(value), unit, f"≥ {goal:g}", met, note)


def at_most(name: str, value: float | None, goal: float, unit: str, note: str | None = None) -> Figure:
    """A figure that should not be more than `goal`."""
    met = value is not None and value <= goal
    return Figure(name, _short(value), unit, f"≤ {goal:g}", met, note)


@dataclass(slots=True)
class Found:
    """What a part has found: figures, and the tables that they come from."""

    figures: list[Figure] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)


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
        folder = self.folder / name
        folder.mkdir(parents=True)
        return folder

    @cached_property
    def prefect(self) -> Any:
        """A Prefect server that runs until the last part has ended."""
        from benchmarks.serving import prefect_server

        say("starting a Prefect server …")
        return self.stack.enter_context(prefect_server(self.folder / "prefect"))


def choose(parts: Mapping[str, Any], about: str | None, quick: str) -> tuple[list[str], bool]:
    """What the command line names, all of `parts` where it names none, and whether it says --quick."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(parts))
    parser.add_argument("--quick", action="store_true", help=quick)
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in parts]:
        parser.error(f"{unknown[0]}: there is no such part; there are {', '.join(parts)}")
    return options.names or list(parts), options.quick


def median(values: Iterable[float | None]) -> float | None:
    """The median of what was measured."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def attempt(work: Callable[[], Any], what: str) -> Any:
    """The answer of `work`, or None where a contender fails, which is said: the others are measured all the same."""
    try:
        return work()
    except RunFailed as error:
        say(f"  {what}: failed: {error}")
        return None


def say(text: str) -> None:
    """Print a line as it goes."""
    print(text, flush=True)


def show(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print a table; the columns are those of the first row."""
    if not rows:
        return
    names = list(rows[0])
    texts = [names, *([_text(row.get(name)) for name in names] for row in rows)]
    widths = [max(len(line[index]) for line in texts) for index in range(len(names))]
    say(f"\n{title}")
    for line in texts:
        rest = (cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))
        say("  ".join(["", line[0].ljust(widths[0]), *rest]))


def show_figures(figures: Sequence[Figure]) -> None:
    """Print figures with their goals."""
    marks = {True: "met", False: "MISSED", None: ""}
    show(
        "Figures",
        [
            {"figure": f.name, "value": f.value, "unit": f.unit, "goal": f.goal or "", "": marks[f.met]}
            for f in figures
        ],
    )


def write(bench: Bench, name: str, found: Found, took_s: float) -> None:
    """Merge a part's figures into the file of results, under its own name."""
    known = json.loads(bench.results.read_text(encoding="utf-8")) if bench.results.exists() else {}
    figures = [{key: value for key, value in asdict(figure).items() if value is not None} for figure in found.figures]
    known[name] = {
        "machine": machine(),
        "quick": bench.quick,
        "took_s": round(took_s),
        "figures": figures,
        "data": found.data,
    }
    bench.results.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


_YARDSTICK = 5_000_000


def machine() -> dict[str, Any]:
    """Where and when, and how busy the machine was with everything together."""
    return {
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "date": datetime.now(UTC).date().isoformat(),
        "load_average_5_min": round(os.getloadavg()[1], 2),
        "yardstick_s": round(_yardstick_s(), 2),
    }


def _yardstick_s() -> float:
    """Seconds that a bare loop of Python takes here: machines differ, and so does one machine from day to day."""
    started, total = time.perf_counter(), 0
    for number in range(_YARDSTICK):
        total += number
    return time.perf_counter() - started


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"  # noqa: PLR2004 - readable
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
