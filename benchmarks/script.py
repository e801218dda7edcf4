"""Reelbatch as a script uses it, without Prefect: what is timed is the work, not the start of Python.

python -m benchmarks.script WORK JSON     prints one JSON object; WORK is one of the functions below
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

Stated = dict[str, Any]


def generate(stated: Stated) -> Stated:
    """`reelbatch.generate(…)`."""
    import reelbatch

    manifest, options = stated["manifest"], stated["options"]
    return _timed(lambda: reelbatch.generate(manifest, **options).as_json())


def load(stated: Stated) -> Stated:
    """The first step of it by itself: check every row, compare it with the table, store it."""
    from reelbatch.pipeline.load_manifest import load as load_manifest
    from reelbatch.pipeline.plan import GenerateOptions
    from reelbatch.pipeline.resources import opened_ledger
    from reelbatch.settings import load_settings

    def work() -> Stated:
        settings = load_settings(options=stated["options"])
        with opened_ledger(settings) as ledger:
            return load_manifest(GenerateOptions(source=stated["manifest"]), settings, ledger).as_json()

    return _timed(work)


def rerun_plan(stated: Stated) -> Stated:
    """What `reelbatch rerun` shows before it asks."""
    from reelbatch.pipeline.rerun import RerunOptions, preview, selection
    from reelbatch.pipeline.resources import opened_ledger
    from reelbatch.settings import load_settings

    def work() -> Stated:
        settings = load_settings(options=stated["options"])
        with opened_ledger(settings) as ledger:
            plan = preview(ledger, selection(RerunOptions(), ledger), settings)
        return {"send": plan.send, "credits_estimated": plan.credits_estimated}

    return _timed(work)


def _timed(work: Callable[[], Stated]) -> Stated:
    started, cpu = time.perf_counter(), time.process_time()
    answer = work()
    return {"seconds": time.perf_counter() - started, "cpu_s": time.process_time() - cpu, "answer": answer}


WORKS: Mapping[str, Callable[[Stated], Stated]] = {"generate": generate, "load": load, "rerun_plan": rerun_plan}

if __name__ == "__main__":
    print(json.dumps(WORKS[sys.argv[1]](json.loads(sys.argv[2])), default=str))
