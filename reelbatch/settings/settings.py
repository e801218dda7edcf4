"""All settings: options over environment over config file over defaults. Built once, at the edge."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from reelbatch.domain import IMAGE_SCHEMES, LARGEST, MOST_CREDITS, Budget, Tier
from reelbatch.errors import SettingsError
from reelbatch.home_folder import if_text_at_home
from reelbatch.printable import is_utf8
from reelbatch.settings.budgets import read_budget
from reelbatch.settings.config_file import ConfigFile, find_config, folder_of, named_config
from reelbatch.settings.json_variables import JsonVariables, from_json
from reelbatch.settings.table_urls import DEFAULT_RESULTS, anchored, as_url, sandbox_table
from reelbatch.settings.variables import PREFIX, RENAMED, stated_variables, unknown_variables, variable

LIVE_URL = "https://api.magichour.ai"

typed_results: ContextVar[str | None] = ContextVar("typed_results", default=None)
"""A results table with a password that was typed: no flow's parameter may hold it, since Prefect shows those."""


def is_loopback(host: str | None) -> bool:
    """Whether `host` is this machine and nothing else."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def api_of(base_url: str) -> str:
    """Which API a batch belongs to: its host, or `local` for any API on this machine."""
    host = urlsplit(base_url).hostname
    return "local" if is_loopback(host) else str(host)


def may_hold_secret(base_url: str) -> bool:
    """Whether an API's address has a user, a password or a query in it; it needs none of them."""
    return "@" in base_url or "?" in base_url


def _check_base_url(url: str) -> str:
    if may_hold_secret(url):
        raise ValueError("holds a user, a password or a query; state it without: the API asks for its key alone")
    url = url.strip()  # a variable may have been read from a line
    if not url.isprintable() or any(sign in url for sign in " #\\"):
        raise ValueError("has a blank, #, \\ or an invisible sign in it, as no API's address has")
    parts = urlsplit(url)
    is_safe = parts.hostname if parts.scheme == "https" else parts.scheme == "http" and is_loopback(parts.hostname)
    if is_safe and parts.port != 0:  # above 65535 it raises
        return url.rstrip("/")
    raise ValueError("must be https://…, or http://… on this machine (127.0.0.1), because the key goes there")


def _none_if_blank(secret: SecretStr | None) -> SecretStr | None:
    """An environment variable without content is as good as none: nothing can be signed or opened with it."""
    return secret if secret is not None and secret.get_secret_value().strip() else None


def _as_url(stated: Any) -> Any:
    return as_url(str(stated)) if isinstance(stated, str | Path) else stated


def _listed(stated: Any) -> Any:
    """A list; in the environment, names between commas."""
    return [name for name in stated.split(",") if name.strip()] if isinstance(stated, str) else stated


def _check_schemes(names: tuple[str, ...]) -> tuple[str, ...]:
    schemes = tuple(name.strip().lower().removesuffix("://") for name in names)
    if wrong := [name for name in schemes if not _SCHEME.fullmatch(name)]:
        raise ValueError(f'"{wrong[0]}" is no scheme; list names such as s3, gs, sftp')
    return schemes


_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+")
_Seconds = Annotated[float, Field(le=1e9)]  # a year is 3e7; dates can't be reckoned with much more
_Names = Annotated[tuple[str, ...], BeforeValidator(lambda stated: (stated,) if isinstance(stated, str) else stated)]
_Place = Annotated[str | None, BeforeValidator(if_text_at_home)]
_File = Annotated[Path | None, BeforeValidator(if_text_at_home)]
_Secret = Annotated[SecretStr | None, AfterValidator(_none_if_blank)]


class ManifestSettings(BaseModel):
    """How the manifest's columns become ours."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: dict[str, str | None] = Field(
        default_factory=dict, description="our column: the manifest's column; null: that one is not ours"
    )
    row_key: _Names = Field(default=(), description="the columns that make the key, joined with -")
    fill_down: _Names = Field(default=(), description="columns that are filled from above")
    where: dict[str, Any] = Field(default_factory=dict, description="column: what its cell has to be")
    split: dict[str, str] = Field(default_factory=dict, description="our image column: what is between addresses")
    image_prefix: str | None = Field(default=None, description="folder or address before images that are paths")
    strip_html: _Names = Field(default=(), description="columns whose cells are HTML")
    variants: dict[str, dict[Any, Any]] = Field(
        default_factory=dict, description="what varies: name of a variant: its value"
    )
    defaults: dict[str, Any] = Field(default_factory=dict, description="our column: value where a cell is empty")
    prompt_template: str | None = None
    delimiter: str | None = None
    encoding: str | None = None
    quoting: Literal["strict", "none"] = Field(default="strict", description="none: quotation marks are text")
    escape: Literal["none", "backslash"] = "none"
    multiline: Literal["refuse", "allow"] = Field(
        default="refuse", description="quoted cells with line ends of which one line alone could be a row"
    )


class SubscriptionPrice(BaseModel):
    """What a subscription costs, in dollars, and the credits that come with it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    price: float = Field(ge=0, le=1e9)
    credits: int = Field(gt=0)


