"""All settings: options over environment over config file over defaults. Built once, at the edge."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from reelbatch.domain import Plan
from reelbatch.errors import SettingsError

LIVE_URL = "https://api.magichour.ai"
DEFAULT_RESULTS = "sqlite:///results/reelbatch.db"


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
        raise ValueError(
            "holds a user, a password or a query; state it without: the API asks for its key and no more"
        )
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return url.rstrip("/")
    if parts.scheme == "http" and is_loopback(parts.hostname):
        return url.rstrip("/")
    raise ValueError("must be https://…, or http://… on this machine (127.0.0.1), because the key goes there")


def _none_if_blank(secret: SecretStr | None) -> SecretStr | None:
    """An environment variable without content is as good as none: nothing can be signed or opened with it."""
    return secret if secret is not None and secret.get_secret_value().strip() else None


_Secret = Annotated[SecretStr | None, AfterValidator(_none_if_blank)]


class ManifestSettings(BaseModel):
    """How the manifest's columns become ours."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: dict[str, str] = Field(default_factory=dict, description="our column: the manifest's column")
    defaults: dict[str, Any] = Field(default_factory=dict, description="our column: value where a cell is empty")
    prompt_template: str | None = None
    delimiter: str | None = None
    encoding: str | None = None


class Settings(BaseSettings):
    """Every setting, with its default. Times are in seconds, money in credits."""

    model_config = SettingsConfigDict(env_prefix="REELBATCH_", frozen=True, extra="forbid", populate_by_name=True)

    api_key: _Secret = Field(default=None, validation_alias="MAGIC_HOUR_API_KEY")
    base_url: Annotated[str, AfterValidator(_check_base_url)] = LIVE_URL
    results: str = DEFAULT_RESULTS
    export: str | None = Field(
        default=None, description="where a run exports the table; none: results/<batch>.parquet"
    )
    downloads: str | None = Field(default=None, description="folder or URL for the videos; none: not downloaded")

    concurrency: int = Field(default=16, ge=1, le=1000, description="creates in flight")
    request_timeout_s: float = Field(default=60, gt=0)
    retry_attempts: int = Field(default=5, ge=1)
    retry_wait_s: float = Field(default=1, ge=0)
    retry_max_wait_s: float = Field(default=60, ge=0)
    bad_gateway_wait_s: float = Field(default=30, ge=0)
    server_errors: Literal["retry", "hold"] = "retry"
    identical_rejections: int = Field(default=20, ge=1)
    doubts_in_a_row: int = Field(default=5, ge=1, description="rows in doubt without a success between")
    doubt_probe_wait_s: float = Field(default=30, ge=0, description="before a single row is tried after them")
    doubt_min_age_s: float = Field(
        default=300, ge=0, description="after which the API's word counts that a video does not exist"
    )
    rate_limit: float | None = Field(default=None, gt=0, description="creates per second")

    repeats: Literal["hold", "send", "skip"] = Field(
        default="hold", description="rows whose request is paid for under another name"
    )
    max_credits: int | None = Field(default=None, ge=0, description="cap on the batch's worst case, in credits")
    dollars_per_credit: float | None = Field(default=None, ge=0)
    rate: int | None = Field(default=None, ge=0, description="credits per second for models of unknown rate")
    plan: Plan | None = None
    model_profile: Literal["legacy"] | None = None
    models: Path | None = Field(default=None, description="another table of models")

    render_window: int | None = Field(default=None, ge=1, description="videos rendering at once")
    poll_interval_s: float = Field(default=5, gt=0)
    poll_concurrency: int = Field(default=16, ge=1, le=1000)
    settle_timeout_s: float | None = Field(default=None, gt=0)
    lease_s: float = Field(default=60, gt=0)
    webhook_secret: _Secret = Field(default=None, description="signs the API's events")

    manifest: ManifestSettings = ManifestSettings()
    sandbox: dict[str, Any] = Field(default_factory=dict, description="the sandbox's own settings")

    def dollar_rate(self, table: Mapping[Plan, float]) -> float | None:
        """Dollars for one credit: stated, or the plan's."""
        if self.dollars_per_credit is not None or self.plan is None:
            return self.dollars_per_credit
        return table.get(self.plan)


def load_settings(config: str | Path | None = None, options: Mapping[str, Any] | None = None) -> Settings:
    """Settings from `options` (None: not given), environment, `config` (YAML) and defaults.

    Raises:
        SettingsError: names the setting, what is wrong with it and where it came from.
    """
    stated = _read_config(Path(config)) if config else {}
    given = {key: value for key, value in (options or {}).items() if value is not None}

    class WithFile(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            del dotenv_settings, file_secret_settings  # a key in a file beside the manifest is a key that leaks
            return init_settings, env_settings, InitSettingsSource(settings_cls, init_kwargs=stated)

    try:
        return WithFile(**given)
    except ValidationError as error:
        raise SettingsError(_explain(error, config)) from None


SECRETS = {
    "api_key": "MAGIC_HOUR_API_KEY",
    "MAGIC_HOUR_API_KEY": "MAGIC_HOUR_API_KEY",
    "webhook_secret": "REELBATCH_WEBHOOK_SECRET",
}
"""Settings that are secret, and the environment variables that they come from."""


def _read_config(path: Path) -> dict[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SettingsError(f"{path}: no such config file") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{path}: the config file can't be read: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(f"{path}: a config file is a list of `setting: value` lines")
    for name, variable in SECRETS.items():
        if name in content:
            raise SettingsError(f"{path}: {name} does not belong in a file; set the environment variable {variable}")
    return content


def _explain(error: ValidationError, config: str | Path | None) -> str:
    lines = []
    for item in error.errors(include_url=False, include_input=False):
        name = ".".join(str(part) for part in item["loc"])
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = "there is no such setting"
        lines.append(f"{name}: {message}")
    source = f"{config}, options or environment" if config else "options or environment"
    return "\n".join(["These settings can't be used:", *(f"  {line}" for line in lines), f"(from {source})"])
