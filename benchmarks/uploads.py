"""Goal 5: a thousand distinct images of 1 MB, beside bare httpx streams of the same files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.figures import Bench, Found, at_least, median, plain, say, show
from benchmarks.processes import environment, module, run_process
from benchmarks.product import LONG_S, run_script, table_url
from benchmarks.rows import write_csv, write_images
from benchmarks.serving import Server, raw_server

IN_FLIGHT = 16  # Reelbatch's uploads at once
_TURNS = 7  # they are short, and the bare one differs most from turn to turn


def run(bench: Bench) -> Found:
    """By turns; the rate is the server's, from the first call to the last byte of an image."""
    count = bench.size(1000, 60)
    folder = bench.place("uploads")
    say(f"making {count:,} images …")
    size = write_images(folder / "images", count)
    manifest = write_csv(folder / "rows.csv", count, lambda number: f"images/{number}.jpg")
    ours, theirs = [], []
    with raw_server() as server:
        for turn in range(1 + bench.size(_TURNS, 0)):  # the first turn warms up
            ours.append(_ours(server, manifest, bench.place(f"uploads/{turn}")))
            theirs.append(_theirs(server, folder / "images"))
    first = 0 if bench.quick else 1
    lines = [_line("reelbatch.generate", ours[first:], size), _line("httpx streams, bare", theirs[first:], size)]
    show(f"{count:,} images of {size / 1e6:.2f} MB", lines)
    share = lines[0]["images/s"] / lines[1]["images/s"]
    note = "checksums, checks of the images, upload addresses, table and creates included"
    figures = [
        at_least("images per second: share of bare httpx streams", share, 0.8, "", note),
        plain("images per second", lines[0]["images/s"], "images/s"),
    ]
    return Found(figures, {"bytes": size, "uploads": lines})


def _ours(server: Server, manifest: Path, folder: Path) -> dict[str, float]:
    server.reset()
    used = run_script("generate", manifest, base_url=server.url, results=table_url(folder), concurrency=IN_FLIGHT)
    return _told(server.books(), used.seconds, used.cpu_s, used.peak_mb)


def _theirs(server: Server, files: Path) -> dict[str, float]:
    server.reset()
    job = json.dumps({"url": server.url, "files": str(files), "in_flight": IN_FLIGHT})
    used = run_process(module("benchmarks.peers_files", "httpx_streams", job), environment(), LONG_S)
    return _told(server.books(), used.seconds, used.cpu_s, used.peak_mb)


def _told(books: dict[str, Any], seconds: float, cpu_s: float, peak_mb: float) -> dict[str, float]:
    calls = books["calls"]
    first = min(call["first"] for call in calls.values())
    rate = calls["put"]["count"] / (calls["put"]["last"] - first)
    return {"rate": rate, "seconds": seconds, "cpu_s": cpu_s, "peak_mb": peak_mb}


def _line(name: str, runs: list[dict[str, float]], size: int) -> dict[str, Any]:
    middle = {key: median(run[key] for run in runs) or 0.0 for key in runs[0]}
    return {
        "who": name,
        "images/s": round(middle["rate"], 1),
        "MB/s": round(middle["rate"] * size / 1e6, 1),
        "wall s": round(middle["seconds"], 1),
        "CPU s": round(middle["cpu_s"], 1),
        "peak MiB": round(max(run["peak_mb"] for run in runs)),
    }
