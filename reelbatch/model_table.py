"""What each model accepts and what it costs: the table of configs/models.yaml, checked and asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache, cached_property
from importlib import resources
from math import ceil
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from reelbatch.domain import DEFAULT_MODEL, Request, Tier
from reelbatch.errors import SettingsError
from reelbatch.yaml_file import load_yaml

_WHAT = "the table of models"


class RequestIssue(NamedTuple):
    """Why a request does not fit its model. `blocking` False: a warning."""

    column: str
    value: str
    what: str
    remedy: str
    blocking: bool = True
    unseen: bool = False  # says something of this machine only: it can't see the image


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Band(_Frozen):
    """Up to `up_to` credits in a month, a credit costs `discount` less (0.1 = 10 %)."""

    up_to: int | None
    discount: float


class Model(_Frozen):
    """What one model accepts; empty fields mean that nothing is known, so nothing is checked."""

    seconds: tuple[int | Annotated[str, Field(pattern=r"^\d+(-\d+)?$")], ...] = ()
    seconds_by_resolution: dict[str, tuple[int, ...]] = Field(default_factory=dict)
    resolutions: tuple[str, ...] = ()
    end_image: Literal["all", "none"] | tuple[str, ...] = "all"
    end_image_max_seconds: int | None = None
    audio: Literal["no", "free", "extra"] | None = None
    aspect_ratios: tuple[str, ...] = ()
    plans: dict[str, tuple[Tier, ...]] = Field(default_factory=dict)
    fps: dict[str, int] = Field(default_factory=dict)
    rates: dict[str, int] = Field(default_factory=dict)  # credits per second of output
    audio_rates: dict[str, int] = Field(default_factory=dict)  # credits per second that audio adds
    audio_factor: int = 1
    old: bool = False

    @cached_property
    def durations(self) -> frozenset[int]:
        """All durations accepted, in whole seconds."""
        return frozenset(_spans(self.seconds))

    def rate(self, resolution: str, *, audio: bool) -> int | None:
        """Credits for one second of output, or None where the rate is not known."""
        rate = self.rates.get(resolution)
        if rate is None or not audio or self.audio != "extra":
            return rate
        if self.audio_factor != 1:
            return rate * self.audio_factor
        return rate + self.audio_rates[resolution] if resolution in self.audio_rates else None


class Alias(_Frozen):
    """An old name: another model, with audio or without."""

    model: str
    audio: bool


class ByTier(_Frozen):
    """A default that differs between paid plans and the free one."""

    paid: str
    free: str


class LongVideos(_Frozen):
    """The model that makes what is longer than `over_seconds`."""

    over_seconds: int
    model: str


class DefaultModel(ByTier):
    """The model that the API is assumed to use where a request names none."""

    paid_by_resolution: dict[str, str] = Field(default_factory=dict)
    paid_long: LongVideos

    def choose(self, kind: Literal["paid", "free"], resolution: str, seconds: float) -> str:
        """By tier, resolution and length in seconds; length counts before resolution."""
        if kind == "free":
            return self.free
        if seconds > self.paid_long.over_seconds:
            return self.paid_long.model
        return self.paid_by_resolution.get(resolution, self.paid)


class Resolved(NamedTuple):
    """A request's model, resolution and audio after defaults and aliases."""

    name: str
    model: Model | None  # None: not in the table
    resolution: str
    audio: bool
    assumed: bool = False  # the request names no model: the API may use another one


