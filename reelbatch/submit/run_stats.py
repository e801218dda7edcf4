"""What a run has done so far: for the progress line, the summary and the exit code."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from reelbatch.ledger.attempts import Answer, Ending
from reelbatch.ledger.paid_requests import HELD_CODE
from reelbatch.machine import monotonic_s
from reelbatch.submit.failure_kinds import FailureKinds


class ExitReason(StrEnum):
    """Why a run ended."""

    DONE = "done"
    INTERRUPTED = "interrupted"
    BAD_KEY = "bad_key"
    NO_CREDITS = "no_credits"
    NO_ACCOUNT = "no_account"  # no one said whose key it is, and the batch belongs to an account
    CAP = "cap"
    BUDGET = "budget"  # rows wait for the next period
    SAME_FAILURE = "same_failure"
    NOT_AGREED = "not_agreed"  # more would be sent than someone said yes to, and there is no one to ask again
    DECLINED = "declined"
    DOUBTS = "doubts"  # row after row went into doubt
    NONE_SENT = "none_sent"  # rows were to be sent, and each was given back
    UNREACHABLE = "unreachable"  # sent, and not one question about their videos was answered
    LEDGER_FAILED = "results_table_failed"
    CRASHED = "crashed"


@dataclass(slots=True)
class RunStats:
    """Counts of one run in this process. Credits are integers, times seconds of a monotonic clock."""

    requests: int = 0  # creates that left
    submitted: int = 0
    rejected: int = 0
    in_doubt: int = 0
    invalid: int = 0
    retries: int = 0
    unsent: int = 0  # given back without an id: stopped, retries used up, upload failed
    failures: dict[str, int] = field(default_factory=dict)  # why rows were given back
    kinds: FailureKinds = field(default_factory=FailureKinds)
    credits_charged: int = 0
    credits_reserved: int = 0  # requests under way
    credits_in_doubt: int = 0
    first_sent: float | None = None
    last_recorded: float | None = None
    reason: ExitReason = ExitReason.DONE
    message: str | None = None
    crash: Exception | None = None
    withdrawn: bool = False  # another run does its work from the start; nothing is told of this one

    @property
    def done(self) -> int:
        """Rows that this run is finished with."""
        return self.submitted + self.rejected + self.in_doubt + self.invalid + self.unsent

    @property
    def sent(self) -> int:
        """Rows of which at least one create left and was answered, or may have been."""
        return self.submitted + self.rejected + self.in_doubt

    @property
    def submit_seconds(self) -> float:
        """From the first create sent to the last answer recorded."""
        if self.first_sent is None or self.last_recorded is None:
            return 0.0
        return max(0.0, self.last_recorded - self.first_sent)

    @property
    def rows_per_second(self) -> float:
        """Rows that got their id, over `submit_seconds`."""
        return self.submitted / self.submit_seconds if self.submit_seconds else 0.0

    @property
    def none_sent(self) -> str | None:
        """Why not one row could be sent of those that were to be; None: some were, or there was none."""
        if self.sent or self.reason is not ExitReason.DONE:
            return None
        return "; ".join(self.kinds.given_back) or None

    def leaving(self) -> None:
        """A create leaves."""
        self.requests += 1
        if self.first_sent is None:
            self.first_sent = monotonic_s()

    def reserve(self, credits_: int) -> None:
        """Credits are held back for a create."""
        self.credits_reserved += credits_

    def record(self, answer: Answer) -> None:
        """An answer is in the table."""
        self.last_recorded = monotonic_s()
        self.credits_reserved -= answer.reserved
        match answer.ending:
            case Ending.SUBMITTED:
                self.submitted += 1
                self.credits_charged += answer.cost
            case Ending.REJECTED:
                self.rejected += 1
                self.kinds.met("rejected", answer.code, answer.message)
            case Ending.IN_DOUBT:
                self.in_doubt += 1
                self.credits_in_doubt += answer.cost
                self.kinds.met("in doubt", answer.code, answer.message)
            case Ending.RETRY:
                self.retries += 1
            case Ending.HALTED:
                self.unsent += 1

    def clear_up(self, reserved: int) -> None:
        """A doubt of this run is about to be answered after all, as if its request were still under way."""
        self.in_doubt -= 1
        self.credits_in_doubt -= reserved
        self.credits_reserved += reserved

    def gave_back(self, *, invalid: bool = False, code: str | None = None, message: str | None = None) -> None:
        """A row was given back."""
        if invalid:
            self.kinds.met("invalid", code, message)
        elif code not in {None, HELD_CODE}:
            self.kinds.gave_back(code, message)
        self.invalid += invalid
        self.unsent += not invalid
        if code is not None:
            self.failures[code] = self.failures.get(code, 0) + 1

    def end(self, reason: ExitReason, message: str | None) -> None:
        """The run stops; the first reason is the one that counts."""
        if self.reason is ExitReason.DONE:
            self.reason, self.message = reason, message
