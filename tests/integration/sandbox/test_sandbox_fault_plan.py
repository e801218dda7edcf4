"""Which call meets which fault: script, match, first, every, share."""

import pytest

from reelbatch.sandbox.config import FaultSettings
from reelbatch.sandbox.fault_plan import FaultPlan
from reelbatch.sandbox.faults import CREATE_KINDS, Call
from reelbatch.sandbox.prices import ChargeSays


def plan(**settings: object) -> FaultPlan:
    return FaultPlan(FaultSettings.model_validate(settings))


def creates(faults: FaultPlan, count: int) -> list[str | None]:
    return [faults.next(Call.CREATE) for _ in range(count)]


def test_a_script_names_the_fault_of_each_create() -> None:
    """The n-th create meets the n-th entry, null meets none, and after the script there are none."""
    faults = plan(script=[None, "lost_after", None, "bad_gateway"])
    assert creates(faults, 6) == [None, "lost_after", None, "bad_gateway", None, None]


def test_other_calls_do_not_use_up_the_script() -> None:
    """Uploads and status calls are counted apart from creates."""
    faults = plan(script=["lost_after"])
    assert [faults.next(call) for call in (Call.GET, Call.PUT, Call.UPLOAD_URLS)] == [None] * 3
    assert creates(faults, 1) == ["lost_after"]


def test_first_and_every_count_calls() -> None:
    """`first` hits the first n calls, `every` each n-th one."""
    faults = plan(first={"unavailable": 2}, every={"invalid": 3})
    assert creates(faults, 6) == ["unavailable", "unavailable", "invalid", None, None, "invalid"]


def test_match_looks_at_the_text() -> None:
    """Only calls whose name or prompt contains the text meet the fault."""
    faults = plan(match=[{"text": "shoe", "kind": "forbidden"}])
    texts = ["a red shoe", "a hat", "shoes"]
    assert [faults.next(Call.CREATE, text=text) for text in texts] == ["forbidden", None, "forbidden"]


def test_match_with_times_counts_each_row() -> None:
    """`times` is counted for each row by itself: every row is hit once, and its retry is not."""
    faults = plan(match=[{"text": "shoe", "kind": "lost_before", "times": 1}])
    rows = ["1", "2", "1", "2", "3"]
    found = [faults.next(Call.CREATE, text="shoe", key=row) for row in rows]
    assert found == ["lost_before", "lost_before", None, None, "lost_before"]


def test_the_first_rule_that_applies_wins() -> None:
    """Script goes before match, match before first, first before every, and every before share."""
    faults = plan(
        script=["invalid"],
        match=[{"text": "shoe", "kind": "forbidden", "times": 1}],
        first={"unavailable": 3},
        every={"bad_gateway": 4},
        share={"server_error": 1},
    )
    found = [faults.next(Call.CREATE, text="shoe", key="1") for _ in range(5)]
    assert found == ["invalid", "forbidden", "unavailable", "bad_gateway", "server_error"]


@pytest.mark.parametrize("seed", [0, 7])
def test_the_same_seed_gives_the_same_faults(seed: int) -> None:
    """Shares are drawn with the seed, so a run can be repeated."""
    shares = {"rate_limited": 0.2, "lost_after": 0.2}
    drawn = creates(plan(share=shares, seed=seed), 500)
    assert drawn == creates(plan(share=shares, seed=seed), 500)
    assert drawn != creates(plan(share=shares, seed=seed + 1), 500)
    assert all(60 <= drawn.count(kind) <= 140 for kind in shares)


def test_a_script_does_not_shift_the_draws() -> None:
    """A script in front of a share leaves the later draws as they were."""
    share = {"invalid": 0.5}
    scripted = creates(plan(share=share, script=["lost_after"] * 5), 50)
    assert scripted[5:] == creates(plan(share=share), 50)[5:]


def test_shares_of_all_and_none() -> None:
    """A share of one hits every call, a share of zero none."""
    assert set(creates(plan(share={"invalid": 1}), 50)) == {"invalid"}
    assert set(creates(plan(share={"invalid": 0}), 50)) == {None}


def test_what_is_charged() -> None:
    """Kinds say whether they charge; charge_anyway adds to them."""
    faults = plan(charge_anyway=["server_error"])
    charging = {kind for kind in CREATE_KINDS if faults.charges(kind)}
    after = {"lost_after", "reset_after", "stall_after", "garbled_json", "truncated_json", "no_id"}
    odd = {f"charge_{says}" for says in ChargeSays if says is not ChargeSays.CHARGED}
    assert charging == {*after, *odd, "server_error", "render_error"}