class ModelTable(_Frozen):
    """The whole file. Source: the vendor's public docs and SDK parameter docs, see docs/models.md."""

    default_model: DefaultModel
    default_resolution: ByTier
    min_seconds: int
    max_seconds: int
    dollars_per_credit: dict[Tier, float]
    dollar_bands: tuple[Band, ...]
    upload_limits: dict[Tier, int]
    render_windows: dict[Tier, int | None]
    models: dict[str, Model]
    profiles: dict[str, Model]
    aliases: dict[str, Alias]

    def resolve(self, request: Request, *, tier: Tier | None = None, profile: str | None = None) -> Resolved:
        """The model that the API will use for `request`, its resolution and whether audio is on."""
        kind: Literal["paid", "free"] = "free" if tier == "free" else "paid"
        name = request.model or DEFAULT_MODEL
        resolution = request.resolution or getattr(self.default_resolution, kind)
        audio = bool(request.audio)
        if profile:
            return Resolved(profile, self._profile(profile), resolution, audio)
        if name == DEFAULT_MODEL:
            name = self.default_model.choose(kind, resolution, request.end_seconds or 0.0)
            return Resolved(name, self.models.get(name), resolution, audio, assumed=True)
        if alias := self.aliases.get(name):
            name, audio = alias.model, audio or alias.audio
        return Resolved(name, self.models.get(name), resolution, audio)

    def _profile(self, name: str) -> Model:
        if name not in self.profiles:
            known = either(self.profiles)
            raise SettingsError(f'The table of models has no profile "{name}". Use {known}, or leave it out.')
        return self.profiles[name]

    def estimate(
        self,
        request: Request,
        *,
        tier: Tier | None = None,
        profile: str | None = None,
        rate: int | None = None,
    ) -> int | None:
        """Credits that `request` should cost, rounded up; None where the rate is not known.

        `rate` (credits per second) stands in for rates that the table does not know.
        """
        resolved = self.resolve(request, tier=tier, profile=profile)
        per_second = _rate(request, resolved, tier)
        per_second = rate if per_second is None else per_second
        if per_second is None or request.end_seconds is None:
            return None
        return ceil(round(per_second * request.end_seconds, 6))  # 100 * 1.1 is a little more than 110 in floats

    def check(self, request: Request, *, tier: Tier | None = None, profile: str | None = None) -> list[RequestIssue]:
        """Everything in `request` that its model does not accept, and warnings.

        What a model that is only assumed does not accept is a warning: the API may use another one.
        """
        resolved = self.resolve(request, tier=tier, profile=profile)
        findings = (
            [_unknown_model(resolved.name)]
            if resolved.model is None
            else list(_findings(request, resolved, resolved.model, tier))
        )
        seconds = request.end_seconds or 0
        if self.min_seconds <= seconds <= self.max_seconds:
            return findings
        span = f"{self.min_seconds} to {self.max_seconds}"
        outside = RequestIssue("end_seconds", f"{seconds:g}", "outside the API's range", f"Use {span} seconds.")
        return [outside, *(finding for finding in findings if finding.column != "end_seconds")]

    def dollars(self, credits_: int, *, per_credit: float) -> float:
        """What `credits_` cost at `per_credit` dollars, with the volume bands of one month."""
        total, below = 0.0, 0
        for band in self.dollar_bands:
            top = credits_ if band.up_to is None else min(credits_, band.up_to)
            total += max(0, top - below) * per_credit * (1 - band.discount)
            below = max(below, top)
        return total


def _spans(seconds: Iterable[int | str]) -> Iterator[int]:
    for entry in seconds:
        first, _, last = str(entry).partition("-")
        yield from range(int(first), int(last or first) + 1)


def _unknown_model(name: str) -> RequestIssue:
    remedy = (
        "The row is sent as it stands; add the model to configs/models.yaml to have it checked, or switch a shop's "
        "own column off (columns: {model: null})."
    )
    what = "not in the table of models, so its cost is unknown"
    return RequestIssue("model", name, what, remedy, blocking=False)


def _rate(request: Request, resolved: Resolved, tier: Tier | None) -> int | None:
    """Credits per second; unknown, too, where the assumed model can't make the video, so that another one will."""
    model = resolved.model
    if model is None or (resolved.assumed and any(_misfits(request, resolved, model, tier))):
        return None
    return model.rate(resolved.resolution, audio=resolved.audio)


def _findings(request: Request, resolved: Resolved, model: Model, tier: Tier | None) -> Iterator[RequestIssue]:
    misfits = _misfits(request, resolved, model, tier)
    return map(_assumed, misfits) if resolved.assumed else misfits


