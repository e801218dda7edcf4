"""A budget's periods begin and end at midnight where it says, and each moment is in one of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from reelbatch.domain import Budget
from reelbatch.errors import SettingsError
from reelbatch.pipeline.dollars import rate_of
from reelbatch.settings import load_settings

HOUR = timedelta(hours=1)


def at(text: str) -> datetime:
    """A time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "moment", "begins", "hours"),
    [
        ("Europe/Berlin", "2026-03-29T12:00", "2026-03-28T23:00", 23),  # clocks go forward
        ("Europe/Berlin", "2026-10-25T12:00", "2026-10-24T22:00", 25),  # and back
        ("America/Los_Angeles", "2026-11-27T07:59", "2026-11-26T08:00", 24),
        ("America/Los_Angeles", "2026-11-27T08:00", "2026-11-27T08:00", 24),
        ("America/Sao_Paulo", "2018-11-04T12:00", "2018-11-04T03:00", 23),  # a day without its first hour
        ("America/Havana", "2026-11-01T05:30", "2026-11-01T04:00", 25),  # a midnight that comes twice
        ("Asia/Kathmandu", "2026-11-26T18:15", "2026-11-26T18:15", 24),
    ],
)
def test_a_day_is_from_midnight_to_midnight_of_its_zone(zone: str, moment: str, begins: str, hours: int) -> None:
    """Also where clocks are turned that day."""
    period = Budget(1, "day", zone).period(at(moment))
    assert (period.starts_at, period.ends_at) == (at(begins), at(begins) + hours * HOUR)


def test_a_month_has_its_zones_edges_and_name() -> None:
    """In December the Pacific month ends eight hours after that of UTC."""
    budget = Budget(1, "month")
    period = budget.period(at("2027-01-01T07:59"))
    assert (period.starts_at, period.ends_at) == (at("2026-12-01T08:00"), at("2027-01-01T08:00"))
    assert (budget.name(period), budget.until(period)) == ("December 2026", "1 January")


@pytest.mark.parametrize("zone", ["America/St_Johns", "Pacific/Apia", "Africa/Cairo", "Antarctica/Troll", "UTC"])
@pytest.mark.parametrize("start", ["2006-10-28T20:00", "2011-12-29T00:00", "2026-04-23T12:00"])
def test_each_moment_is_in_one_period_and_the_next_one_follows(zone: str, start: str) -> None:
    """Over days that come twice, were left out or begin at one."""
    budget, moment = Budget(1, "day", zone), at(start)
    before = budget.period(moment)
    for _ in range(4 * 96):
        period = budget.period(moment)
        assert period.starts_at <= moment < period.ends_at
        assert period in {before, budget.period(before.ends_at)}
        assert period.starts_at in {before.starts_at, before.ends_at}
        before, moment = period, moment + HOUR / 4


@pytest.mark.parametrize(
    ("stated", "meant"),
    [
        ({"credits": 5, "per": "day"}, Budget(5, "day", "America/Los_Angeles")),
        ("1000/day@Europe/Berlin", Budget(1000, "day", "Europe/Berlin")),
        ("25_000 / month", Budget(25_000, "month", "America/Los_Angeles")),
        ('{"credits": 0, "per": "month", "timezone": "UTC"}', Budget(0, "month", "UTC")),
        ("", None),
    ],
)
def test_a_budget_is_a_mapping_or_a_line(
    stated: object, meant: Budget | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line is for the environment."""
    assert load_settings(options={"budget": stated}).budget == meant
    if isinstance(stated, str):
        monkeypatch.setenv("REELBATCH_BUDGET", stated)
        assert load_settings().budget == meant


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ({"credits": 5, "per": "week"}, 'per: "week": use day or month'),
        ({"credits": 5, "per": ["day"]}, "per: \"['day']\": use day or month"),
        ({"credits": "5", "per": "day"}, "no whole number"),
        ({"credits": True, "per": "day"}, "no whole number"),
        ({"per": "day"}, "no whole number"),
        ({"credits": -1, "per": "day"}, "no whole number"),
        ({"credits": 5, "per": "day", "zone": "UTC"}, 'has no "zone"'),
        ({"credits": 5, "per": "day", "timezone": "Mars/Olympus"}, "is no time zone"),
        ({"credits": 5, "per": "day", "timezone": "../../etc/passwd"}, "is no time zone"),
        ("a lot", "write it as 1000/day@Europe/Berlin"),
        ("{", "is no JSON"),
        ([5], "is no mapping"),
    ],
)
def test_a_budget_that_is_none_is_refused(stated: object, said: str) -> None:
    """With what is wrong and how it is written."""
    with pytest.raises(SettingsError, match="budget") as refused:
        load_settings(options={"budget": stated})
    assert said in str(refused.value)


def test_the_accounts_tier_counts_where_none_is_stated() -> None:
    """It sets no price in dollars: what a subscriber pays for a credit it does not say."""
    assert load_settings(options={"tier": "pro"}).of_account("creator").tier == "pro"
    of_account = load_settings().of_account("creator")
    assert (of_account.tier, rate_of(of_account)) == ("creator", None)
    assert rate_of(load_settings(options={"tier": "creator"})) is None
