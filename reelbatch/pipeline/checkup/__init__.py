"""Everything that a run needs, looked at before there is one."""

from reelbatch.pipeline.checkup.checks import Check, Health
from reelbatch.pipeline.checkup.examination import examine

__all__ = ["Check", "Health", "examine"]
