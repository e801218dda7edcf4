"""A program under cProfile: every thread by itself, by the thread's own processor time.

python -m benchmarks.profiled TARGET MODULE [ARGUMENT…]     TARGET is the JSON file that is written at the end

cProfile makes small functions look dearer than they are; which parts weigh most can still be told. Imports are left
out: they are made before.
"""

from __future__ import annotations

import cProfile
import json
import runpy
import sys
import sysconfig
import threading
import time
from collections import Counter
from importlib import import_module
from pathlib import Path
from types import CodeType
from typing import Any

_PLACES = tuple(Path(sysconfig.get_path(name)) for name in ("purelib", "platlib", "stdlib"))
_OURS = Path(__file__).parents[1]
_IMPORTED = (
    "reelbatch.pipeline.export",
    "reelbatch.pipeline.generate",
    "flows.generate",
    "flows.settle",
    "pandas",
    "PIL.JpegImagePlugin",
)

Thread = tuple[str, cProfile.Profile]


def main() -> None:
    """Run the module as `python -m` would, and write what each thread did."""
    target, module, *arguments = sys.argv[1:]
    for name in _IMPORTED:
        import_module(name)
    threads: list[Thread] = []
    original = threading.Thread.run

    def run(self: threading.Thread) -> None:
        profile = cProfile.Profile(time.thread_time)
        threads.append((self.name, profile))
        profile.runcall(original, self)

    threading.Thread.run = run
    own = cProfile.Profile(time.thread_time)
    threads.append(("main", own))
    sys.argv = [module, *arguments]
    try:
        own.runcall(runpy.run_module, module, run_name="__main__", alter_sys=True)
    finally:
        Path(target).write_text(json.dumps([told(*thread) for thread in threads]), encoding="utf-8")


def told(name: str, profile: cProfile.Profile) -> dict[str, Any]:
    """Seconds of a thread by area: a package of ours, a library, a function written in C."""
    areas: Counter[str] = Counter()
    for entry in profile.getstats():
        areas[area(entry.code)] += entry.inlinetime
    return {"thread": name, "seconds": sum(areas.values()), "areas": dict(areas.most_common())}


def area(code: CodeType | str) -> str:
    """Where a function belongs."""
    if isinstance(code, str):
        return code.strip("<>").removeprefix("built-in method ").removeprefix("method ").removesuffix(" objects")
    file = Path(code.co_filename)
    for place in _PLACES:
        if file.is_relative_to(place):
            return Path(file.relative_to(place).parts[0]).stem
    if file.is_relative_to(_OURS):
        return ".".join(file.relative_to(_OURS).with_suffix("").parts[:2])
    return code.co_filename.strip("<>")


if __name__ == "__main__":
    main()
