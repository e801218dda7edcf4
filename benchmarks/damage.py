"""Ten thousand damaged tables: what is read wrongly, the slowest, and how far memory grows over all of them."""

from __future__ import annotations

import resource
import time

from benchmarks.figures import Bench, Found, at_most
from tests.support.damaged_tables import MOST_S, read

_MOST_MB = 200


def run(bench: Bench) -> Found:
    """Every file ends with rows or with an error of ours; a test takes the first few hundred."""
    files, path = bench.size(10_000, 300), bench.place("damage") / "c.csv"
    wrong, slowest_s, before_mb = [], 0.0, _peak_mb()
    for number in range(files):
        began = time.process_time()
        wrong += read(number, path)
        slowest_s = max(slowest_s, time.process_time() - began)
    figures = [
        at_most(f"of {files:,} damaged tables, read wrongly", len(wrong), 0, "files"),
        at_most("processor time of the slowest", slowest_s, MOST_S, "s"),
        at_most("memory, grown over all of them", _peak_mb() - before_mb, _MOST_MB, "MiB"),
    ]
    return Found(figures, {"wrong": wrong})


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
