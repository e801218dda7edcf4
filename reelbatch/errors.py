"""Every error that Reelbatch raises on purpose.

ReelbatchError
├── UsageError             the command, the settings or the input can't be used; exit code 2, nothing was sent
│   ├── SettingsError      a setting is missing, malformed or contradicts another
│   │   ├── UnusableKey    there is no API key, or one that can't be one
│   │   └── SandboxInUse   a sandbox can't have its folder or port: another process has it
│   ├── ManifestError      the manifest can't be read, or (strict) has rows that failed their checks
│   ├── LedgerUnusable     the results table can't be opened: not ours, newer, read-only, locked
│   │   └── NoTableYet     there is none, and the command does not make one
│   ├── OrderOpen          rows are being made anew by another order, which comes first
│   └── PipelineError      Prefect can't run the pipeline: no server, a folder that can't be written
├── LedgerError            the results table failed while in use: disk full, locked too long, connection lost
│   └── StateConflict      a row was not in the state that a move expected
└── ApiError               a call to the API failed for good
    ├── OtherVideo         the answer to a question about one video was about another
    ├── UnreadableAnswer   an answer with success, of which nothing can be read
    ├── UploadError        an image could not be uploaded
    ├── TooLate            a request whose time to leave was over; nothing of it left
    ├── DownloadRefused    what is offered as a video is nothing that is taken, now or later
    └── CreateError        a create made from Python was refused or is in doubt
"""

from __future__ import annotations

from typing import Any

from reelbatch.printable import one_line


class ReelbatchError(Exception):
    """Base of all errors that carry a message for the user; each argument is one line of it, whatever it holds."""

    def __str__(self) -> str:
        """The message, with nothing in it that a terminal acts on."""
        return "\n".join(one_line(str(line)) for line in self.args)

    def __reduce__(self) -> tuple[Any, ...]:
        """Whole, out of a process pool: Python would call the class, and one that takes a keyword breaks the pool."""
        return _again, (type(self), self.args, vars(self))


def _again(kind: type[ReelbatchError], args: tuple[object, ...], more: dict[str, Any]) -> ReelbatchError:
    error = kind.__new__(kind, *args)
    vars(error).update(more)
    return error


class UsageError(ReelbatchError):
    """The command, its settings or its input can't be used."""


class SettingsError(UsageError):
    """A setting is missing, malformed or contradicts another."""


class UnusableKey(SettingsError):  # noqa: N818 - what it is
    """There is no API key, or one that can't be one; `what` without the remedy, which is another one in a flow."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what}. Set the environment variable MAGIC_HOUR_API_KEY, or try things out with --sandbox."
        )
        self.what = what


class SandboxInUse(SettingsError):  # noqa: N818 - it is the state of things
    """Another process has the sandbox's folder or port; perhaps it is just starting, or ending."""


class ManifestError(UsageError):
    """The manifest can't be read, or holds rows that make it unusable as a whole."""


class LedgerUnusable(UsageError):  # noqa: N818 - "unusable" says more than "error" where a user meets it
    """The results table can't be opened."""


class NoTableYet(LedgerUnusable):
    """There is no results table, where one has to be there already."""


class OrderOpen(UsageError):  # noqa: N818 - it is the state of things, and named so in the docs
    """Another order of the batch is open."""


class PipelineError(UsageError):
    """Prefect can't run the pipeline."""


class LedgerError(ReelbatchError):
    """The results table failed while it was in use."""


class StateConflict(LedgerError):  # noqa: N818 - it is a conflict, and named so in the docs
    """A row was not in the state that a move expected, so nothing was changed."""


class ApiError(ReelbatchError):
    """A call to the API failed for good. `status` is the HTTP status, where there was one."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class OtherVideo(ApiError):  # noqa: N818 - what came, not what went wrong
    """The API was asked about one video and answered about another."""


class UnreadableAnswer(ApiError):  # noqa: N818 - what came, not what went wrong
    """The API returned success, and what it said can't be read."""


class UploadError(ApiError):
    """An image could not be uploaded; its row was not sent."""


class TooLate(ApiError):  # noqa: N818 - what it was
    """A request was about to leave when its time was over; nothing of it left."""


class DownloadRefused(ApiError):  # noqa: N818 - it is we who refuse
    """What is offered as a video is nothing that is taken: too large, packed, or behind an odd redirect."""


class CreateError(ApiError):
    """A create was refused, or may have been charged without an id coming back; `outcome` says which.

    `outcome` is `retry` (surely not created, may be sent again), `rejected`, `in_doubt` or `halt`.
    """

    def __init__(self, message: str, *, status: int | None, outcome: str) -> None:
        super().__init__(message, status=status)
        self.outcome = outcome
