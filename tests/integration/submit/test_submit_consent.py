"""What someone said yes to binds the run; and what is announced is what is sent."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from bench import PRICE, URL, Answer, Arrival, Bench, draw, scripted
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from waiting import wait_until

import reelbatch
from reelbatch.domain import Batch
from reelbatch.ledger import Ledger, orders
from reelbatch.pipeline.load_manifest import load
from reelbatch.pipeline.plan import GenerateOptions, Plan, plan
from reelbatch.pipeline.rerun import RerunPlan
from reelbatch.pipeline.row_options import send_options
from reelbatch.pipeline.run_listener import Agreement, NotAgreed, RunListener, listening
from reelbatch.pipeline.run_summary import RunReport
from reelbatch.settings import load_settings

SPRING = "spring"


def rendered(video_id: str) -> Answer:
    """What the API knows of a video that is finished: a pilot waits for those of its sample."""
    return Answer(200, {"id": video_id, "status": "complete", "credits_charged": PRICE})


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """An API that takes everything."""
    with scripted(lambda _: Answer()) as api:
        api.known = rendered
        yield Bench(tmp_path, api.url, batch=SPRING)


class _Asked(RunListener):
    def __init__(self, answer: Callable[[Plan | RerunPlan], Agreement]) -> None:
        self._answer = answer

    def asked(self, plan: Plan | RerunPlan) -> Agreement:
        """Before the run binds it."""
        return self._answer(plan)


@contextmanager
def asking(answer: Callable[[Plan | RerunPlan], Agreement]) -> Iterator[None]:
    """Runs within it ask someone who answers so."""
    token = listening.set(_Asked(answer))
    try:
        yield
    finally:
        listening.reset(token)


def test_a_run_that_would_send_more_than_was_agreed_sends_nothing(bench: Bench) -> None:
    """The manifest grew while someone thought about it, and there is no one to ask again."""
    shown: list[int] = []

    def refuse(made: Plan | RerunPlan) -> Agreement:
        shown.append(made.send)
        raise NotAgreed("3 rows were said yes to", asked=False)

    with asking(refuse):
        report = bench.generate(bench.rows(12))
    assert (report.exit_reason, report.exit_code, report.sent) == ("not_agreed", 3, 0)
    assert shown == [12]
    assert bench.table() == []


def test_an_order_is_not_placed_without_a_yes(bench: Bench) -> None:
    """What was refused leaves nothing behind that a later command would go on with."""
    bench.generate(bench.rows(2))
    _settle(bench)

    def refuse(made: Plan | RerunPlan) -> Agreement:
        raise NotAgreed("no", asked=True)

    with asking(refuse):
        report = bench.generate(bench.rows(2), regenerate="all")
    assert (report.exit_reason, report.exit_code) == ("declined", 0)
    with Ledger(bench.results) as ledger:
        assert ledger.read(lambda connection: orders.open_order(connection, Batch(SPRING))) is None


def test_rows_that_another_worker_adds_are_not_sent_by_a_run_that_was_allowed_fewer(bench: Bench) -> None:
    """The number that was said yes to bounds the run, whatever the table holds by then."""
    with asking(lambda _: Agreement(rows=2, credits_estimated=10_000, unknown_rate=0)):
        report = bench.generate(bench.rows(5))
    assert (report.sent, bench.states()) == (2, {"queued": 2, "pending": 3})


FIRST = [f"{SPRING}-001"]


@pytest.mark.parametrize("which", [{"rows": FIRST}, {"limit": 1}, {"rows": FIRST, "limit": 1}])
def test_a_rerun_sends_the_rows_that_were_said_yes_to(bench: Bench, which: dict[str, Any]) -> None:
    """Not those that an earlier rerun left over: of another price, and not named."""
    with scripted(lambda arrival: Answer() if arrival.number > 3 else Answer(422, {"message": "no"})) as api:
        bench.url = api.url
        bench.generate(bench.rows(3, resolution=["480p", "1080p", "1080p"]))
        left = reelbatch.rerun(SPRING, rows=[f"{SPRING}-002", f"{SPRING}-003"], **bench.settings(max_credits=10))
        assert (left.sent, left.pilot, bench.states()) == (0, None, {"rejected": 1, "pending": 2})
        shown = reelbatch.rerun(SPRING, dry_run=True, **which, **bench.settings())
        assert (shown.send, shown.credits_estimated) == (1, PRICE)
        report = reelbatch.rerun(SPRING, **which, **bench.settings())
        assert (report.sent, [row["state"] for row in bench.table()]) == (1, ["queued", "pending", "pending"])
        for queued in (2, 3):
            assert reelbatch.rerun(SPRING, limit=1, **bench.settings()).sent == 1
            assert bench.states()["queued"] == queued


def _read_again(bench: Bench, manifest: pd.DataFrame, rows: int = 1, **stated: Any) -> None:
    """What another worker does first, here with more rows on top: all others have other numbers then."""
    new = bench.rows(rows, **stated).assign(row_key=[f"new-{n}" for n in range(rows)], prompt="New")
    grown = pd.concat([new, manifest], ignore_index=True)
    with Ledger(bench.results) as other:
        load(GenerateOptions(source=grown, batch=SPRING), load_settings(options=bench.settings()), other)


@pytest.mark.parametrize("which", [{"rows": [f"{SPRING}-002"]}, {"rows": [f"{SPRING}-002"], "limit": 1}])
def test_a_rerun_sends_the_rows_that_were_named_wherever_they_move(bench: Bench, which: dict[str, Any]) -> None:
    """Another worker reads a longer manifest while the question is open: another row has the number then."""
    with scripted(lambda arrival: Answer() if arrival.number > 2 else Answer(422, {"message": "no"})) as api:
        bench.url = api.url
        manifest = bench.rows(2, prompt=["one", "two"])
        bench.generate(manifest)
        reelbatch.rerun(SPRING, rows=FIRST, **bench.settings(max_credits=10))  # stays, asked for

        def meanwhile(made: Plan | RerunPlan) -> Agreement:
            _read_again(bench, manifest)
            return Agreement.to(made)

        with asking(meanwhile):
            report = reelbatch.rerun(SPRING, **which, **bench.settings())
        assert report.sent == 1
        states = {row["row_key"]: row["state"] for row in bench.table()}
        assert states == {"new-0": "pending", f"{SPRING}-001": "pending", f"{SPRING}-002": "queued"}


def test_a_pilot_sends_its_sample_wherever_the_rows_move(bench: Bench) -> None:
    """Another worker reads a longer manifest while the pilot is at work."""
    manifest = bench.rows(8, prompt=[f"Pan {number}" for number in range(8)])

    def script(arrival: Arrival) -> Answer:
        if arrival.number == 2:
            _read_again(bench, manifest)
        return Answer()

    with scripted(script) as api:
        bench.url, api.known = api.url, rendered
        report = bench.generate(manifest, pilot=3, concurrency=1, poll_interval_s=0.05)
        assert report.sent == len(api.arrivals) == 3


def test_a_yes_to_a_pilot_is_one_to_its_sample(bench: Bench) -> None:
    """Not to what all rows cost; nothing of it is left where the sample was sent."""
    manifest = bench.rows(8, prompt=[f"Pan {number}" for number in range(8)])
    agreed: list[Agreement] = []

    def agree(made: Plan | RerunPlan) -> Agreement:
        agreed.append(Agreement.to(made))
        return agreed[-1]

    with asking(agree):
        assert bench.generate(manifest, poll_interval_s=0.05, pilot=3).sent == 3
        assert bench.generate(manifest, poll_interval_s=0.05, pilot=4).sent == 1
        assert bench.generate(manifest, poll_interval_s=0.05, pilot=4).sent == 0
    assert [(yes.rows, yes.credits_estimated) for yes in agreed] == [(3, 3 * PRICE), (1, PRICE), (0, 0)]


def test_the_question_of_a_pilot_is_about_the_funds_for_its_sample(bench: Bench) -> None:
    """As the run has it: what it costs at most, and how far cap and balance reach."""
    manifest = bench.rows(8, prompt=[f"Pan {number}" for number in range(8)])
    options = GenerateOptions(source=manifest, batch=SPRING, send=send_options(pilot=3))
    for cap, covered in ((200, 3), (100, 2)):
        funds = plan(options, load_settings(options=bench.settings(max_credits=cap)), asks_account=True).funds
        assert funds is not None
        assert funds.cap_reach is not None
        assert (funds.at_most, funds.cap_reach.rows, funds.cap_reach.of) == (covered * PRICE, covered, 3)


@pytest.mark.parametrize("which", [{"limit": 2}, {"pilot": 2}])
def test_a_yes_to_fewer_rows_holds_where_another_worker_sends_the_whole_manifest(
    bench: Bench, which: dict[str, int]
) -> None:
    """It has read the same file without a limit and is at work: its plan is not what this run sends."""
    file = bench.folder / "spring.csv"
    bench.rows(12, prompt=[f"Pan {number}" for number in range(12)]).to_csv(file, index=False)
    joined: list[RunReport] = []

    def agree(made: Plan | RerunPlan) -> Agreement:
        if not Agreement(rows=2, credits_estimated=2 * PRICE, unknown_rate=0).covers(made):
            raise NotAgreed(f"{made.send} rows", asked=False)
        return Agreement.to(made)  # one row of a sample may be under way

    def join() -> None:
        with asking(agree):
            joined.append(bench.generate(file, poll_interval_s=0.05, **which))

    other = threading.Thread(target=join)

    def script(arrival: Arrival) -> Answer:
        if arrival.number == 1:
            other.start()
        return Answer(delay_s=0 if joined else 0.3)

    with scripted(script) as api:
        bench.url, api.known = api.url, rendered
        sent = bench.generate(file, concurrency=1).sent
        other.join()
    assert (joined[0].exit_reason, sent + joined[0].sent) == ("done", 12)


@pytest.mark.parametrize(("which", "rows", "beyond"), [({}, 11, 0), ({"limit": 4}, 4, 7), ({"pilot": 3}, 3, 0)])
def test_a_run_that_joins_one_with_a_limit_announces_what_it_sends_itself(
    bench: Bench, which: dict[str, int], rows: int, beyond: int
) -> None:
    """The other has read the same file and sends its one row; its plan is of that."""
    file = bench.folder / "spring.csv"
    bench.rows(12, prompt=[f"Pan {number}" for number in range(12)]).to_csv(file, index=False)
    plans: list[Plan] = []
    reports: list[RunReport] = []

    def agree(made: Plan | RerunPlan) -> Agreement:
        assert isinstance(made, Plan)
        plans.append(made)
        return Agreement.to(made)

    def join() -> None:
        with asking(agree):
            reports.append(bench.generate(file, poll_interval_s=0.05, dollars_per_credit=0.01, **which))

    other = threading.Thread(target=join)

    def script(arrival: Arrival) -> Answer:
        if arrival.number == 1:
            other.start()
            wait_until(lambda: plans, "the other run has a plan")
        return Answer()

    with scripted(script) as api:
        bench.url, api.known = api.url, rendered
        assert bench.generate(file, concurrency=1, limit=1).sent == 1
        other.join()
    (made,) = plans
    assert (made.joined, made.announced.rows, made.announced.credits) == (True, rows, rows * PRICE)
    assert (reports[0].sent, made.beyond_limit) == (rows, beyond)
    assert [(model.rows, model.credits) for model in made.by_model] == [(made.send, made.send * PRICE)]
    assert made.dollars == round(made.send * PRICE / 100, 2)


@pytest.mark.parametrize("model", ["ltx-2.3", "brand-new"])
def test_rows_that_cost_more_than_was_said_yes_to_end_the_run(bench: Bench, model: str) -> None:
    """Another worker reads them into the table meanwhile; the yes binds credits, and not only rows."""
    manifest = bench.rows(60, prompt=[f"Pan {number}" for number in range(60)])

    def script(arrival: Arrival) -> Answer:
        if arrival.number == 1:
            _read_again(bench, manifest, 12, end_seconds=20, model=model)
        return Answer()

    with scripted(script) as api, asking(Agreement.to):
        bench.url = api.url
        report = bench.generate(manifest, concurrency=1)
        assert (report.exit_reason, report.exit_code) == ("not_agreed", 3)
        sent = [row["credits_estimated"] for row in bench.table() if row["state"] == "queued"]
        assert 0 < len(sent) < 60
        assert None not in sent
        assert sum(sent) <= 60 * PRICE
        assert bench.generate(manifest, concurrency=1).exit_reason == "done"
        assert {row["state"] for row in bench.table() if row["row_key"].startswith(SPRING)} == {"queued"}


@pytest.mark.parametrize("limit", [None, 2])
def test_a_row_that_only_another_machine_can_send_uses_up_no_yes(
    bench: Bench, tmp_path: Path, limit: int | None
) -> None:
    """It waits in the table, dear and first; here the plan counts it as invalid, and no yes or limit is for it."""
    image = draw(tmp_path / "a.png")
    manifest = bench.rows(3, end_seconds=[10, 2, 2], prompt=["a", "b", "c"], image_path=[str(image), URL, URL])
    with Ledger(bench.results) as there:
        load(GenerateOptions(source=manifest, batch=SPRING), load_settings(options=bench.settings()), there)
    image.rename(tmp_path / "elsewhere.png")
    with asking(Agreement.to):
        report = bench.generate(manifest, limit=limit)
    assert (report.exit_reason, report.sent) == ("done", 2)
    assert [row["state"] for row in bench.table()] == ["pending", "queued", "queued"]
    image = (tmp_path / "elsewhere.png").rename(image)
    with asking(Agreement.to):
        assert bench.generate(manifest, limit=limit).sent == 1


@pytest.mark.parametrize(
    ("columns", "ends"), [({"end_seconds": [10, 2]}, "cap"), ({"model": ["brand-new", "ltx-2.3"]}, "done")]
)
def test_a_row_that_is_refused_uses_up_no_yes(bench: Bench, columns: dict[str, Any], ends: str) -> None:
    """The yes is to the row that goes in its place, and no more may be spent."""
    manifest = bench.rows(2, prompt=["a", "b"], **columns)
    agreed: list[Agreement] = []

    def agree(made: Plan | RerunPlan) -> Agreement:
        agreed.append(Agreement.to(made))
        return agreed[0]

    with asking(agree):
        report = bench.generate(manifest, limit=1, max_credits=PRICE)
    assert agreed == [Agreement(rows=1, credits_estimated=PRICE, unknown_rate=0)]
    assert (report.sent, report.exit_reason) == (1, ends)


@pytest.mark.parametrize("concurrency", [1, 8])
@pytest.mark.parametrize(
    ("seconds", "cap", "announced", "sent"),
    [([4, 4, 2, 2], 6, (2, 6), [1, 3]), ([4, 6, 4, 2], 10, (3, 14), [1, 2])],  # the third finds no room, and is named
)
def test_what_is_announced_under_a_cap_and_a_limit_is_what_is_sent(  # noqa: PLR0913, PLR0917 - cases
    bench: Bench, seconds: list[int], cap: int, announced: tuple[int, int], sent: list[int], concurrency: int
) -> None:
    """A row that finds no room beside the ones before it gives its place to a smaller one."""
    second = PRICE // 2
    manifest = bench.rows(len(seconds), prompt=[f"Pan {n}" for n in range(len(seconds))], end_seconds=seconds)
    settings = {"max_credits": cap * second, "limit": announced[0], "concurrency": concurrency}
    agreed: list[Agreement] = []

    def agree(made: Plan | RerunPlan) -> Agreement:
        agreed.append(Agreement.to(made))
        return agreed[0]

    with asking(agree):
        report = bench.generate(manifest, **settings)
    went = [row["row_number"] for row in bench.table() if row["state"] != "pending"]
    assert (went, report.credits_charged) == (sent, sum(seconds[number - 1] for number in sent) * second)
    assert (agreed[0].rows, agreed[0].credits_estimated) == (announced[0], announced[1] * second)
    assert report.exit_reason == "cap"


@pytest.mark.parametrize(
    ("rows", "credits_", "unknown", "covered"),
    [(2, 96, 0, True), (1, 48, 0, True), (3, 96, 0, False), (2, 97, 0, False), (2, 96, 1, False)],
)
def test_a_yes_covers_no_more_rows_and_no_more_credits(rows: int, credits_: int, unknown: int, covered: bool) -> None:
    """A dearer row in place of a cheap one is asked about as well."""
    common = {"batch": Batch(SPRING), "by_failure": [], "left_alone": []}
    made = RerunPlan(send=rows, credits_estimated=credits_, unknown_rate=unknown, **common)
    assert Agreement(rows=2, credits_estimated=96, unknown_rate=0).covers(made) is covered


def _settle(bench: Bench) -> None:
    from sqlalchemy import update

    from reelbatch.ledger.schema import generations

    done = update(generations).where(generations.c.state == "queued").values(state="complete")
    with Ledger(bench.results) as ledger:
        ledger.change(lambda connection: connection.execute(done))


STEPS = st.lists(
    st.tuples(
        st.integers(0, 4),  # rows of the manifest
        st.sampled_from(["Slow pan", "Fast zoom"]),
        st.sampled_from(["none", "none", "changed", "all"]),
        st.sampled_from([None, None, 0, 1, 3]),  # limit
        st.sampled_from(["hold", "send"]),
        st.sampled_from([SPRING, "autumn"]),
        st.booleans(),  # settled afterwards
    ),
    min_size=2,
    max_size=6,
)


@given(steps=STEPS)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_a_plan_announces_is_what_the_run_sends(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, str, str, int | None, str, str, bool]]
) -> None:
    """Over manifests that grow, shrink and change, batches, orders and limits: as many rows, and those credits."""
    folder = tmp_path_factory.mktemp("steps")
    with scripted(lambda _: Answer()) as api:
        bench = Bench(folder, api.url, batch=SPRING)
        for count, prompt, regenerate, limit, repeats, batch, settled in steps:
            frame = bench.rows(4).head(count).assign(prompt=[f"{prompt} {n}" for n in range(count)])
            which = {"regenerate": regenerate, "limit": limit}
            options = GenerateOptions(source=frame, batch=batch, send=send_options(**which, repeats=repeats))
            stated = bench.settings(repeats=repeats)
            try:
                announced = plan(options, load_settings(options=stated))
            except reelbatch.errors.OrderOpen:
                continue
            before = len(api.arrivals)
            report = reelbatch.generate(frame, batch=batch, **which, **stated)
            assert len(api.arrivals) - before == report.sent == announced.send
            assert report.credits_charged >= 0
            if settled:
                _settle(bench)
