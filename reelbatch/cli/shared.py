"""What several commands begin with, and how they tell machines what they found. Without rich, which takes a while."""

from __future__ import annotations

import json
import shlex
import sys
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reelbatch.printable import json_text

if TYPE_CHECKING:
    from reelbatch.ledger import Ledger
    from reelbatch.settings import Settings


def settings_of(config: Any, *, sandbox: bool = False, **options: Any) -> Settings:
    """Options over environment over config file over defaults; with `sandbox` its own table.

    Raises:
        SettingsError: a setting can't be used.
        LedgerUnusable: the table that the sandbox would use holds rows of the live API.
    """
    from reelbatch.pipeline.resources import refuse_live_rows, say_config
    from reelbatch.settings import load_settings

    settings = load_settings(config, options, sandbox=sandbox, told=say_config)
    if sandbox:
        refuse_live_rows(settings)
    return settings


def existing_table(settings: Settings) -> AbstractContextManager[Ledger]:
    """The results table, cleared up; it must exist."""
    from reelbatch.pipeline.resources import opened_ledger

    return opened_ledger(settings, must_exist=True)


def readable_table(settings: Settings) -> AbstractContextManager[Ledger]:
    """The results table for a look at it: cleared up where that is allowed, else with a warning; it must exist."""
    from reelbatch.cli import render
    from reelbatch.pipeline.resources import looked_at

    return looked_at(settings, render.warn)


def as_parameter(results: str | None) -> str | None:
    """The results table's URL as a flow's parameter.

    Prefect keeps parameters for everybody to read, so one with a password reaches the flow beside them.
    """
    from reelbatch.ledger.engine import has_secret
    from reelbatch.settings import typed_results

    if results is None or not has_secret(results):
        return results
    typed_results.set(results)
    return None


def repeated(
    *, config: Path | None, results: str | None, batch: str | None, base_url: str | None, sandbox: bool
) -> str:
    """The options that a printed command repeats, so that it can be typed as it stands; none that holds a secret."""
    from reelbatch.ledger.engine import has_secret
    from reelbatch.storage.files import redact_url

    stated = {
        "--config": config,
        "--results": None if results is None or has_secret(results) else results,
        "--batch": batch,
        "--base-url": None if base_url is None or redact_url(base_url) != base_url else base_url,
    }
    words = [word for name, value in stated.items() if value is not None for word in (name, str(value))]
    return "".join(f" {shlex.quote(word)}" for word in [*words, *(["--sandbox"] if sandbox else [])])


def print_json(value: Any) -> None:
    """One JSON object, and nothing else."""
    sys.stdout.write(json_text(json.dumps(value, ensure_ascii=False, default=_plain)) + "\n")


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
