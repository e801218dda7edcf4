"""Peers that handle files: bare httpx streams, and a bare loop of csv, sha256 and SQLite.

python -m benchmarks.peers_files NAME JSON
"""

from __future__ import annotations

import asyncio
import csv
import hashlib
import json
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import closing
from itertools import cycle, islice
from math import ceil
from pathlib import Path
from typing import Any

_SMALL = 8
_CHUNK = 1 << 20
_EXECUTE = 10_000


def httpx_streams(job: Mapping[str, Any]) -> None:
    """Every file of a folder to an address of its own, `in_flight` at a time, streamed; no checksum, no table."""
    import httpx

    files = sorted(Path(job["files"]).iterdir())

    async def main() -> None:
        limits = httpx.Limits(max_connections=_SMALL, max_keepalive_connections=_SMALL)
        context = httpx.create_ssl_context()
        options: dict[str, Any] = {"limits": limits, "timeout": 60, "verify": context, "trust_env": False}
        clients = [httpx.AsyncClient(**options) for _ in range(ceil(job["in_flight"] / _SMALL))]
        turn, left = cycle(clients), iter(files)

        async def work() -> None:
            for path in left:
                headers = {"Content-Length": str(path.stat().st_size)}
                url = f"{job['url']}/storage/api-assets/bench/{path.name}"
                (await next(turn).put(url, content=_chunks(path), headers=headers)).raise_for_status()

        await asyncio.gather(*(work() for _ in range(job["in_flight"])))

    asyncio.run(main())


async def _chunks(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:  # from the page cache; a thread would only cost
        while chunk := file.read(_CHUNK):
            yield chunk


def csv_sqlite(job: Mapping[str, Any]) -> None:
    """Read, hash, insert: no check of any value, no comparison with what is there."""
    file = Path(job["manifest"]).open(encoding="utf-8", newline="")  # noqa: SIM115 - closed with the table
    with file, closing(sqlite3.connect(job["table"])) as table:
        table.execute("PRAGMA journal_mode=WAL")
        table.execute(
            "CREATE TABLE rows (row_key TEXT PRIMARY KEY, image TEXT, prompt TEXT, seconds REAL, resolution TEXT,"
            " model TEXT, fingerprint TEXT)"
        )
        hashed = _hashed(csv.reader(file))
        while some := list(islice(hashed, _EXECUTE)):
            table.executemany("INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?, ?)", some)
            table.commit()


def _hashed(rows: Iterator[list[str]]) -> Iterator[list[str]]:
    next(rows)
    for row in rows:
        yield [*row, hashlib.sha256("\0".join(row).encode()).hexdigest()]


PEERS: Mapping[str, Callable[[Mapping[str, Any]], None]] = {"httpx_streams": httpx_streams, "csv_sqlite": csv_sqlite}

if __name__ == "__main__":
    PEERS[sys.argv[1]](json.loads(sys.argv[2]))
