"""Options that more than one command has, and the settings that they make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from reelbatch import typed_options
from reelbatch.domain import MOST_ROWS
from reelbatch.home_folder import at_home
from reelbatch.storage.addresses import refuse_in_parameters

if TYPE_CHECKING:
    from reelbatch.settings import Settings

_SETTINGS = "Settings"
_RUN = "Run"


def in_home(stated: Path | None) -> Path | None:
    """An option's file, whose `~` no shell has replaced (`--csv=~/x.csv`)."""
    return None if stated is None else Path(at_home(str(stated)))


Manifest = Annotated[
    str, typer.Argument(help="CSV, TSV, Excel, JSON Lines or Parquet file: a path or a URL.", metavar="MANIFEST")
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="YAML file with settings. (default: reelbatch.yaml here or in a folder above)",
        callback=in_home,
        rich_help_panel=_SETTINGS,
        metavar="FILE",
    ),
]


def _as_url(stated: str | None) -> str | None:
    from reelbatch.settings.table_urls import as_url

    return None if stated is None else as_url(stated)


Results = Annotated[
    str | None,
    typer.Option(
        "--results",
        help="Results table: a file, or a SQLAlchemy URL. "
        "(default: sqlite:///results/reelbatch.db; with --sandbox sqlite:///results/sandbox/reelbatch.db)",
        rich_help_panel=_SETTINGS,
        metavar="URL",
        callback=_as_url,
    ),
]


def _batch(which: str) -> Any:
    return typer.Option("--batch", help=which, rich_help_panel=_SETTINGS, metavar="NAME")


