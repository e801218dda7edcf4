"""Works that are timed without the start of Python: Reelbatch as a script uses it, without Prefect, and a bare loop.

python -m benchmarks.script WORK JSON     prints one JSON object; WORK is one of the functions below
"""

from __future__ import annotations

import csv
import hashlib
import json
import sqlite3
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

Stated = Mapping[str, Any]
_AT_ONCE = 10_000


def generate(manifest: str, options: Stated) -> Stated:
    """`reelbatch.generate(…)`."""
    import reelbatch

    return reelbatch.generate(manifest, **options).as_json()


def load(manifest: str, options: Stated) -> Stated:
    """The first step of it by itself: check every row, compare it with the table, store it."""
    from reelbatch.pipeline.load_manifest import load as load_manifest
    from reelbatch.pipeline.plan import GenerateOptions
    from reelbatch.pipeline.resources import opened_ledger
    from reelbatch.settings import load_settings

    settings = load_settings(options=options)
    with opened_ledger(settings) as ledger:
        return load_manifest(GenerateOptions(source=manifest), settings, ledger).as_json()


def bare_load(manifest: str, options: Stated) -> Stated:
    """Read, hash, insert: no check of any value, no comparison with what is there."""
    path = options["results"].removeprefix("sqlite:///")
    with Path(manifest).open(encoding="utf-8", newline="") as file, closing(sqlite3.connect(path)) as table:
        table.execute("PRAGMA journal_mode=WAL")
        table.execute(
            "CREATE TABLE rows (row_key TEXT PRIMARY KEY, image TEXT, prompt TEXT, seconds REAL, resolution TEXT,"
            " model TEXT, fingerprint TEXT)"
        )
        rows = csv.reader(file)
        next(rows)
        hashed = ([*row, hashlib.sha256("\0".join(row).encode()).hexdigest()] for row in rows)
        while some := list(islice(hashed, _AT_ONCE)):
            table.executemany("INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?, ?)", some)
            table.commit()
    return {}


def rerun_plan(_: str, options: Stated) -> Stated:
    """What `reelbatch rerun` shows before it asks."""
    from reelbatch.pipeline.rerun import RerunOptions, preview, selection
    from reelbatch.pipeline.resources import opened_ledger
    from reelbatch.settings import load_settings

    settings = load_settings(options=options)
    with opened_ledger(settings) as ledger:
        return {"send": preview(ledger, selection(RerunOptions(), ledger), settings).send}


def review_page(_: str, options: Stated) -> Stated:
    """What a browser asks for as it opens a review: page, side bar, first rows; `page_s` is of these alone."""
    from starlette.testclient import TestClient

    from reelbatch.domain import Batch
    from reelbatch.ledger import Ledger
    from reelbatch.review.access import Session
    from reelbatch.review.app import Reviewing, review_app

    session = Session()
    with Ledger(options["results"]) as ledger:
        app = review_app(Reviewing(ledger=ledger, batch=Batch("rows")), session)
        cookie = {"Cookie": session.cookie.partition(";")[0]}
        browser = TestClient(app, base_url="http://127.0.0.1", headers=cookie)
        began = time.perf_counter()
        answers = [browser.get(f"{session.path}/{address}") for address in ("", "summary", "cards")]
        return {"rows": answers[-1].json()["rows"], "page_s": time.perf_counter() - began}


def _timed(work: Callable[[str, Stated], Stated], stated: Stated) -> Stated:
    started, cpu = time.perf_counter(), time.process_time()
    answer = work(stated["manifest"], stated["options"])
    return {"seconds": time.perf_counter() - started, "cpu_s": time.process_time() - cpu, "answer": answer}


WORKS = {work.__name__: work for work in (generate, load, bare_load, rerun_plan, review_page)}

if __name__ == "__main__":
    print(json.dumps(_timed(WORKS[sys.argv[1]], json.loads(sys.argv[2])), default=str))
