"""Every submitted video to its end, every credit to its place."""

from reelbatch.settler.plan import SettlePlan, SettleReason, SettleTally
from reelbatch.settler.settler import Settler

__all__ = ["SettlePlan", "SettleReason", "SettleTally", "Settler"]
