"""Every submitted video to its end, every credit to its place."""

from reelbatch.settle.options import SettleOptions, SettleReason, SettleStats, Tally
from reelbatch.settle.settler import Settler

__all__ = ["SettleOptions", "SettleReason", "SettleStats", "Settler", "Tally"]
