"""The results table: ledger and result in one. See schema.py for the tables, ledger.py for the entry point.

It is imported on first use, so that quick_status.py can do without SQLAlchemy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reelbatch.ledger.ledger import Ledger, in_memory
    from reelbatch.ledger.staged_manifest import Comparison, Origin, StagedManifest
    from reelbatch.machine import utc_now

__all__ = ["Comparison", "Ledger", "Origin", "StagedManifest", "in_memory", "utc_now"]
_OF_A_MANIFEST = frozenset({"Comparison", "Origin", "StagedManifest"})


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'reelbatch.ledger' has no attribute {name!r}")
    module = "ledger.staged_manifest" if name in _OF_A_MANIFEST else "ledger.ledger"
    return getattr(import_module("reelbatch.machine" if name == "utc_now" else f"reelbatch.{module}"), name)
