"""What a settle is to do, and what it has done so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from reelbatch.domain import Batch, RowKey, RowState, VideoId
from reelbatch.ledger.accounts import Payer
from reelbatch.ledger.queries import OddFigure
from reelbatch.ledger.settlements import Final, Refund, Settlement
from reelbatch.settle.downloads import LARGEST_VIDEO

FAILURES_KEPT = 100
ODD_FIGURES_KEPT = 100


class SettleReason(StrEnum):
    """Why a settle ended."""

    DONE = "done"
    TIMED_OUT = "timed_out"
    INTERRUPTED = "interrupted"
    BAD_KEY = "bad_key"
    UNREACHABLE = "unreachable"  # no question was answered
    LEDGER_FAILED = "results_table_failed"
    CRASHED = "crashed"


@dataclass(slots=True)
class SettleStats:
    """Counts of one settle. Credits are those of the rows that it settled."""

    polled: int = 0  # times that the API was asked how a video stands
    failed_polls: int = 0
    answers: int = 0  # polls that the API answered, if only to say that it knows no such video
    complete: int = 0
    error: int = 0
    canceled: int = 0
    outstanding: int = 0  # videos that were not finished when it began
    unsettled: int = 0  # rows left queued or rendering, counted at the end
    downloaded: int = 0
    downloads_failed: int = 0
    marked_videos: dict[str, int] = field(default_factory=dict)  # downloaded ones: black, frozen, unreadable
    download_failures: list[tuple[RowKey, str]] = field(default_factory=list)  # the first hundred
    refused: dict[RowKey, str] = field(default_factory=dict)  # why no more is known of videos; the first hundred
    credits_estimated: int = 0
    credits_charged: int = 0
    credits_final: int = 0
    credits_refunded: int = 0  # charged minus final, where the final figure is known; with what `refunds` brought
    refunds: int = 0  # videos that had failed before, and whose credits have come back by now
    cleared_up: int = 0  # rows in doubt before, of whose noted id the API could say by now what it is
    odd_figure_rows: int = 0  # videos whose final figure was not believed: they count as before
    odd_figures: list[OddFigure] = field(default_factory=list)  # the first hundred
    reason: SettleReason = SettleReason.DONE
    message: str | None = None

    @property
    def changed(self) -> int:
        """Rows of which the results table knows more than before."""
        return self.ended + self.downloaded + self.refunds + self.cleared_up

    @property
    def ended(self) -> int:
        """Videos that have reached their end, one or the other."""
        return self.complete + self.error + self.canceled

    @property
    def is_unanswered(self) -> bool:
        """Whether the API was asked, and said nothing at all."""
        return self.polled > 0 and not self.answers

    @property
    def exit_code(self) -> int:
        """0 all done, 1 done with videos that need attention, 3 nothing can be asked, 130 interrupted."""
        if self.is_unanswered:
            return 3
        match self.reason:
            case SettleReason.INTERRUPTED:
                return 130
            case SettleReason.DONE | SettleReason.TIMED_OUT:
                return 1 if self.error or self.canceled or self.unsettled or self.downloads_failed else 0
        return 3

    def settled(self, state: RowState, settlement: Settlement) -> None:
        """A row reached its final state."""
        self.complete += state is RowState.COMPLETE
        self.error += state is RowState.ERROR
        self.canceled += state is RowState.CANCELED
        self.credits_estimated += settlement.estimated
        self.credits_charged += settlement.charged
        if settlement.final is not None:
            self.credits_final += settlement.final
            self.credits_refunded += settlement.charged - settlement.final

    def refunded(self, refund: Refund, *, is_settled_here: bool) -> None:
        """A look at a video that had failed before, perhaps in this settle, has brought this."""
        self.refunds += refund.credits > 0  # else it is the first figure of a video that no row accepted
        self.credits_refunded += refund.credits
        self.credits_final += refund.final if is_settled_here else 0

    def odd_figure(self, row_key: RowKey, why: str) -> None:
        """A video's final figure was not believed."""
        self.odd_figure_rows += 1
        if len(self.odd_figures) < ODD_FIGURES_KEPT:
            self.odd_figures.append(OddFigure(row_key, why))

    def asked_in_vain(self, row_key: RowKey, message: str) -> None:
        """The API has an answer about a video, and it says nothing of how the video stands."""
        if row_key in self.refused or len(self.refused) < FAILURES_KEPT:
            self.refused[row_key] = message

    def download_failed(self, row_key: RowKey, message: str) -> None:
        """A video could not be downloaded; its row stays complete."""
        self.downloads_failed += 1
        if len(self.download_failures) < FAILURES_KEPT:
            self.download_failures.append((row_key, message))

    def end(self, reason: SettleReason, message: str | None = None) -> None:
        """The settle stops; the first reason is the one that counts."""
        if self.reason is SettleReason.DONE:
            self.reason, self.message = reason, message


@dataclass(slots=True)
class Tally:
    """What became of the videos of one batch while a run sent and then waited for them."""

    batch: Batch
    stats: SettleStats = field(default_factory=SettleStats)
    unrefunded: set[VideoId] = field(default_factory=set)  # that failed, and have a cost all the same

    def settled(self, final: Final, settlement: Settlement) -> None:
        """A row reached its final state."""
        self.stats.settled(final.state, settlement)
        if final.odd_figure is not None:
            self.stats.odd_figure(final.row.row_key, final.odd_figure)
        if final.state is not RowState.COMPLETE and settlement.final != 0:
            self.unrefunded.add(final.row.video_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class SettleOptions:
    """Which videos are followed, and how. Times in seconds.

    Args:
        batch: None: all batches of the table.
        poll_interval_s: between two looks at one video; doubled for videos longer than 30 s.
        concurrency: videos that are asked about or downloaded at once.
        timeout_s: stop following after so long; what is not finished keeps its state.
        wait: False: one pass over what is due now.
        downloads: folder or fsspec URL for the videos; None: they are not downloaded.
        largest_video: bytes of a video that are downloaded at most.
        payer: with `batch` None: only batches that this account may have paid for.
        archived: with `batch` None: batches that are archived, too.
        unknown_state_holds_s: so long a video of which the API says nothing that is known is waited for.
        unreachable_after_s: a settle that has had no answer at all ends after so long.
        tells: whether it logs that the API does not answer.
        endless: where nothing is left to follow, it waits for the next videos until it is stopped.
        tally: of one batch, which settles share; None: each counts for itself.
    """

    batch: Batch | None
    poll_interval_s: float = 5
    concurrency: int = 16
    timeout_s: float | None = None
    wait: bool = True
    downloads: str | None = None
    largest_video: int = LARGEST_VIDEO
    payer: Payer | None = None
    archived: bool = True
    unknown_state_holds_s: float = 600
    unreachable_after_s: float = 60
    tells: bool = True
    endless: bool = False
    tally: Tally | None = None
