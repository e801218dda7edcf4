"""Where the processor time of a part goes: what stands behind `docs/performance.md`.

python -m benchmarks.profiles                       every part; writes profiles.txt beside this file
python -m benchmarks.profiles NAME… [--quick]       some parts, or small sizes; only prints
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.figures import RESULTS, Bench, choose, machine, say
from benchmarks.processes import environment, module, run_process
from benchmarks.product import DONE, LONG_S, table_url
from benchmarks.rows import write_csv, write_images
from benchmarks.serving import raw_server
from benchmarks.tables import finished_table, rendering_table

_TARGET = Path(__file__).with_name("profiles.txt")
_THREADS, _AREAS = 4, 12  # told of each part: threads, areas of each
_LEAST = 0.03  # of all processor time: threads that used less are left out
_US = 1_000_000


def start(bench: Bench) -> str:
    """What is imported, by package, for the commands that should be quick."""
    folder = bench.place("start")
    manifest = write_csv(folder / "rows.csv", 1000)
    table = finished_table(bench, 1000, failed_each=100)
    commands = {
        "--help": ("--help",),
        "status": ("status", "--results", table_url(table), "--json"),
        "plan of 1,000 rows": ("plan", str(manifest), "--results", table_url(folder), "--json"),
    }
    return "\n".join(_imports(name, arguments) for name, arguments in commands.items())


def throughput(bench: Bench) -> str:
    """`reelbatch generate` at 200 ms, 100 in flight, beside a Prefect server that runs."""
    folder = bench.place("throughput")
    manifest = write_csv(folder / "rows.csv", bench.size(3000, 200))
    with raw_server() as server:
        server.reset(latency_ms=200)
        options = ("--base-url", server.url, "--results", table_url(folder), "--concurrency", "100", "--json")
        return _profiled(bench, "reelbatch", "generate", str(manifest), *options, **bench.prefect.env)


def loading(bench: Bench) -> str:
    """A manifest that is new, and again unchanged; without Prefect."""
    folder = bench.place("loading")
    manifest = write_csv(folder / "rows.csv", bench.size(1_000_000, 5000))
    stated = {"manifest": str(manifest), "options": {"base_url": "http://127.0.0.1:9", "results": table_url(folder)}}
    turns = [_profiled(bench, "benchmarks.script", "load", json.dumps(stated)) for _ in range(2)]
    return f"new\n{turns[0]}\nunchanged\n{turns[1]}"


def export(bench: Bench) -> str:
    """A table of a million rows into a Parquet file."""
    folder = finished_table(bench, bench.size(1_000_000, 5000), failed_each=100)
    return _profiled(bench, "reelbatch", "export", str(folder / "out.parquet"), "--results", table_url(folder))


def uploads(bench: Bench) -> str:
    """A thousand distinct images of 1 MB; without Prefect."""
    folder, count = bench.place("uploads"), bench.size(1000, 40)
    write_images(folder / "images", count)
    manifest = write_csv(folder / "rows.csv", count, lambda number: f"images/{number}.jpg")
    with raw_server() as server:
        options = {"base_url": server.url, "results": table_url(folder), "concurrency": 16}
        stated = {"manifest": str(manifest), "options": options}
        return _profiled(bench, "benchmarks.script", "generate", json.dumps(stated))


def settle(bench: Bench) -> str:
    """One pass over videos that render."""
    folder = rendering_table(bench, bench.size(50_000, 500))
    with raw_server() as server:
        server.reset()
        options = ("--results", table_url(folder), "--base-url", server.url, "--no-wait", "--json")
        waits = {"REELBATCH_POLL_CONCURRENCY": "16", "REELBATCH_POLL_INTERVAL_S": "3600"}
        return _profiled(bench, "reelbatch", "settle", *options, **bench.prefect.env, **waits)


PARTS: Mapping[str, Callable[[Bench], str]] = {
    part.__name__: part for part in (start, throughput, loading, export, uploads, settle)
}


def _imports(name: str, arguments: Sequence[str]) -> str:
    """Seconds of imports by package."""
    command = [sys.executable, "-X", "importtime", "-m", "reelbatch", *arguments]
    used = run_process(command, environment(), LONG_S, DONE)
    packages: Counter[str] = Counter()
    for line in used.err.splitlines():
        own, _, imported = (part.strip() for part in line.removeprefix("import time:").split("|"))
        if own.isdigit():
            packages[imported.split(".")[0]] += int(own)
    seconds = sum(packages.values()) / _US
    head = f"  {name}: {seconds:.2f} s of imports, {used.seconds:.2f} s in all"
    return "\n".join([head, *_lines({name: us / _US for name, us in packages.items()}, seconds)])


def _profiled(bench: Bench, name: str, *arguments: str, **env: str) -> str:
    """A module's threads, those that used most first."""
    target = bench.folder / "profile.json"
    used = run_process(module("benchmarks.profiled", str(target), name, *arguments), environment(**env), LONG_S, DONE)
    threads = json.loads(target.read_text(encoding="utf-8"))
    total = sum(thread["seconds"] for thread in threads)
    threads.sort(key=lambda thread: -thread["seconds"])
    parts = [f"  {total:.1f} s of processor time in {used.seconds:.1f} s"]
    for thread in threads[:_THREADS]:
        if thread["seconds"] >= _LEAST * total:
            parts += [_head(thread, total), *_lines(thread["areas"], thread["seconds"])]
    return "\n".join(parts)


def _head(thread: Mapping[str, Any], total: float) -> str:
    return f"  thread {thread['thread']}: {thread['seconds']:.1f} s, {thread['seconds'] / total:.0%}"


def _lines(areas: Mapping[str, float], total: float) -> list[str]:
    """The areas that used most, with their shares."""
    most = Counter(areas).most_common(_AREAS)
    return [f"    {seconds / total:5.1%}  {name}" for name, seconds in most]


def main() -> None:
    """Profile the parts that are named, or all of them."""
    names, quick = choose(PARTS, __doc__, "small sizes")
    texts = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="profile-", ignore_cleanup_errors=True)))
        for name in names:
            bench = Bench(quick, folder / name, RESULTS, stack)
            texts.append(f"{name}: {(PARTS[name].__doc__ or '').strip()}\n{PARTS[name](bench)}\n")
            say(texts[-1])
    if not quick and set(names) == set(PARTS):
        about = machine()
        head = (
            f"{about['date']}, {about['cores']} cores, Python {about['python']}, yardstick {about['yardstick_s']} s"
        )
        _TARGET.write_text("\n".join([f"{head}; python -m benchmarks.profiles\n", *texts]), encoding="utf-8")


if __name__ == "__main__":
    main()
