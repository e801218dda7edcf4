"""What lost answers cost: Reelbatch and two usual ways around the vendor's client, against the same faults.

python -m benchmarks.double_charge [--rows 1000] [--seed 1]

Prints a Markdown table for each scenario and writes benchmarks/double_charge.json. Each tool gets a fresh sandbox
with the same seed, and a process of its own; what was charged is read from the sandbox's books.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.figures import Bench, Found, at_most
from reelbatch.sandbox import start

IN_FLIGHT = 16
RETRIES = 3
RETRY_WAIT_S = 0.1
CREDITS_A_ROW = 48
LATENCY_MS = 20
RESULT = Path(__file__).with_suffix(".json")
_SPAWN = multiprocessing.get_context("spawn")  # each tool imports only what it needs, with its own settings

SCENARIOS: Mapping[str, dict[str, Any]] = {
    "2.5 % of the answers lost after the charge; 1 % each of 429, 500, 503": {
        "faults": {"share": {"lost_after": 0.025, "rate_limited": 0.01, "server_error": 0.01, "unavailable": 0.01}}
    },
    "if the deprecated field `estimated_frame_cost` goes; every answer arrives": {"frame_cost_field": False},
}


class Job(NamedTuple):
    """What each tool is given."""

    url: str
    rows: int
    folder: str


class Kept(NamedTuple):
    """What a tool knows at its end."""

    ids: list[str]
    in_doubt: int = 0


@dataclass(frozen=True, slots=True)
class Measured:
    """One line of the table. Credits are integers."""

    tool: str
    rows: int
    charges: int
    rows_charged_twice: int  # or more often
    ids_lost: int  # charged videos whose id the tool does not have
    rows_in_doubt: int  # reported as such
    credits_overpaid: int
    seconds: float


def reelbatch_tool(job: Job) -> Kept:
    """The library as a script uses it."""
    import pandas as pd

    import reelbatch

    table = f"sqlite:///{job.folder}/results.db"
    settings = {"base_url": job.url, "results": table, "concurrency": IN_FLIGHT, "retry_wait_s": RETRY_WAIT_S}
    manifest = pd.DataFrame([{"row_key": row["name"], **_columns(row)} for row in _requests(job.rows)])
    report = reelbatch.generate(manifest, batch="benchmark", api_key="sandbox", **settings)
    ids = reelbatch.results(table)["video_id"].dropna()
    return Kept(list(ids), report.as_json()["in_doubt"])


def prefect_tool(job: Job) -> Kept:
    """One Prefect task for each row, with Prefect's retries, over the vendor's client."""
    os.environ.update(
        PREFECT_HOME=f"{job.folder}/prefect",
        PREFECT_LOGGING_LEVEL="CRITICAL",
        PREFECT_SERVER_LOGGING_LEVEL="CRITICAL",
        PREFECT_SERVER_ANALYTICS_ENABLED="false",
        PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS="120",
        DO_NOT_TRACK="1",
    )
    from prefect import flow, task
    from prefect.task_runners import ThreadPoolTaskRunner

    create = _vendor_create(job.url)

    @task(retries=RETRIES, retry_delay_seconds=RETRY_WAIT_S, persist_result=False)
    def send(request: dict[str, Any]) -> str:
        return create(request)

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=IN_FLIGHT), persist_result=False)
    def send_all() -> list[str]:
        futures = send.map(_requests(job.rows))
        answers = [future.result(raise_on_failure=False) for future in futures]
        return [answer for answer in answers if isinstance(answer, str)]

    return Kept(send_all())


def tenacity_tool(job: Job) -> Kept:
    """The vendor's client in threads, each call under tenacity."""
    from concurrent.futures import ThreadPoolExecutor

    from tenacity import Retrying, stop_after_attempt, wait_fixed

    create = _vendor_create(job.url)

    def send(request: dict[str, Any]) -> str | None:
        retrying = Retrying(
            stop=stop_after_attempt(1 + RETRIES), wait=wait_fixed(RETRY_WAIT_S), retry_error_callback=lambda _: None
        )
        return retrying(create, request)

    with ThreadPoolExecutor(IN_FLIGHT) as threads:
        return Kept([video_id for video_id in threads.map(send, _requests(job.rows)) if video_id])


