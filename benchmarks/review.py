"""The review page of a hundred thousand rows."""

from __future__ import annotations

from benchmarks.figures import Bench, Found, at_most, middle
from benchmarks.processes import run_script, table_url
from benchmarks.tables import finished_table


def run(bench: Bench) -> Found:
    """What a browser waits for as it opens; without the start of the command and without drawing."""
    table = table_url(finished_table(bench, bench.size(100_000, 2_000), failed_each=100))
    found = middle([run_script("review_page", None, results=table).answer["answer"] for _ in range(bench.repeats)])
    note = "the page, its side bar and the first rows"
    return Found([at_most(f"review page of {found['rows']:,.0f} rows", found["page_s"], 1.0, "s", note)], found)
