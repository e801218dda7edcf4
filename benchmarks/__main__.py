"""`make bench`: every part, or those that are named.

python -m benchmarks [NAME…] [--quick]
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path

from benchmarks.figures import RESULTS, Bench, choose, say, show_figures, write

PARTS: Mapping[str, str] = {
    "start": "help, status, plan, nothing to send, one row, the first run ever",
    "throughput": "generate and its peers, at 200 ms and at 0 ms",
    "loading": "manifests of a million rows, and of ten million",
    "damage": "ten thousand damaged tables",
    "rerun": "rerun, status and export on a table of a million rows",
    "flat": "cost per row from a thousand to a million rows",
    "uploads": "a thousand images of 1 MB",
    "settle": "a hundred thousand videos polled",
    "window": "the render window: share in use, questions, beside peers",
    "workers": "two workers on Postgres",
    "headline": "faults, kills and restarts of Postgres; twenty small workers",
    "double_charge": "what lost answers cost, with peers",
}


def main() -> None:
    """Run the parts, one after the other; what one finds is written before the next one starts."""
    names, quick = choose(PARTS, __doc__, "small sizes; results.json stays as it is")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True)))
        results = Path(tempfile.gettempdir()) / "reelbatch-bench-quick" / RESULTS.name if quick else RESULTS
        results.parent.mkdir(exist_ok=True)
        bench = Bench(quick, folder, results, stack)
        for name in names:
            _run(bench, name)
    _plot(results)


def _run(bench: Bench, name: str) -> None:
    say(f"\n=== {name}: {PARTS[name]}{' (quick)' if bench.quick else ''}")
    started = time.monotonic()
    found = import_module(f"benchmarks.{name}").run(bench)
    took_s = time.monotonic() - started
    show_figures(found.figures)
    write(bench, name, found, took_s)
    say(f"({took_s:.0f} s; written to {bench.results.name})")


def _plot(results: Path) -> None:
    from benchmarks.plot import draw

    if target := draw(results):
        say(f"\nPlot: {target}")


if __name__ == "__main__":
    main()
