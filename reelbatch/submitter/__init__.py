"""Sending rows, each paid for once."""

from reelbatch.submitter.pace import Pace, Stopped
from reelbatch.submitter.submitter import SubmitPlan, Submitter
from reelbatch.submitter.tally import ExitReason, Tally
from reelbatch.submitter.uploader import Uploader, UploadPlan

__all__ = ["ExitReason", "Pace", "Stopped", "SubmitPlan", "Submitter", "Tally", "UploadPlan", "Uploader"]
