"""Sending rows, each paid for once."""

from reelbatch.submit.agreed_cost import AgreedCost
from reelbatch.submit.concurrency import ConcurrencyLimiter, Stopped
from reelbatch.submit.rate_limiter import RateLimiter
from reelbatch.submit.render_window import RenderWindow
from reelbatch.submit.run_stats import ExitReason, RunStats
from reelbatch.submit.sender import SubmitOptions
from reelbatch.submit.shared_brake import SharedBrake
from reelbatch.submit.submitter import Submitter
from reelbatch.submit.uploads import Uploader, UploadOptions

__all__ = [
    "AgreedCost",
    "ConcurrencyLimiter",
    "ExitReason",
    "RateLimiter",
    "RenderWindow",
    "RunStats",
    "SharedBrake",
    "Stopped",
    "SubmitOptions",
    "Submitter",
    "UploadOptions",
    "Uploader",
]
