"""When a video is looked at, by how long others of its class took."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as some

from reelbatch.domain import Batch, RowKey, RowState, Token, VideoId
from reelbatch.ledger.due import Look, Rendered
from reelbatch.ledger.render_times import RenderClass
from reelbatch.settle.render_times import LONGEST_GAP, LookPlan, RenderTimes, look

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
SHORT = RenderClass("ltx-2.3", "480p", 5.0)
LONG = SHORT._replace(seconds=45.0)
INTERVAL_S = 0.4
SECONDS = some.floats(0.0, 600.0)


def video(age_s: float, of: RenderClass = SHORT, name: str = "a", **stated: object) -> Rendered:
    """A video that was created `age_s` before noon."""
    begun = NOON - timedelta(seconds=age_s)
    return Rendered(Batch("spring"), RowKey(name), VideoId(name), Token(f"rb_{name}"), RowState.QUEUED)._replace(
        submitted_at=begun, model=of.model, resolution=of.resolution, seconds=of.seconds, **stated
    )


def ages(plan: LookPlan, end_s: float) -> list[float]:
    """When a video is looked at whose render takes `end_s`, up to the look that finds it finished."""
    found = [plan.opens_s]
    while found[-1] < end_s:
        found.append(plan.after(found[-1]))
    return found


def planned(*seconds: float, interval_s: float = INTERVAL_S) -> LookPlan:
    """The plan after renders that took so long."""
    plan = LookPlan.of(seconds, interval_s)
    assert plan is not None
    return plan


@pytest.mark.parametrize(("end_s", "interval_s"), [(6.0, 0.4), (74.0, 5.0)])
def test_a_render_like_the_others_is_seen_at_once_with_a_third_of_the_questions(
    end_s: float, interval_s: float
) -> None:
    """The window's free place is noticed within an eighth of the poll interval."""
    looks = ages(planned(end_s, end_s, end_s, interval_s=interval_s), end_s)
    assert looks[-1] - end_s <= interval_s / 8
    assert len(looks) <= end_s / interval_s / 3


@given(some.lists(SECONDS, min_size=3, max_size=20), some.floats(0.05, 30.0), SECONDS)
def test_whatever_was_learned_no_video_is_asked_about_more_often_or_left_alone_for_long(
    seconds: list[float], interval_s: float, end_s: float
) -> None:
    """A video that takes far less or far more than its class, or a class of any spread."""
    looks = ages(planned(*seconds, interval_s=interval_s), end_s)
    assert len(looks) <= end_s / interval_s + 3
    assert looks[-1] - end_s <= LONGEST_GAP * interval_s
    assert all(later - earlier > 0 for earlier, later in pairwise(looks))


def test_a_class_of_which_little_is_known_is_looked_at_as_ever() -> None:
    """Two renders say nothing, nor do those of another class."""
    times = RenderTimes(INTERVAL_S)
    times.seed({SHORT: [6.0, 6.0], LONG: [6.0, 6.0, 6.0]})
    assert look(times.plans, video(0.0), NOON) is None
    assert times.soonest_s == INTERVAL_S


def test_a_video_that_can_t_be_finished_yet_is_put_off() -> None:
    """It is due when the first look may find something; from then on it is asked about."""
    times = RenderTimes(INTERVAL_S)
    times.seed({SHORT: [2.0] * 3})
    opens_s = times.plans[SHORT].opens_s
    assert look(times.plans, video(0.5), NOON) == Look(now=False, next_at=NOON + timedelta(seconds=opens_s - 0.5))
    found = look(times.plans, video(opens_s), NOON)
    assert found is not None
    assert (found.now, found.next_at < NOON + timedelta(seconds=INTERVAL_S)) == (True, True)


def test_a_video_of_which_the_api_says_odd_things_keeps_its_own_times() -> None:
    """It is looked at ever more rarely, whatever others of its class do."""
    times = RenderTimes(INTERVAL_S)
    times.seed({SHORT: [6.0] * 3})
    assert look(times.plans, video(0.5, waited_until=NOON), NOON) is None


def test_looks_come_earlier_until_they_find_videos_that_still_render() -> None:
    """The API got twice as fast: a look that finds the video finished does not pass for its end."""
    times = RenderTimes(INTERVAL_S)
    times.seed({SHORT: [12.0] * 3})
    for _ in range(40):
        seen = ages(times.plans[SHORT], 6.0)
        times.found(video(seen[-1]), NOON)
    assert len(seen) > 1
    assert 0 <= seen[-1] - 6.0 <= INTERVAL_S / 8 + 1e-6


def test_the_end_that_a_webhook_event_tells_is_learned() -> None:
    """Then no look of this settle finds it; a video is learned from once."""
    times = RenderTimes(INTERVAL_S)
    rows = [video(6.0, name=name) for name in "abc"]
    times.follow(rows)
    assert set(times.followed) == {row.token for row in rows}
    for _ in range(2):
        times.ended({row.token: NOON for row in rows if row.token})
    assert times.followed == ()
    assert times.plans[SHORT] == planned(6.0, 6.0, 6.0)


def test_no_more_than_some_videos_are_remembered() -> None:
    """A million may render at once."""
    times = RenderTimes(INTERVAL_S)
    times.follow(video(0.0, name=str(number)) for number in range(1000))
    assert len(times.followed) == 100
    assert "rb_999" in times.followed


def test_long_videos_are_looked_at_half_as_often() -> None:
    """As the vendor advises for those above 30 s."""
    times = RenderTimes(INTERVAL_S)
    times.seed({LONG: [60.0] * 3})
    assert times.plans[LONG].interval_s == 2 * INTERVAL_S
