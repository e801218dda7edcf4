"""A thousand distinct images of 1 MB, beside bare httpx streams of the same files."""

from __future__ import annotations

from pathlib import Path

from benchmarks.figures import Bench, Found, at_least, middle, plain
from benchmarks.processes import Usage, run_peer, run_script, table_url
from benchmarks.rows import write_csv, write_images
from benchmarks.serving import Server, raw_server

IN_FLIGHT = 16  # Reelbatch's uploads at once
_TURNS = 7  # they are short, and the bare one differs most from turn to turn


def run(bench: Bench) -> Found:
    """By turns; the rate is the server's, from the first call to the last byte. The first turn warms up."""
    rows, folder = bench.size(1000, 60), bench.place("uploads")
    size = write_images(folder / "images", rows)
    manifest = write_csv(folder / "rows.csv", rows, lambda number: f"images/{number}.jpg")
    ours, theirs = [], []
    with raw_server() as server:
        for _ in range(1 + bench.size(_TURNS, 1)):
            server.reset()
            ours.append(_told(server, _generate(server, manifest, bench.place("uploads"))))
            server.reset()
            job = {"rows": rows, "in_flight": IN_FLIGHT, "uploads": str(folder / "images")}
            theirs.append(_told(server, run_peer("httpx_small_pools", url=server.url, **job)))
    ourselves, bare = middle(ours[1:]), middle(theirs[1:])
    lines = [{"who": "reelbatch.generate", **ourselves}, {"who": "httpx streams, bare", **bare}]
    note = "checksums, checks of the images, upload addresses, table and creates included"
    share = ourselves["images/s"] / bare["images/s"]
    figures = [
        at_least("images per second: share of bare httpx streams", share, 0.8, "", note),
        plain("images per second", ourselves["images/s"], "images/s"),
    ]
    return Found(figures, {"bytes": size, "uploads": lines})


def _generate(server: Server, manifest: Path, folder: Path) -> Usage:
    return run_script("generate", manifest, base_url=server.url, results=table_url(folder), concurrency=IN_FLIGHT)


def _told(server: Server, used: Usage) -> dict[str, float]:
    calls = server.books()["calls"]
    count, _, last = calls["put"]
    return {"images/s": count / (last - min(first for _, first, _ in calls.values())), **used.spent}
