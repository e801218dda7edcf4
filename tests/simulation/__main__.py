"""`python -m simulation --seeds 1-300`: each seed to its verdict, then a line of figures.

Exit code 1 where something did not hold; the seed that did it is named, and does it again.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulation.seeds import Found


def main() -> int:
    """What was asked for on the command line."""
    options = _parser().parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order of sets is chance too
        os.execve(
            sys.executable, [sys.executable, "-m", "simulation", *sys.argv[1:]], {**os.environ, "PYTHONHASHSEED": "0"}
        )
    for name in [name for name in os.environ if name.upper().startswith(("REELBATCH_", "MAGIC_HOUR_"))]:
        del os.environ[name]
    logging.disable(logging.CRITICAL)
    gc.disable()  # between two seeds only
    return _run(options)


def _run(options: argparse.Namespace) -> int:
    began, failed, faults, seconds = time.monotonic(), [], Counter[str](), 0.0
    done = 0
    for found in _found(_seeds(options.seeds), options.processes):
        seed = found.seed
        done += 1
        if not done % 100:
            print(f"{done:,} seeds, the last one {seed}", file=sys.stderr, flush=True)
        seconds += found.seconds
        faults.update(found.seen)
        if options.trace:
            print("\n".join([f"seed {seed}:", *found.said]))
        if found.wrong:
            failed.append(seed)
            print(f"seed {seed}: " + "\n    ".join(found.wrong))
            print(f"    again: make simulate SEEDS={seed}", flush=True)
            if options.first:
                break
        if options.minutes and time.monotonic() - began > 60 * options.minutes:
            break
    took = time.monotonic() - began
    print(
        f"simulation: {done:,} seeds, {len(failed)} failed, {sum(faults.values()):,} faults of {len(faults)} kinds, "
        f"{seconds / 86_400:,.0f} days of virtual time, {took:.0f} s ({done / max(took, 0.001):.2f}/s)"
    )
    if options.faults:
        print("\n".join(f"{number:>9,} {name}" for name, number in faults.most_common()))
    sys.stdout.flush()
    return 1 if failed else 0


def _found(seeds: Iterator[int], processes: int) -> Iterator[Found]:
    """What each seed came to, in their order."""
    from simulation.seeds import run_seed  # with all of reelbatch

    if processes == 1:
        yield from map(run_seed, seeds)
        return
    with get_context("fork").Pool(processes) as pool:
        yield from pool.imap(run_seed, seeds)


def _seeds(stated: str) -> Iterator[int]:
    for part in stated.split(","):
        if part == "kept":
            yield from _kept()
            continue
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def _kept() -> list[int]:
    lines = Path(__file__).with_name("seeds.txt").read_text(encoding="utf-8").splitlines()
    return [int(line.split()[0]) for line in lines if line and not line.startswith("#")]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m simulation", description=__doc__)
    parser.add_argument("--seeds", default="kept,0-299", help="numbers, ranges, `kept`, with commas")
    parser.add_argument("--processes", type=int, default=1, help="number of seeds at once")
    parser.add_argument("--minutes", type=float, default=0, help="end after this number of them")
    parser.add_argument("--trace", action="store_true", help="say what happened in each seed, second by second")
    parser.add_argument("--first", action="store_true", help="end with the first seed in which something is wrong")
    parser.add_argument("--faults", action="store_true", help="count them by kind")
    return parser


if __name__ == "__main__":
    code = main()
    os._exit(code)  # what dead processes left is not collected: no one would read its complaints