def _assumed(finding: RequestIssue) -> RequestIssue:
    what = f"{finding.what}, and is assumed where no model is named; the cost is unknown"
    remedy = "The row is sent as it stands, and the API chooses; name a model to have it checked."
    return finding._replace(what=what, remedy=remedy, blocking=False)


def _misfits(request: Request, resolved: Resolved, model: Model, tier: Tier | None) -> Iterator[RequestIssue]:
    yield from _check_resolution(resolved, model, tier)
    yield from _check_seconds(request, resolved, model)
    if resolved.audio and model.audio == "no":
        yield RequestIssue("audio", "true", f"{resolved.name} makes no audio", "Leave it empty or set it to false.")
    if request.end_image_path:
        yield from _check_end_image(request, resolved, model)


def _check_resolution(resolved: Resolved, model: Model, tier: Tier | None) -> Iterator[RequestIssue]:
    if model.resolutions and resolved.resolution not in model.resolutions:
        what = f"{resolved.name} does not offer this resolution"
        yield RequestIssue("resolution", resolved.resolution, what, f"Use {either(model.resolutions)}.")
    plans = model.plans.get(resolved.resolution)
    if tier and plans and tier not in plans:
        what = f"not included in the tier {tier}"
        yield RequestIssue("resolution", resolved.resolution, what, f"It needs the tier {either(plans)}.")


def _check_seconds(request: Request, resolved: Resolved, model: Model) -> Iterator[RequestIssue]:
    allowed = frozenset(model.seconds_by_resolution.get(resolved.resolution, ())) or model.durations
    if allowed and request.end_seconds not in allowed:
        what = f"{resolved.name} does not make videos of this length"
        yield RequestIssue("end_seconds", f"{request.end_seconds or 0:g}", what, f"Use {_ranges(allowed)} seconds.")


def _check_end_image(request: Request, resolved: Resolved, model: Model) -> Iterator[RequestIssue]:
    value = request.end_image_path or ""
    if model.end_image == "none":
        yield RequestIssue("end_image_path", value, f"{resolved.name} takes no end image", "Leave it empty.")
    elif model.end_image != "all" and resolved.resolution not in model.end_image:
        what = f"{resolved.name} takes an end image only at {either(model.end_image)}"
        yield RequestIssue("end_image_path", value, what, "Change the resolution or leave it empty.")
    if model.end_image_max_seconds and (request.end_seconds or 0) > model.end_image_max_seconds:
        what = f"{resolved.name} takes an end image only up to {model.end_image_max_seconds} seconds"
        yield RequestIssue("end_image_path", value, what, "Shorten the video or leave it empty.")


def either(options: Iterable[str]) -> str:
    """`a, b or c`."""
    *head, last = options
    return f"{', '.join(head)} or {last}" if head else last


def _ranges(values: Iterable[int]) -> str:
    """`3-10, 15` for {3…10, 15}."""
    spans: list[list[int]] = []
    for value in sorted(values):
        if spans and value == spans[-1][1] + 1:
            spans[-1][1] = value
        else:
            spans.append([value, value])
    return ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in spans)


def _default_path() -> Path:
    """configs/models.yaml: beside the package in a checkout, inside it in an installed wheel."""
    inside = Path(str(resources.files("reelbatch"))) / "configs" / "models.yaml"
    return inside if inside.exists() else inside.parents[2] / "configs" / "models.yaml"


@cache
def load_models(path: Path | None = None) -> ModelTable:
    """Read and check the table of models.

    Raises:
        SettingsError: the file is missing, is no YAML or does not have the table's form.
    """
    path = path or _default_path()
    try:
        return ModelTable.model_validate(load_yaml(path, path.read_bytes(), what=_WHAT))
    except OSError as error:
        raise SettingsError(f"{path}: {_WHAT} can't be read: {error.strerror or error}") from error
    except ValidationError as error:
        raise SettingsError(f"{path}: {_WHAT} can't be used:", *_lines(error)) from error


def _lines(error: ValidationError) -> Iterator[str]:
    for item in error.errors(include_url=False):
        yield f"  {'.'.join(map(str, item['loc'])) or 'the file'}: {item['msg']}"