BatchName = Annotated[str | None, _batch("Name under which rows are generated once. (default: the manifest's stem)")]
OneBatch = Annotated[str | None, _batch("Which batch. (default: the only one of the table)")]
AnyBatch = Annotated[str | None, _batch("Which batch. (default: all of the table)")]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on standard output, and nothing else there.")
]
Sandbox = Annotated[
    bool,
    typer.Option(
        "--sandbox",
        help="Run against a local sandbox, with a results table of its own; nothing is paid.",
        rich_help_panel=_RUN,
    ),
]
SandboxTable = Annotated[
    bool,
    typer.Option(
        "--sandbox",
        help="The results table of runs with --sandbox, in place of the real one.",
        rich_help_panel=_SETTINGS,
    ),
]
BaseUrl = Annotated[
    str | None, typer.Option("--base-url", help="The API's address.", rich_help_panel=_RUN, metavar="URL")
]
Concurrency = Annotated[
    int | None,
    typer.Option("--concurrency", help="Requests at the same time. (default: 16)", rich_help_panel=_RUN, metavar="N"),
]
MaxCredits = Annotated[
    int | None,
    typer.Option(
        "--max-credits",
        help="Spending cap for the whole batch, in credits. Requests that could exceed it are not sent.",
        rich_help_panel=_RUN,
        metavar="N",
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(
        "--limit", help="Send at most N rows in this run.", rich_help_panel=_RUN, metavar="N", min=0, max=MOST_ROWS
    ),
]
Pilot = Annotated[
    int | None,
    typer.Option(
        "--pilot",
        help="Send a sample of N rows over models, resolutions and lengths, wait for it, and say what the rest "
        "would cost.",
        rich_help_panel=_RUN,
        metavar="N",
        min=1,
        max=1000,
    ),
]
Rate = Annotated[
    int | None,
    typer.Option(
        "--rate",
        help="Credits per second to assume for models whose rate is not known.",
        rich_help_panel=_RUN,
        metavar="N",
        min=0,
    ),
]
Regenerate = Annotated[
    str,
    typer.Option(
        help="Make videos again: changed or all; the same again goes on with it. cancel drops what was not sent.",
        metavar="WHICH",
    ),
]
Rows = Annotated[str | None, typer.Option(help="With --regenerate: only rows with these keys.", metavar="KEY,…")]
Repeats = Annotated[
    str | None,
    typer.Option(
        help="Rows whose request is paid for under another name: hold, send or skip. (default: hold)", metavar="WHAT"
    ),
]
Strict = Annotated[bool, typer.Option("--strict", help="Send nothing if any row has to be corrected.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before spending.", rich_help_panel=_RUN)]
Export = Annotated[
    str | None,
    typer.Option(
        "--export",
        help="Where the table goes after the run: .parquet, .csv, .jsonl, .xlsx (default: <batch>.parquet beside it)",
        rich_help_panel=_RUN,
        metavar="PATH",
    ),
]
Download = Annotated[
    str | None,
    typer.Option(
        "--download", help="Folder or URL to download finished videos to.", rich_help_panel=_RUN, metavar="DIR"
    ),
]
Settle = Annotated[bool, typer.Option("--settle", help="Wait for the videos as well.", rich_help_panel=_RUN)]
History = Annotated[
    Path | None,
    typer.Option(
        "--history",
        help="Append each step of each create to this file, as JSON lines, for support.",
        rich_help_panel=_RUN,
        metavar="FILE",
    ),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show Prefect's own messages.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What generate and rerun are both told."""

    config: Path | None
    results: str | None
    batch: str | None
    sandbox: bool
    base_url: str | None
    concurrency: int | None
    max_credits: int | None
    limit: int | None
    rate: int | None
    settle: bool
    download: str | None
    export: str | None
    history: Path | None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """From the command's own parameters, which have the same names."""
        return cls(**{field.name: given[field.name] for field in fields(cls)})

    @property
    def settles(self) -> bool:
        """Whether the videos are waited for: to download them, they have to be."""
        return self.settle or self.download is not None

    def settings(self, **more: Any) -> Settings:
        """The settings that the options change.

        Raises:
            SettingsError: a setting can't be used, or an option holds a secret, which Prefect would keep.
        """
        refuse_in_parameters(self._stated())
        return settings_of(
            self.config,
            sandbox=self.sandbox,
            batch=self.batch,
            **self._stated(),
            rate=self.rate,
            history=self.history,
            **more,
        )

    def parameters(self) -> dict[str, Any]:
        """The parameters that the flows have in common."""
        return {
            "batch": self.batch,
            "config": str(self.config) if self.config else None,
            **self._stated(),
            "results": as_parameter(self.results),
            "limit": self.limit,
            "settle": self.settles,
            "sandbox": self.sandbox,
            "overrides": {"rate": self.rate, "history": str(self.history) if self.history else None},
        }

    def command(self, manifest: str, more: Mapping[str, Any], *, live: bool = False) -> str:
        """The same `generate` without `--pilot`; `more`: options and their values, True where they have none.

        `live`: at the vendor's API.
        """
        stated = {"--concurrency": self.concurrency, "--export": self.export, "--download": self.download, **more}
        words = [
            word
            for name, value in stated.items()
            if value is not None
            for word in ([name] if value is True else [name, str(value)])
        ]
        return typed_options.command("generate", manifest, *words, live=live)

    def _stated(self) -> dict[str, Any]:
        names = ("results", "base_url", "concurrency", "max_credits", "export")
        return {**{name: getattr(self, name) for name in names}, "downloads": self.download}


def settings_of(
    config: Any,
    *,
    sandbox: bool = False,
    batch: str | None = None,
    manifest: str | None = None,
    **options: Any,
) -> Settings:
    """Options over environment over config file over defaults; with `sandbox` its own table.

    `batch` and `manifest` are repeated by the commands that are printed, like what else was typed.

    Raises:
        SettingsError: a setting can't be used.
        LedgerUnusable: the table that the sandbox would use holds rows of the live API.
    """
    from reelbatch.pipeline.resources import log_config, refuse_live_rows
    from reelbatch.settings import load_settings

    typed = {**options, "config": config, "sandbox": sandbox, "batch": batch, "manifest": manifest}
    _note_typed(typed)
    settings = load_settings(config, options, sandbox=sandbox, told=log_config)
    if sandbox:
        refuse_live_rows(settings)
    elif manifest is None:  # with one it is the live API that is meant, whatever the table has so far
        _note_typed(typed, settings)
    return settings


def _is_of_trials(settings: Settings) -> bool:
    """Whether the results table is one of `--sandbox`, though that was not typed: its videos are kept beside it."""
    from reelbatch.ledger.quick_status import apis, plain_path
    from reelbatch.settings import api_of
    from reelbatch.settings.table_urls import sandbox_data

    path = plain_path(settings.results)
    if path is None or api_of(settings.base_url) == "local" or not sandbox_data(path).is_dir():
        return False
    return apis(path) == {"local"}


def as_parameter(results: str | None) -> str | None:
    """The results table's URL as a flow's parameter.

    Prefect keeps parameters for everybody to read, so one with a password reaches the flow beside them.
    """
    from reelbatch.ledger.urls import has_secret
    from reelbatch.settings import typed_results

    if results is None or not has_secret(results):
        return results
    typed_results.set(results)
    return None


def _note_typed(typed: Mapping[str, Any], settings: Settings | None = None) -> None:
    """Keep what a printed command repeats, but no secret; with `settings` also `--sandbox` of a table of it."""

    def words() -> dict[str, object]:
        from reelbatch.ledger.urls import has_secret
        from reelbatch.storage.files import redact_url

        results, base_url = typed.get("results"), typed.get("base_url")
        sandbox = typed["sandbox"] or (settings is not None and _is_of_trials(settings))
        is_open = base_url is not None and not sandbox and redact_url(base_url) == base_url
        return {
            "--config": typed["config"],
            "--results": None if results is None or has_secret(results) else results,
            "--batch": typed["batch"],
            "--base-url": base_url if is_open else None,
            "--max-credits": typed.get("max_credits"),
            "--rate": typed.get("rate"),
            "--sandbox": sandbox,
            typed_options.MANIFEST: typed["manifest"],
        }

    typed_options.note(words)


def words(stated: str | None) -> tuple[str, ...] | None:
    """`a,b` as ("a", "b"); None where nothing was stated."""
    return tuple(filter(None, typed_options.parted(stated))) if stated is not None else None


def some_words(stated: str | None, option: str, example: str) -> tuple[str, ...] | None:
    """The same for an option that chooses rows.

    Raises:
        SettingsError: it names nothing, which would choose none, or all.
    """
    from reelbatch.errors import SettingsError

    found = words(stated)
    if found is not None and not found:
        raise SettingsError(f"{option} names nothing; for example: {example}")
    return found
