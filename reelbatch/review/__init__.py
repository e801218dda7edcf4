"""The videos of a batch in the browser: a page to judge them (`server`), and the same page as one file (`report`)."""

from reelbatch.review.report import Report, ReportOptions, write_report
from reelbatch.review.server import ReviewOptions, serve

__all__ = ["Report", "ReportOptions", "ReviewOptions", "serve", "write_report"]