TOOLS: Mapping[str, Callable[[Job], Kept]] = {
    "Reelbatch": reelbatch_tool,
    "a Prefect task for each row, `retries=3`, vendor's client": prefect_tool,
    "vendor's client under tenacity, 4 attempts": tenacity_tool,
}


def _requests(rows: int) -> list[dict[str, Any]]:
    return [
        {
            "name": f"row {number:05}",
            "assets": {"image_file_path": f"https://images.example.com/{number}.png"},
            "end_seconds": 2.0,
            "model": "ltx-2.3",
            "resolution": "480p",
            "style": {"prompt": "Slow pan"},
        }
        for number in range(rows)
    ]


def _columns(request: Mapping[str, Any]) -> dict[str, Any]:
    same = {name: request[name] for name in ("end_seconds", "model", "resolution")}
    return {"image_path": request["assets"]["image_file_path"], "prompt": request["style"]["prompt"], **same}


def _vendor_create(url: str) -> Callable[[dict[str, Any]], str]:
    import httpx
    from magic_hour import Client

    client = Client(token="sandbox", base_url=url, httpx_client=httpx.Client(timeout=30))  # noqa: S106 - the sandbox's

    def create(request: dict[str, Any]) -> str:
        return str(client.v1.image_to_video.create(**request).id)

    return create


def measure(tool: str, scenario: Mapping[str, Any], *, rows: int, seed: int) -> Measured:
    """One tool against its own sandbox."""
    faults = {**scenario.get("faults", {}), "seed": seed}
    account = {**scenario, "faults": faults, "latency_ms": LATENCY_MS, "seed": seed, "render_video": False}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, start(**account) as sandbox:
        started = time.monotonic()
        with ProcessPoolExecutor(1, mp_context=_SPAWN) as process:
            kept = process.submit(TOOLS[tool], Job(sandbox.url, rows, folder)).result()
        seconds = time.monotonic() - started
        charges = sandbox.books()["charges"]
    times = Counter(charge["row"] for charge in charges)
    return Measured(
        tool=tool,
        rows=rows,
        charges=len(charges),
        rows_charged_twice=sum(count > 1 for count in times.values()),
        ids_lost=len({charge["video_id"] for charge in charges} - set(kept.ids)),
        rows_in_doubt=kept.in_doubt,
        credits_overpaid=CREDITS_A_ROW * (len(charges) - len(times)),
        seconds=round(seconds, 1),
    )


_COLUMNS = {
    "tool": "tool",
    "rows": "rows",
    "charges": "charges",
    "rows charged twice or more": "rows_charged_twice",
    "ids lost": "ids_lost",
    "rows in doubt, reported": "rows_in_doubt",
    "credits overpaid": "credits_overpaid",
}


def _table(lines: list[Measured]) -> str:
    cells = [[getattr(line, name) for name in _COLUMNS.values()] for line in lines]
    texts = [[cell if isinstance(cell, str) else f"{cell:,}" for cell in row] for row in cells]
    body = [f"| {' | '.join(row)} |" for row in ([*_COLUMNS], ["---", *["---:"] * 6], *texts)]
    return "\n".join(body)


def run(bench: Bench) -> Found:
    """The part of `make bench`: every tool in every scenario."""
    found = _measure_all(rows=bench.size(1000, 60), seed=1)
    if not bench.quick:
        _write(found)
    ours = [line for lines in found["scenarios"].values() for line in lines if line["tool"] == next(iter(TOOLS))]
    figures = [
        at_most("rows charged twice", sum(line["rows_charged_twice"] for line in ours), 0, "rows"),
        at_most("credits overpaid", sum(line["credits_overpaid"] for line in ours), 0, "credits"),
    ]
    return Found(figures, found)


def main() -> None:
    """Measure every tool in every scenario."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    _write(_measure_all(rows=options.rows, seed=options.seed))


def _measure_all(*, rows: int, seed: int) -> dict[str, Any]:
    scenarios = {}
    for name, scenario in SCENARIOS.items():
        lines = [measure(tool, scenario, rows=rows, seed=seed) for tool in TOOLS]
        scenarios[name] = [asdict(line) for line in lines]
        print(f"\n{name}\n\n{_table(lines)}", flush=True)
    versions = {package: version(package) for package in ("magic_hour", "prefect", "tenacity")}
    return {"rows": rows, "seed": seed, "versions": versions, "scenarios": scenarios}


def _write(found: dict[str, Any]) -> None:
    RESULT.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