class Settings(BaseSettings):
    """Every setting, with its default. Times are in seconds, money in credits."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False
    )

    api_key: _Secret = Field(default=None, validation_alias="MAGIC_HOUR_API_KEY")
    base_url: Annotated[str, AfterValidator(_check_base_url)] = LIVE_URL
    results: Annotated[str, BeforeValidator(_as_url)] = DEFAULT_RESULTS
    export: _Place = Field(default=None, description="where a run exports the table; none: results/<batch>.parquet")
    downloads: _Place = Field(default=None, description="folder or URL for the videos; none: not downloaded")
    history: _File = Field(default=None, description="file that each step of each create is appended to")

    concurrency: int = Field(default=16, ge=1, le=1000, description="requests at the same time")
    request_timeout_s: _Seconds = Field(default=60, gt=0)
    retry_attempts: int = Field(default=5, ge=1)
    retry_wait_s: _Seconds = Field(default=1, ge=0)
    retry_max_wait_s: _Seconds = Field(default=60, ge=0)
    bad_gateway_wait_s: _Seconds = Field(default=30, ge=0)
    server_errors: Literal["retry", "hold"] = "retry"
    identical_rejections: int = Field(default=20, ge=1)
    doubts_in_a_row: int = Field(default=5, ge=1, description="rows in doubt without a success between")
    doubt_probe_wait_s: _Seconds = Field(default=30, ge=0, description="before a single row is tried after them")
    doubt_min_age_s: _Seconds = Field(
        default=300, ge=0, description="after which the API's word counts that a video does not exist"
    )
    rate_limit: float | None = Field(default=None, gt=0, description="creates per second")

    repeats: Literal["hold", "send", "skip"] = Field(
        default="hold", description="rows whose request is paid for under another name"
    )
    max_credits: int | None = Field(
        default=None, ge=0, le=MOST_CREDITS, description="cap on the batch's worst case, in credits"
    )
    budget: Annotated[Budget | None, NoDecode, BeforeValidator(read_budget)] = Field(
        default=None, description="credits for each day or month, for all batches of one account"
    )
    price_drift: Literal["warn", "halt"] = Field(
        default="warn",
        description="under a cap or budget: videos that cost more than estimated, by their settled figures",
    )
    dollars_per_credit: float | None = Field(default=None, ge=0, le=1e6)
    subscription: Annotated[SubscriptionPrice | None, BeforeValidator(from_json)] = Field(
        default=None, description="dollars for a number of credits, where no dollars_per_credit is stated"
    )
    rate: int | None = Field(
        default=None, ge=0, le=LARGEST, description="credits per second for models of unknown rate"
    )
    tier: Tier | None = None
    model_profile: Literal["legacy"] | None = None
    models: _File = Field(default=None, description="another table of models")

    render_window: int | None = Field(default=None, ge=1, description="videos rendering at once")
    poll_interval_s: _Seconds = Field(default=5, gt=0)
    poll_concurrency: int = Field(default=16, ge=1, le=1000)
    settle_timeout_s: _Seconds | None = Field(default=None, gt=0)
    unknown_state_holds_s: _Seconds = Field(
        default=600, ge=0, description="how long a video in a state that is not known is waited for"
    )
    unreachable_after_s: _Seconds = Field(
        default=60, gt=0, description="after which a settle without any answer of the API ends"
    )
    lease_s: _Seconds = Field(default=60, ge=1)
    webhook_secret: _Secret = Field(default=None, description="signs the API's events")

    image_schemes: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed), AfterValidator(_check_schemes)] = (
        Field(default=IMAGE_SCHEMES, description="of the addresses that images are fetched from")
    )
    image_checks: Literal["strict", "warn"] = Field(
        default="strict", description="warn: images of an accepted kind that can't be read here are sent"
    )
    manifest: Annotated[ManifestSettings, BeforeValidator(from_json)] = ManifestSettings()
    sandbox: Annotated[dict[str, Any], BeforeValidator(from_json)] = Field(
        default_factory=dict, description="the sandbox's own settings"
    )

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_what_none_is(cls, stated: Any) -> Any:
        """Python takes yes and no for 1 and 0, and `max_credits: no` would be a cap of nothing."""
        if isinstance(stated, bool):
            raise ValueError("is stated as yes or no; state its value, or null for none")  # noqa: TRY004 - of pydantic
        if isinstance(stated, str) and not is_utf8(stated):
            raise ValueError("is no UTF-8; choose another name")
        return stated

    def of_account(self, tier: Tier) -> Self:
        """With the account's tier where none is stated; what a subscriber pays for a credit it does not say."""
        if self.tier is not None:
            return self
        found = self.model_copy(update={"tier": tier})
        found.model_fields_set.discard("tier")
        return found


