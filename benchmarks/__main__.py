"""`make bench`: every part, or those that are named."""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path

from benchmarks.figures import RESULTS, Bench, Figure, say
from benchmarks.plot import draw
from benchmarks.processes import RunFailed

PARTS = ("start", "throughput", "loading", "damage", "rerun", "flat", "uploads", "settle", "window", "workers")
PARTS += ("review", "headline", "double_charge")


def main() -> None:
    """Run the parts, one after the other; what one finds is written before the next one starts."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="small sizes; results.json stays as it is")
    options = parser.parse_args()
    if unknown := set(options.names) - set(PARTS):
        parser.error(f"there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True)))
        results = Path(tempfile.gettempdir()) / "reelbatch-bench-quick" / RESULTS.name if options.quick else RESULTS
        results.parent.mkdir(exist_ok=True)
        bench = Bench(options.quick, folder, results, stack)
        failed = [name for name in options.names or PARTS if not _is_measured(bench, name)]
    draw(bench.known(), results.with_suffix(".png"))
    if failed:
        parser.exit(1, f"not measured: {', '.join(failed)}\n")


def _is_measured(bench: Bench, name: str) -> bool:
    part = import_module(f"benchmarks.{name}")
    say(f"\n{name}: {part.__doc__.splitlines()[0]}")
    began = time.monotonic()
    try:
        found = part.run(bench)
    except RunFailed as error:
        say(f"  failed: {error}")
        return False
    for figure in found.figures:
        say(f"  {_line(figure)}")
    bench.write(name, found, time.monotonic() - began)
    return True


def _line(figure: Figure) -> str:
    goal = f" ({figure['goal']}: {'met' if figure['met'] else 'MISSED'})" if "goal" in figure else ""
    return f"{figure['name']}: {figure['value']:g} {figure['unit']}{goal}"


if __name__ == "__main__":
    main()
