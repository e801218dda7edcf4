"""Sending rows, each paid for once."""

from reelbatch.submitter.pace import Pace, Stopped
from reelbatch.submitter.starts import Starts
from reelbatch.submitter.submitter import SubmitPlan, Submitter
from reelbatch.submitter.tally import ExitReason, Tally
from reelbatch.submitter.uploader import Uploader, UploadPlan
from reelbatch.submitter.window import RenderWindow

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
