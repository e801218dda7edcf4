"""The table of models: what is accepted, what it costs, and what is not known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from reelbatch.domain import Request
from reelbatch.errors import SettingsError
from reelbatch.model_table import ModelTable, load_models

TABLE = load_models()


def _request(**fields: Any) -> Request:
    return Request("a.png", "Pan", 5.0)._replace(**fields)


def _columns(request: Request, **options: Any) -> list[str]:
    return [finding.column for finding in TABLE.check(request, **options)]


@pytest.mark.parametrize(
    ("fields", "accepted"),
    [
        ({"model": "kling-2.6", "end_seconds": 5.0}, True),
        ({"model": "kling-2.6", "end_seconds": 6.0}, False),
        ({"model": "kling-2.6", "end_seconds": 5.5}, False),
        ({"model": "wan-2.2", "end_seconds": 15.0}, True),
        ({"model": "wan-2.2", "end_seconds": 11.0}, False),
        ({"model": "veo3.1", "end_seconds": 56.0}, True),
        ({"model": "kling-3.0", "end_seconds": 15.0}, True),
        ({"model": "kling-3.0", "end_seconds": 16.0}, False),
        ({"model": "ltx-2", "end_seconds": 59.5}, True),
    ],
)
def test_durations_are_those_of_the_model(fields: Any, accepted: Any) -> None:
    """Ranges, single values, and nothing checked where nothing is known."""
    assert _columns(_request(**fields)) == ([] if accepted else ["end_seconds"])


@pytest.mark.parametrize("seconds", [0.0, 0.5, 61.0, -1.0, float("inf"), float("nan"), None])
def test_durations_outside_the_apis_range_are_found(seconds: Any) -> None:
    """Whatever the model, and only once."""
    for model in ("kling-3.0", "ltx-2"):
        assert _columns(_request(model=model, end_seconds=seconds)) == ["end_seconds"]


def test_everything_wrong_is_listed() -> None:
    """A bad duration does not hide a bad resolution."""
    request = _request(model="wan-2.2", end_seconds=99.0, resolution="4k", audio=True, end_image_path="b.png")
    assert _columns(request) == ["end_seconds", "resolution", "audio", "end_image_path"]


def test_end_images_are_checked() -> None:
    """None at all, only at some resolutions, only for short videos."""
    with_end = _request(end_image_path="b.png")
    assert _columns(with_end._replace(model="wan-2.2")) == ["end_image_path"]
    assert _columns(with_end._replace(model="kling-2.6", resolution="720p")) == ["end_image_path"]
    assert _columns(with_end._replace(model="kling-2.6", resolution="1080p")) == []
    assert _columns(with_end._replace(model="veo3.1", end_seconds=8.0)) == []
    assert _columns(with_end._replace(model="veo3.1", end_seconds=16.0)) == ["end_image_path"]


def test_an_unknown_model_is_a_warning() -> None:
    """The list of models grows: such rows are sent, their cost is unknown."""
    request = _request(model="nova-1")
    assert [(finding.column, finding.blocking) for finding in TABLE.check(request)] == [("model", False)]
    assert TABLE.estimate(request) is None
    assert TABLE.estimate(request, rate=7) == 35


@pytest.mark.parametrize(
    ("fields", "plan", "credits_"),
    [
        ({}, None, 240),
        ({}, "free", None),
        ({"model": "default"}, "pro", 240),
        ({"audio": True}, None, 360),
        ({"resolution": "4k", "audio": True}, None, 5 * 288),
        ({"model": "seedance-1.5", "audio": True}, None, 600),
        ({"model": "seedance-2.0", "audio": True}, None, 5 * 288),
        ({"model": "seedance-2.0", "resolution": "1080p"}, None, None),
        ({"model": "veo3.1-audio", "end_seconds": 4.0}, None, 480),
        ({"model": "wan-2.2", "resolution": "480p", "end_seconds": 3.0}, None, 72),
        ({"model": "minimax-h3", "resolution": "480p", "audio": True}, None, 120),
        ({"model": "minimax-h3", "resolution": "1080p", "end_seconds": 30.0}, None, 2160),
        ({"end_seconds": None}, None, None),
    ],
)
def test_estimates_follow_the_rates(fields: Any, plan: Any, credits_: Any) -> None:
    """Defaults of the plan, aliases, extra cost of audio; unknown stays unknown."""
    assert TABLE.estimate(_request(**fields), tier=plan) == credits_


@pytest.mark.parametrize(
    ("fields", "plan", "name", "credits_"),
    [
        ({}, "pro", "kling-3.0", 240),
        ({"resolution": "1080p", "audio": True}, None, "kling-3.0", 480),
        ({"resolution": "480p"}, "creator", "seedance-1.5", 150),
        ({"resolution": "480p", "audio": True}, "creator", "seedance-1.5", 300),
        ({"end_seconds": 15.0}, "pro", "kling-3.0", 720),
        ({"end_seconds": 20.0}, "pro", "ltx-2.3", 960),
        ({"resolution": "480p", "end_seconds": 20.0}, "business", "ltx-2.3", 480),
        ({}, "free", "ltx-2.5", None),
        ({"resolution": "720p", "end_seconds": 20.0}, "free", "ltx-2.5", None),
    ],
)
@pytest.mark.parametrize("model", [None, "default"])
def test_the_default_model_is_assumed_by_plan_resolution_and_length(
    model: str | None, fields: Any, plan: Any, name: str, credits_: Any
) -> None:
    """Estimated as the vendor says that it chooses, marked, and no mistake."""
    request = _request(model=model, **fields)
    resolved = TABLE.resolve(request, tier=plan)
    assert (resolved.name, resolved.assumed) == (name, True)
    assert TABLE.estimate(request, tier=plan) == credits_
    assert TABLE.check(request, tier=plan) == []


@pytest.mark.parametrize(
    ("fields", "plan", "columns"),
    [
        ({"end_seconds": 2.0}, "pro", ["end_seconds"]),
        ({"end_seconds": 17.0}, "pro", ["end_seconds"]),
        ({"resolution": "480p", "end_seconds": 3.0}, "pro", ["end_seconds"]),
        ({"resolution": "360p"}, "pro", ["resolution"]),
        ({"resolution": "4k", "end_seconds": 20.0}, "pro", ["resolution"]),
        ({"resolution": "4k"}, "free", ["resolution"]),
    ],
)
def test_what_the_assumed_model_does_not_make_is_a_warning(fields: Any, plan: Any, columns: list[str]) -> None:
    """Another one may be used: the row is sent, and its cost is unknown."""
    request = _request(**fields)
    findings = TABLE.check(request, tier=plan)
    assert [(finding.column, finding.blocking) for finding in findings] == [(column, False) for column in columns]
    assert "assumed" in findings[0].what
    assert TABLE.estimate(request, tier=plan) is None
    assert TABLE.estimate(request, tier=plan, rate=10) == 10 * (request.end_seconds or 0)


def test_a_model_that_is_named_is_not_assumed() -> None:
    """Nor is one behind an old name, or the older table."""
    assert not TABLE.resolve(_request(model="kling-3.0")).assumed
    assert not TABLE.resolve(_request(model="veo3.1-audio")).assumed
    assert not TABLE.resolve(_request(), profile="legacy").assumed


@pytest.mark.parametrize("seconds", [0.5, 61.0, None])
def test_the_apis_range_holds_for_the_default_model_too(seconds: Any) -> None:
    """Whichever model it is."""
    (finding,) = TABLE.check(_request(end_seconds=seconds))
    assert (finding.column, finding.blocking) == ("end_seconds", True)


@given(seconds=st.integers(10, 600), rate=st.integers(1, 1000))
def test_estimates_are_not_rounded_up_by_float_errors(seconds: Any, rate: Any) -> None:
    """100 credits for 1.1 seconds are 110, not 111."""
    request = _request(model="ltx-2", end_seconds=seconds / 10)
    assert TABLE.estimate(request, rate=rate) == -(-rate * seconds // 10)


def test_the_older_table() -> None:
    """Profile `legacy`: no models; 480p only 5 or 10 seconds, 1080p only on two plans."""
    request = _request(model="whatever", resolution="480p")
    assert TABLE.estimate(request, profile="legacy") == 120
    assert _columns(request._replace(end_seconds=6.0), profile="legacy") == ["end_seconds"]
    assert _columns(request._replace(resolution="720p", end_seconds=6.0), profile="legacy") == []
    assert _columns(request._replace(resolution="1080p"), profile="legacy", tier="creator") == ["resolution"]
    assert _columns(request._replace(resolution="1080p"), profile="legacy", tier="business") == []


def test_an_unknown_profile_is_an_error() -> None:
    """A typing error is named, with what there is."""
    with pytest.raises(SettingsError, match=r'no profile "legcy"\. Use legacy'):
        TABLE.check(_request(), profile="legcy")


def test_dollars_fall_in_bands() -> None:
    """The first 100,000 credits at full price, the next ones with a discount."""
    assert TABLE.dollars(100_000, per_credit=0.001) == pytest.approx(100)
    assert TABLE.dollars(200_000, per_credit=0.001) == pytest.approx(190)
    assert TABLE.dollars(0, per_credit=0.001) == 0


def test_every_entry_of_the_table_is_sound() -> None:
    """Aliases and defaults name models; rates name resolutions that the model has."""
    names = set(TABLE.models)
    assert {alias.model for alias in TABLE.aliases.values()} <= names
    default = TABLE.default_model
    assert {default.paid, default.free, default.paid_long.model, *default.paid_by_resolution.values()} <= names
    for model in [*TABLE.models.values(), *TABLE.profiles.values()]:
        assert {*model.rates, *model.audio_rates, *model.plans} <= set(model.resolutions)
        assert all(TABLE.min_seconds <= second <= TABLE.max_seconds for second in model.durations)
        assert model.audio != "extra" or model.audio_rates or model.audio_factor > 1


@pytest.mark.parametrize("content", [b"", b"[1", b"models: 3", b"\xff\xfe\xff"])
def test_a_broken_table_is_an_error(tmp_path: Path, content: Any) -> None:
    """The path and the reason are in the message."""
    path = tmp_path / "models.yaml"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=r"models\.yaml: the table of models can't be (read|used)"):
        load_models(path)


def test_a_bad_span_is_an_error() -> None:
    """Durations that can't be understood are found when the table is read, not in the middle of a run."""
    table = yaml.safe_load((Path(__file__).parents[2] / "configs" / "models.yaml").read_text(encoding="utf-8"))
    table["models"]["wan-2.2"]["seconds"] = ["3 to 10"]
    with pytest.raises(ValueError, match=r"wan-2\.2"):
        ModelTable.model_validate(table)


def test_a_missing_table_is_an_error(tmp_path: Path) -> None:
    """So is no table at all."""
    with pytest.raises(SettingsError, match="nope"):
        load_models(tmp_path / "nope.yaml")
