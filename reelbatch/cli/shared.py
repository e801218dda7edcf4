"""What several commands begin with."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reelbatch.ledger import Ledger
    from reelbatch.settings import Settings


def settings_of(config: Any, **options: Any) -> Settings:
    """Options over environment over config file over defaults."""
    from reelbatch.settings import load_settings

    return load_settings(config, options)


def existing_table(settings: Settings) -> AbstractContextManager[Ledger]:
    """The results table, cleared up; it must exist."""
    from reelbatch.opening import opened_ledger

    return opened_ledger(settings, must_exist=True)


def as_parameter(results: str | None) -> str | None:
    """The results table's URL as a flow's parameter.

    Prefect keeps parameters for everybody to read, so one with a password goes by the environment instead.
    """
    from reelbatch.ledger.engine import has_secret

    if results is None or not has_secret(results):
        return results
    os.environ["REELBATCH_RESULTS"] = results
    return None
