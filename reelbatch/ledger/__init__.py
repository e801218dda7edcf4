"""The results table: ledger and result in one. See schema.py for the tables, ledger.py for the entry point.

It is imported on first use, so that quick_status.py can do without SQLAlchemy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reelbatch.ledger.ledger import Comparison, Ledger, Origin, StagedManifest, in_memory, utc_now

__all__ = ["Comparison", "Ledger", "Origin", "StagedManifest", "in_memory", "utc_now"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'reelbatch.ledger' has no attribute {name!r}")
    from reelbatch.ledger import ledger

    return getattr(ledger, name)
