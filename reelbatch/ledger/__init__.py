"""The results table: ledger and result in one. See schema.py for the tables, table.py for the entry point."""

from reelbatch.ledger.table import Comparison, Ledger, StagedManifest, in_memory, utc_now

__all__ = ["Comparison", "Ledger", "StagedManifest", "in_memory", "utc_now"]
