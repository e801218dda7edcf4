"""Everything that can go wrong, at once: every fault the sandbox knows, two workers at a time, three `kill -9`."""

import random
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from proof.histories import judge, read
from waiting import wait_until
from workplace import Workplace, check_books, working

from reelbatch.sandbox import RunningSandbox, start
from reelbatch.sandbox.faults import CREATE_KINDS, FAULTS, Ending, FaultKind

ROWS = 400
SEED = 20
HISTORY = "history.jsonl"
PICTURES = 30
HALTING = {
    kind for kind in CREATE_KINDS if FAULTS[kind].status in {401, 402}
}  # these end a run; test_crash.py has them
ODD_CHARGES = {kind for kind in CREATE_KINDS if FAULTS[kind].ending is Ending.ODD_CHARGE}  # the books can't agree
FREQUENT = [FaultKind.RATE_LIMITED, FaultKind.SERVER_ERROR, FaultKind.BAD_GATEWAY, FaultKind.UNAVAILABLE]
MAY_CHARGE = ["gateway_timeout", "request_timeout", "cloudflare_520", "cloudflare_522", "cloudflare_524"]
OTHER_CALLS = {
    "upload_url_fail": 0.1,
    "upload_url_rate_limited": 0.03,
    "upload_slow": 0.05,
    "upload_fail": 0.1,
    "upload_expired": 0.1,
    "get_fail": 0.02,
    "get_lost": 0.02,
}
IMPATIENT = {
    "REELBATCH_CONCURRENCY": "8",
    "REELBATCH_RETRY_WAIT_S": "0.05",
    "REELBATCH_RETRY_MAX_WAIT_S": "0.5",
    "REELBATCH_BAD_GATEWAY_WAIT_S": "0.1",
    "REELBATCH_REQUEST_TIMEOUT_S": "2",
    "REELBATCH_POLL_INTERVAL_S": "0.2",
    "REELBATCH_DOUBT_PROBE_WAIT_S": "0.5",
}


def fault_script() -> list[str | None]:
    """A fault or none for each create: every kind that ends no run three times or more, in an order drawn."""
    faults = 3 * sorted(CREATE_KINDS - HALTING - ODD_CHARGES) + 6 * FREQUENT
    script = [*map(str, faults), *[None] * (ROWS - 50 - len(faults))]
    random.Random(SEED).shuffle(script)
    return script


@pytest.fixture
def sandbox() -> Iterator[RunningSandbox]:
    """An API on its worst day."""
    faults = {
        "script": fault_script(),
        "share": OTHER_CALLS,
        "seed": SEED,
        "charge_anyway": MAY_CHARGE,
        "stall_seconds": 3,
        "slow_seconds": 0.2,
    }
    times = {"latency_ms": 60, "latency_jitter_ms": 60, "queue_seconds": 0.1, "render_seconds": 0.2}
    with start(faults=faults, render_video=False, render_error_share=0.05, seed=SEED, **times) as running:
        yield running


@pytest.fixture
def workplace(tmp_path: Path, sandbox: RunningSandbox, prefect_env: dict[str, str]) -> Iterator[Workplace]:
    """400 rows; every fourth has one of thirty local images, the others have URLs."""
    for number in range(PICTURES):
        Image.new("RGB", (64, 48), (8 * number, 90, 120)).save(tmp_path / f"{number}.png")
    with working(tmp_path, sandbox, {**prefect_env, **IMPATIENT}) as place:
        place.write_manifest(ROWS, lambda n: f"https://images.example.com/{n}.png" if n % 4 else f"{n // 4 % 30}.png")
        yield place


def kill_three_workers(workplace: Workplace, sandbox: RunningSandbox) -> list[int]:
    """Two workers at a time, three of them killed; returns the number of charges at each kill."""
    draw = random.Random(SEED)
    first, second, third = draw.randint(20, 80), draw.randint(100, 160), draw.randint(200, 260)

    def charged(count: int) -> None:
        wait_until(lambda: sandbox.books(summary=True)["creates"] >= count, f"{count} charges")

    history = str(workplace.folder / HISTORY)
    workers = [workplace.from_python(history=history), workplace.from_python(history=history)]
    charged(first)
    workers[0].kill()
    charged(second)
    workers[1].kill()
    commanded = workplace.generate("--concurrency", "4", "--history", history)
    wait_until(lambda: workplace.sent_by(commanded), "the command line sends rows")
    survivor = workplace.from_python(history=history)
    charged(third)
    commanded.kill(with_children=True)
    assert survivor.finish().code in {0, 1}
    return [first, second, third]


@pytest.mark.long
def test_nothing_is_paid_twice_and_nothing_is_lost(
    workplace: Workplace, sandbox: RunningSandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """After every fault, three kills and a last run, the books have each row once and the table has each id."""
    killed_at = kill_three_workers(workplace, sandbox)
    last = workplace.generate_from_wheel("--settle", "--history", str(workplace.folder / HISTORY)).finish()
    assert last.code == 1, last.err  # rows in doubt and rejected rows are left to people
    assert "Traceback" not in last.err
    books, charges, states = sandbox.books(summary=True), workplace.charges(), workplace.states()
    assert books["requests"]["create"] >= len(fault_script()), "not every fault was met"
    assert books["requests"]["create"] <= len(workplace.query("SELECT token FROM attempts"))
    assert books["double_charged"] == {}
    assert len(charges) == books["creates"]
    assert sum(states.values()) == ROWS
    assert set(states) == {"complete", "error", "rejected", "in_doubt"}
    check_books(workplace, charges)
    check_settled(workplace, charges)
    judgement = judge(read([workplace.folder / HISTORY]), charges)
    assert judgement.contradictions == []
    assert judgement.counts["killed"] == 3
    credits_ = workplace.status()["credits"]
    with capsys.disabled():
        sys.stdout.write(
            f"\nchaos: {ROWS} rows, {books['requests']['create']} creates, kills at {killed_at} charges: "
            f"{len(charges)} charged, 0 twice, {dict(states)}, "
            f"worst case {credits_['worst_case']} credits, books {books['net']}\n"
        )


def check_settled(workplace: Workplace, charges: list[dict[str, object]]) -> None:
    """What the table calls final is what the books kept."""
    final = {charge["video_id"]: charge["final"] for charge in charges}
    rows = workplace.query("SELECT video_id, state, credits_final FROM results WHERE video_id IS NOT NULL")
    assert all(row["credits_final"] == final[row["video_id"]] for row in rows)
    assert Counter(row["credits_final"] == 0 for row in rows)[True] == sum(row["state"] == "error" for row in rows)
