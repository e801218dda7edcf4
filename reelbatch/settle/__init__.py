"""Every submitted video to its end, every credit to its place."""

from reelbatch.settle.options import SettlePlan, SettleReason, SettleTally
from reelbatch.settle.settler import Settler

__all__ = ["SettlePlan", "SettleReason", "SettleTally", "Settler"]
