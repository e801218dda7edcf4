"""The sandbox's settings: what `sandbox:` in a YAML file, the command line and tests can set."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from reelbatch.domain import Tier
from reelbatch.errors import SettingsError
from reelbatch.home_folder import at_home, if_text_at_home
from reelbatch.sandbox.faults import CREATE_KINDS, FaultKind, RetryAfter
from reelbatch.sandbox.prices import PROFILES, ChargeSays
from reelbatch.yaml_file import load_yaml

Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0)]
RESOLUTIONS = ("360p", "480p", "720p", "1080p", "4k")
_Folder = Annotated[Path | None, BeforeValidator(if_text_at_home)]
Resolution = Annotated[str, Field(pattern=f"^({'|'.join(RESOLUTIONS)})$")]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Match(_Frozen):
    """Creates, GETs and downloads whose prompt or name contains `text` meet `kind`.

    With `times` only the first `times` of each row: a row is a name without its token, else the prompt.
    """

    text: str = Field(min_length=1)
    kind: FaultKind
    times: int | None = Field(default=None, ge=1)


class FaultSettings(_Frozen):
    """Which faults happen and when. The first of script, match, first, every, share that applies wins."""

    script: tuple[FaultKind | None, ...] = ()  # the n-th entry is for the n-th create; null: none
    match: tuple[Match, ...] = ()
    first: dict[FaultKind, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)  # the first n calls
    every: dict[FaultKind, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)  # each n-th call
    share: dict[FaultKind, Share] = Field(default_factory=dict)  # this part of all calls, drawn with `seed`
    seed: int = 0
    charge_anyway: frozenset[FaultKind] = frozenset()  # kinds that charge although they answer an error
    retry_after: RetryAfter = RetryAfter.SECONDS
    retry_after_s: Annotated[int, Field(ge=0)] = 1
    stall_seconds: Seconds = 30.0
    slow_seconds: Seconds = 2.0  # upload_slow

    @model_validator(mode="after")
    def _check_kinds(self) -> Self:
        wrong = [kind for kind in (*self.script, *self.charge_anyway) if kind and kind not in CREATE_KINDS]
        if wrong:
            raise ValueError(f"{wrong[0]} does not happen to a create; use first, every, share or match")
        if sum(share for kind, share in self.share.items() if kind in CREATE_KINDS) > 1:
            raise ValueError("the shares of the kinds that happen to a create add up to more than 1")
        return self


class WebhookFaults(_Frozen):
    """What goes wrong with webhook events, each drawn with `seed`."""

    duplicate: Share = 0.0  # sent twice
    delay_s: Seconds = 0.0  # late by up to so much
    shuffle: Share = 0.0  # of the videos: "started" comes after the final event
    lost: Share = 0.0  # never sent
    seed: int = 0


class SubscriptionPrice(_Frozen):
    """What a subscription costs for each billing interval; `amount` in cents."""

    amount: int = 1900
    currency: str = "usd"


class SubscriptionSettings(_Frozen):
    """The subscription that the account says it has."""

    name: str | None = "Creator"
    status: Literal["active", "past_due"] = "active"  # past_due: the tier is free until it is paid
    price: SubscriptionPrice = SubscriptionPrice()
    billing_interval: Literal["month", "year"] | None = "month"
    current_period_end: str | None = None  # ISO 8601, such as 2026-12-24T08:00:00Z
    cancel_at_period_end: bool = False
    discount: None = None


class PriceChange(_Frozen):
    """From create number `after_creates` + 1 on, everything costs `factor` times as much."""

    after_creates: int = Field(ge=0)  # charged creates since the books were begun
    factor: float = Field(ge=0)


class PricingSettings(_Frozen):
    """What creates cost beside the public rates, and what their answers say about it."""

    prices: dict[str, dict[Resolution, Annotated[int, Field(ge=0)]]] = Field(
        default_factory=dict
    )  # credits per second
    price_change: PriceChange | None = None
    charge_says: ChargeSays = ChargeSays.CHARGED

    @field_validator("charge_says", mode="before")
    @classmethod
    def _read_charge_says(cls, says: Any) -> Any:
        return ChargeSays.NULL if says is None else says  # YAML's null is what the answer then says


class UploadAge(_Frozen):
    """By how much uploads are made older."""

    days: float = Field(ge=0, le=36_500)


class TopUp(_Frozen):
    """Credits that are bought."""

    credits: int = Field(gt=0, le=1_000_000_000)


class SandboxConfig(PricingSettings):
    """Everything that can be set about the sandbox."""

    host: str = "127.0.0.1"  # loopback only: the sandbox has no TLS and its controls ask for no key
    port: int = Field(default=0, ge=0, le=65535)  # 0: a free one
    key: str = Field(default="sandbox", min_length=1)
    balance: int = Field(default=10_000_000, ge=0)  # credits of the account at the start
    plan: Tier = "business"
    account_id: str = Field(default="sandbox", min_length=1)
    account_email: str | None = "sandbox@example.com"
    subscription: SubscriptionSettings | None = None  # None: free, or billed by usage
    model_profile: str | None = None  # "legacy": the older prices and limits, without models
    data: _Folder = None  # None: a temporary directory, removed at the end

    latency_ms: Seconds = 0.0  # of a create; half of it before the charge, half after
    latency_jitter_ms: Seconds = 0.0  # up to so much more, drawn evenly

    queue_seconds: Seconds = 0.2
    render_seconds: Seconds = 1.0
    render_video: bool = True  # False: every download is the same tiny video
    render_parallel: int = Field(default=2, ge=1)  # videos that are drawn at once
    render_error_share: Share = 0.0
    seed: int = 0  # draws the renders that fail
    output_fps: int = Field(default=30, ge=1, le=120)  # of models whose frame rate is not known
    unknown_rate: int = Field(default=60, ge=1)  # credits per second of models whose rate is not known
    frame_cost_field: bool = True  # False leaves the deprecated fields out, as answers would if they go

    upload_url_ttl_s: Seconds = 3600.0
    upload_days: float = Field(default=7.0, ge=0)  # an upload older than that can't be used
    upload_expired_status: Literal[400, 404] = 404  # of a create that names one; the vendor does not document it
    download_url_ttl_s: Seconds = 86_400.0
    faults: FaultSettings = FaultSettings()

    webhook_url: str | None = None  # http on loopback; None: no events
    webhook_secret: str | None = Field(default=None, min_length=1, validate_default=True)  # signs the events
    webhook_tries: int = Field(default=8, ge=1)  # of each event, until the answer is a success
    webhook_retry_s: Seconds = 0.1  # after the first try; doubles with each
    webhook_faults: WebhookFaults = WebhookFaults()

    @property
    def tier(self) -> Tier:
        """The plan in effect: free while a payment is overdue."""
        overdue = self.subscription is not None and self.subscription.status == "past_due"
        return "free" if overdue else self.plan

    @field_validator("host")
    @classmethod
    def _check_host(cls, host: str) -> str:
        if host != "localhost" and not _is_loopback(host):
            raise ValueError("only a loopback address is served, such as 127.0.0.1")
        return host

    @field_validator("webhook_url")
    @classmethod
    def _check_webhook_url(cls, url: str | None) -> str | None:
        parts = urlsplit(url or "http://localhost")
        if parts.scheme != "http" or not (parts.hostname == "localhost" or _is_loopback(parts.hostname or "")):
            raise ValueError("must be http://… on this machine, such as http://127.0.0.1:8080/")
        return url

    @field_validator("webhook_secret")
    @classmethod
    def _check_webhook_secret(cls, secret: str | None, info: ValidationInfo) -> str | None:
        if info.data.get("webhook_url") and secret is None:
            raise ValueError("is needed beside webhook_url: it signs what is sent there")
        return secret

    @field_validator("model_profile")
    @classmethod
    def _check_profile(cls, profile: str | None) -> str | None:
        if profile is not None and profile not in PROFILES:
            raise ValueError(f"no such profile; there are: {', '.join(PROFILES)}")
        return profile


def load_config(path: Path | None = None, **overrides: Any) -> SandboxConfig:
    """The `sandbox:` section of a YAML file (or the whole file where it has none), then `overrides`.

    Raises:
        SettingsError: the file can't be read, or a setting is unknown or out of its range.
    """
    stated = _section(path) if path else {}
    return build_config({**stated, **overrides}, where=str(path) if path else "the sandbox's settings")


def build_config(stated: Mapping[str, Any], *, where: str = "the sandbox's settings") -> SandboxConfig:
    """Check `stated`; SettingsError names each setting that is unknown or wrong."""
    try:
        return SandboxConfig.model_validate(dict(stated))
    except ValidationError as error:
        raise SettingsError(f"{where}: {explain(error)}") from error


def explain(error: ValidationError) -> str:
    """One line: each wrong setting with its path and what is wrong about it."""
    return "; ".join(_explain_one(item) for item in error.errors(include_url=False, include_context=False))


def _explain_one(item: Mapping[str, Any]) -> str:
    name = ".".join(str(part) for part in item["loc"]) or "faults"
    if item["type"] == "extra_forbidden":
        return f"{name}: there is no such setting"
    return f"{name}: {item['msg'].removeprefix('Value error, ')}"


def _section(path: Path) -> dict[str, Any]:
    try:
        content = load_yaml(path, path.read_bytes(), what="the config file")
    except OSError as error:
        raise SettingsError(f"{path}: the config file can't be read: {error.strerror or error}") from error
    if isinstance(content, dict):
        content = content.get("sandbox", content)
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(f"{path}: the sandbox's settings must be a mapping of names to values")
    if isinstance(data := content.get("data"), str):  # as everywhere in a config file, it starts at the file's folder
        content["data"] = path.absolute().parent / at_home(data, path.absolute().parent)
    return content


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
