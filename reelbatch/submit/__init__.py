"""Sending rows, each paid for once."""

from reelbatch.submit.concurrency import Pace, Stopped
from reelbatch.submit.rate_limiter import Starts
from reelbatch.submit.render_window import RenderWindow
from reelbatch.submit.run_stats import ExitReason, Tally
from reelbatch.submit.submitter import SubmitPlan, Submitter
from reelbatch.submit.uploads import Uploader, UploadPlan

__all__ = [
    "ExitReason",
    "Pace",
    "RenderWindow",
    "Starts",
    "Stopped",
    "SubmitPlan",
    "Submitter",
    "Tally",
    "UploadPlan",
    "Uploader",
]