def load_settings(
    config: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    *,
    sandbox: bool = False,
    told: Callable[[ConfigFile], None] | None = None,
) -> Settings:
    """Settings from `options` (None: not given), environment, config file and defaults.

    Args:
        config: a YAML file; default: the `reelbatch.yaml` in the current folder or above it, if there is one.
        options: settings by their names, which come before all others.
        sandbox: the sandbox's own results table, unless `options` state one.
        told: is told of a `reelbatch.yaml` that was found, before anything is done.

    Raises:
        SettingsError: names the setting, what is wrong with it and where it came from.
    """
    file = named_config(Path(config)) if config else find_config()
    given = {key: value for key, value in (options or {}).items() if value is not None}
    settings = _built(given, file)
    if file.found and "base_url" in file.stated and not _is_overruled("base_url", given):
        _check_where_the_key_goes(settings.base_url, file)
    if told is not None and (file.found or file.foreign or file.shared):
        told(file)
    if sandbox and "results" not in given:
        default = type(settings).model_fields["results"].default
        return settings.model_copy(update={"results": sandbox_table(settings.results, default)})
    return settings


def _built(given: Mapping[str, Any], file: ConfigFile) -> Settings:
    """All sources put together.

    Raises:
        SettingsError: lists everything that is wrong.
    """
    wrong = unknown_variables(Settings.model_fields)
    try:
        settings = _with_file(file)(**given)
    except ValidationError as error:
        raise _explain([*wrong, *_lines(error)], file) from None
    if wrong:
        raise _explain(wrong, file)
    return settings


def _with_file(file: ConfigFile) -> type[Settings]:
    """Settings that read `file` too; the default table of a found one lies beside it, wherever one stands below."""
    default = anchored(DEFAULT_RESULTS, folder_of(file.path)) if file.found and file.path else DEFAULT_RESULTS

    class WithFile(Settings):
        results: Annotated[str, BeforeValidator(_as_url)] = default

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            del env_settings  # in its place: JsonVariables
            del dotenv_settings, file_secret_settings  # a key in a file beside the manifest is a key that leaks
            return (
                init_settings,
                JsonVariables(settings_cls),
                InitSettingsSource(settings_cls, init_kwargs=dict(file.stated)),
            )

    return WithFile


def _is_overruled(name: str, given: Mapping[str, Any]) -> bool:
    """Whether an option or the environment states a setting, so that the file's word for it does not count."""
    return name in given or variable(name) in stated_variables()


def _check_where_the_key_goes(base_url: str, file: ConfigFile) -> None:
    """A file that just lies about does not send the key to a stranger.

    Raises:
        SettingsError: the address is neither the vendor's nor this machine's.
    """
    if api_of(base_url) not in {"local", api_of(LIVE_URL)}:
        raise SettingsError(
            f"{file.path}: base_url {base_url} is neither {LIVE_URL} nor on this machine, "
            f"and the key would go there. If that is meant, name the file: --config {file.path}"
        )


def _lines(error: ValidationError) -> list[str]:
    lines = []
    for item in error.errors(include_url=False):
        name = ".".join(str(part) for part in item["loc"])
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = "there is no such setting"
            if renamed := RENAMED.get(name):
                message = f"is called {renamed}; write {renamed}: {item['input']}"
        lines.append(f"{name}: {message}")
    return lines


def _explain(lines: list[str], file: ConfigFile) -> SettingsError:
    source = f"{file.path}, options or environment" if file.path else "options or environment"
    return SettingsError("These settings can't be used:", *(f"  {line}" for line in lines), f"(from {source})")
