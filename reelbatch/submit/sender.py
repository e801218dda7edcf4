"""One row on its way: its images, its intent, its create, its answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from weakref import WeakSet

from reelbatch.client import Client, create_body
from reelbatch.client.outcome import Kind, Outcome, Policy, classify
from reelbatch.domain import Budget, ClaimedRow, RunId, Token, sent_name
from reelbatch.errors import ApiError, ReelbatchError, StateConflict, UploadError
from reelbatch.images.inspect import ImageProblem, ImageUnseen
from reelbatch.ledger import Ledger, utc_now
from reelbatch.ledger.accounts import Payer
from reelbatch.ledger.admission import Admission, Intent, Window
from reelbatch.ledger.attempts import Ending
from reelbatch.ledger.claims import Release
from reelbatch.ledger.intents import record_intents
from reelbatch.ledger.selection import RepeatPolicy
from reelbatch.retry import RetryPolicy, retry
from reelbatch.submit.agreed_cost import AgreedCost
from reelbatch.submit.circuit_breaker import CircuitBreaker, DoubtBreaker
from reelbatch.submit.concurrency import ConcurrencyLimiter, Stopped
from reelbatch.submit.confirmation import Confirmer, is_cleared_up
from reelbatch.submit.freshness import Clocks, Freshness, read_clocks
from reelbatch.submit.prices import NoPrice, SeenPrices, Turn
from reelbatch.submit.recorder import ENDINGS, Attempt, Recorder, new_token
from reelbatch.submit.refusals import Refusals, Wait, WindowFull, Withdrawn
from reelbatch.submit.render_window import RenderWindow
from reelbatch.submit.run_stats import ExitReason, RunStats
from reelbatch.submit.uploads import Asset, Uploader, asked_of

_ASSET_GONE = "asset_gone"
_BLIND = "this machine can't see the images"
_HALTING: Mapping[int | None, ExitReason] = {401: ExitReason.BAD_KEY, 402: ExitReason.NO_CREDITS}


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitOptions:
    """How rows are sent. Times in seconds, money in credits."""

    run_id: RunId
    concurrency: int
    attempts: int
    wait_s: float
    max_wait_s: float
    payer: Payer
    policy: Policy
    max_credits: int | None
    identical_rejections: int
    halts_on_drift: bool = False  # under a cap: no more of what costs more than estimated
    lease_s: float = 60.0
    render_window: int | None = None  # videos of this account unfinished at once, all workers' together
    doubt_min_age_s: float = 300.0  # after which the API's word counts that there is no such video
    doubts_in_a_row: int = 5
    doubt_probe_wait_s: float = 30.0
    clocks: Clocks = read_clocks  # by which an intent grows old
    budget: Budget | None = None  # of the batch's account


class RowSender:
    """Sends one row at a time, from its claim to its recorded answer; all rows of a run share one."""

    def __init__(
        self, ledger: Ledger, client: Client, uploader: Uploader, options: SubmitOptions, limiter: ConcurrencyLimiter
    ) -> None:
        self.stats = RunStats()
        self.window = RenderWindow(options.render_window)
        self.repeats = RepeatPolicy.HOLD
        self.agreed: AgreedCost | None = None  # what rows may cost; None: no one was asked
        self.uploader = uploader
        self.limiter = limiter
        self._ledger = ledger
        self._client = client
        self._options = options
        self._retries = RetryPolicy(attempts=options.attempts, wait_s=options.wait_s, max_wait_s=options.max_wait_s)
        self._freshness = Freshness(options.lease_s, options.clocks)
        self._shared_window = None if options.render_window is None else Window(options.payer, options.render_window)
        self._breaker = CircuitBreaker(options.identical_rejections)
        self._doubts = DoubtBreaker(limiter, options.doubts_in_a_row, options.doubt_probe_wait_s)
        self._left: set[ClaimedRow] = set()  # at work, and a request of theirs has left
        self._upload_failures: WeakSet[ApiError] = WeakSet()
        self._prices = SeenPrices()
        self.refusals = Refusals((options.max_credits, options.budget), self.stats, self._prices, self._end)
        self._turn = Turn(ledger, options.lease_s)
        self.recorder = Recorder(ledger, self.stop)
        self.confirming = 0  # rows of which the API is asked about an id that came with a refusal
        self._confirmer = Confirmer(client, limiter, self._retries, options.doubt_min_age_s)

    @property
    def dearer(self) -> list[str]:
        """Kinds of video that cost more than estimated, in words."""
        return self._prices.warnings

    @property
    def most(self) -> int | None:
        """A row that is estimated above it is not taken: it fits no cap, budget or yes; None: any row may."""
        bounds = (self.refusals.most, None if self.agreed is None else self.agreed.most)
        return min((bound for bound in bounds if bound is not None), default=None)

    def stop(self, reason: ExitReason, message: str | None = None) -> None:
        """Let no further create leave; those in flight are waited for and recorded."""
        self.limiter.stop()
        self._end(reason, message)

    def _end(self, reason: ExitReason, message: str | None) -> None:
        """Take on nothing more; creates that are ready still leave, unless the limiter was stopped before."""
        self.stats.end(reason, message)
        self.limiter.close()
        self.window.stop()
        self.uploader.stop()

    async def handle(self, row: ClaimedRow) -> bool:
        """One row from claim to end; whatever it meets, the others go on.

        False: no request of it has left, so it counts as none of those that the run may send; another row may go.
        """
        await self._try_to_send(row)
        has_left = row in self._left
        self._left.discard(row)
        if self.agreed is not None and not has_left:
            self.agreed.passes_over = True
        return has_left

    async def _try_to_send(self, row: ClaimedRow) -> None:
        try:
            await self._send(row)
        except Withdrawn as why:
            self.stats.gave_back(code=why.code)
        except Stopped:
            await self._give_back(row)
        except NoPrice as why:
            await self._give_back(row, why.code, str(why))
        except ImageUnseen as problem:
            await self._unseen(row, problem)
        except ImageProblem as problem:
            await self._give_back(row, "image", str(problem), invalid=True)
        except ApiError as error:
            await self._upload_failed(row, error)
        except StateConflict:  # taken from this worker, which was thought dead; its new holder goes on with it
            self.stats.gave_back()
        except ReelbatchError as error:
            self.stop(ExitReason.LEDGER_FAILED, str(error))
        except Exception as error:  # noqa: BLE001 - kept and raised when what is in flight has been recorded
            self.stats.crash = self.stats.crash or error
            self.stop(ExitReason.CRASHED, f"{type(error).__name__}: {error}")

    async def _send(self, row: ClaimedRow) -> None:
        self._prices.check(row)
        assets = await self._assets(row)
        is_covered = self.agreed is None or self.agreed.covers(row)
        if not is_covered and not self._is_refused(row):
            if self.agreed is not None and not self.agreed.passes_over:
                self.stop(ExitReason.NOT_AGREED, "the next row would cost more than is left of what was said yes to")
            self.refusals.leave_out()
            raise Stopped
        try:
            outcome = await self._answer(row, assets)
        finally:
            if self.agreed is not None and is_covered and row not in self._left:
                self.agreed.give_back(row)
        await self._conclude(row, outcome)

    def _is_refused(self, row: ClaimedRow) -> bool:
        """Whether its intent surely is: no one was asked about a row of unknown cost that a cap or budget refuses."""
        return self.refusals.is_bounded and row.credits_estimated is None

    async def _answer(self, row: ClaimedRow, assets: list[Asset]) -> Outcome:
        outcome = await self._attempts(row, assets)
        if outcome.code == _ASSET_GONE:
            for asset in assets:
                await self.uploader.forget(asset)
            fresh = [replace(asset, from_cache=False) for asset in await self._assets(row)]
            outcome = await self._attempts(row, fresh)
        return outcome

    async def _assets(self, row: ClaimedRow) -> list[Asset]:
        """The row's image, and its end image where it has one."""
        stated = filter(None, (row.request.image_path, row.request.end_image_path))
        return [await self.uploader.asset(path, row.image_base) for path in stated]

    async def _attempts(self, row: ClaimedRow, assets: list[Asset]) -> Outcome:
        return await retry(partial(self._attempt, row, assets), self._retries, _another_try, self.limiter.sleep)

    async def _attempt(self, row: ClaimedRow, assets: list[Asset]) -> Outcome:
        while True:
            try:
                async with self.window.place() as place:
                    intent, outcome = await self._create(row, assets)
                    await self._record(intent, outcome, ENDINGS[outcome.kind])
                    place.has_video = outcome.kind is Kind.SUBMITTED
            except WindowFull:
                self.window.full()  # other workers were quicker; wait until someone counts again
            except Wait:
                await self._turn.wait()
            except _Stale:
                continue
            except _OldUpload:  # it waited for days; this row's next attempts have the new ones as well
                assets[:] = await self._assets(row)
            else:
                return outcome if outcome.claimed_id is None else await self._confirm(intent, outcome)

    async def _confirm(self, intent: _Recorded, doubt: Outcome) -> Outcome:
        """The row is in doubt in the table, its answer's id with it: whatever ends this process, that is kept."""
        self.confirming += 1
        try:
            outcome = await self._confirmer.resolve(doubt, intent.token)
        finally:
            self.confirming -= 1
        if is_cleared_up(outcome):
            self._doubts.learn(outcome.kind)
            self.stats.clear_up(intent.reserved)
            await self._record(intent, outcome, ENDINGS[outcome.kind])
        return outcome

    async def _create(self, row: ClaimedRow, assets: list[Asset]) -> tuple[_Recorded, Outcome]:
        async with self.limiter.ready() as place:
            if any(asset.is_old for asset in assets):
                raise _OldUpload
            self._prices.check(row)
            written = self._freshness.now()  # before the commit: during it the process may be stopped as well
            intent = await self._record_intent(row, new_token(), assets)
            try:
                started = await place.acquire()
            except Stopped:
                await self._record(intent, Outcome(Kind.RETRY), Ending.WITHDRAWN)
                raise Withdrawn from None
            if started is None or self._freshness.is_over(written):
                await self._record(intent, Outcome(Kind.RETRY, message="not sent in time"), Ending.RETRY)
                raise _Stale
            image, end_image = assets[0].path, assets[1].path if len(assets) > 1 else None
            body = create_body(row.request, image, end_image, sent_name(row, intent.token))
            self._left.add(row)
            self.stats.leaving()
            history, run_id = self._ledger.history, self._options.run_id
            history.sent(row, run_id, intent.token)
            exchange = await self._client.send_create(body, lambda: not self._freshness.is_over(written))
            outcome = _asset_gone(classify(exchange, self._options.policy), assets)
            history.answered(row, run_id, intent.token, outcome.facts(request_sent=exchange.request_sent))
            self._learn(outcome, started)
        return intent, outcome

    async def _record_intent(self, row: ClaimedRow, token: Token, assets: list[Asset]) -> _Recorded:
        options = self._options
        intent = Intent(
            row,
            options.run_id,
            token,
            utc_now(),
            options.max_credits,
            window=self._shared_window,
            asked=asked_of(row, assets),
            repeats=self.repeats,
            halts_on_drift=options.halts_on_drift,
            budget=options.budget,
        )
        ruling = await self._ledger.write(record_intents, intent)
        if ruling.admission is not Admission.ADMITTED:
            self.refusals.refuse(row, ruling)  # raises
        self.stats.reserve(ruling.reserved)
        self._prices.reserved(row, ruling.reserved)
        return _Recorded(row, token, ruling.reserved)

    async def _record(self, intent: _Recorded, outcome: Outcome, ending: Ending) -> None:
        row = intent.row
        attempt = Attempt(row.batch, row.row_key, row.generation, self._options.run_id, intent.token, intent.reserved)
        answer = attempt.answer(outcome, ending)
        await self.recorder.record(answer)
        self.stats.record(answer)
        self._prices.answered(row, answer)
        self._turn.come()

    def _learn(self, outcome: Outcome, started: float) -> None:
        """At once, before anything is awaited: what this answer means for the creates to come."""
        if self._doubts.learn(outcome.kind):
            self.stop(ExitReason.DOUBTS, outcome.message)
        said = outcome.said
        if said.kind is Kind.HALT:
            self.stop(_HALTING.get(said.status, ExitReason.BAD_KEY), said.message)
        elif said.status == 429:  # noqa: PLR2004 - HTTP
            self.limiter.slow_down(started, said.wait_s)
        elif outcome.kind is Kind.SUBMITTED:
            self.limiter.on_success()

    async def _conclude(self, row: ClaimedRow, outcome: Outcome) -> None:
        if self._breaker.learn(outcome):
            self.stop(ExitReason.SAME_FAILURE, outcome.message)
        if outcome.kind is Kind.RETRY and is_cleared_up(outcome):  # given back by its late answer
            self.stats.gave_back(code=outcome.code, message=outcome.message)
        elif outcome.kind is Kind.RETRY:  # all attempts used up: surely not created, so the next run may send it
            await self._give_back(row, outcome.code, outcome.message)

    async def _upload_failed(self, row: ClaimedRow, error: ApiError) -> None:
        if error.status in _HALTING and not isinstance(error, UploadError):  # a storage knows nothing of our key
            self.stop(_HALTING[error.status], str(error))
        elif error not in self._upload_failures:  # rows that shared one upload say the same thing once
            self._upload_failures.add(error)
            if self._breaker.learn(Outcome(Kind.RETRY, code="upload", message=str(error))):
                self.stop(ExitReason.SAME_FAILURE, str(error))
        await self._give_back(row, "upload", str(error))

    async def _unseen(self, row: ClaimedRow, problem: ImageUnseen) -> None:
        """Another machine may see the image; this one need not try them all to find out that it sees none."""
        if self._breaker.learn(Outcome(Kind.RETRY, code="image_unseen", message=_BLIND)):
            self.stop(ExitReason.SAME_FAILURE, str(problem))
        await self._give_back(row, "image_unseen", str(problem))

    async def _give_back(
        self, row: ClaimedRow, code: str | None = None, message: str | None = None, *, invalid: bool = False
    ) -> None:
        await self.recorder.release(Release(row, self._options.run_id, code, message, invalid))
        self.stats.gave_back(invalid=invalid, code=code, message=message)


@dataclass(frozen=True, slots=True)
class _Recorded:
    """An intent that is on disk, and the credits that are held back for it."""

    row: ClaimedRow
    token: Token
    reserved: int


class _Stale(Exception):  # noqa: N818 - a signal within this module
    """So long after its intent that others may have taken this worker for dead: begin again with a new one."""


class _OldUpload(Exception):  # noqa: N818 - a signal within this module
    """An image was uploaded so long ago that the API may delete it: upload it again first."""


def _another_try(outcome: Outcome | Exception) -> float | None:
    """The seconds that the API asked for before another try; None where there is none."""
    if isinstance(outcome, Exception) or outcome.kind is not Kind.RETRY:
        return None
    return None if outcome.code == _ASSET_GONE or is_cleared_up(outcome) else outcome.wait_s or 0.0


def _asset_gone(outcome: Outcome, assets: list[Asset]) -> Outcome:
    """A refusal because the API no longer has an image that was uploaded earlier: upload again, then send again."""
    if outcome.kind is not Kind.REJECTED or not any(asset.from_cache for asset in assets):
        return outcome
    message = (outcome.message or "").lower()
    if "file_path" not in message and "not found" not in message:
        return outcome
    return replace(outcome, kind=Kind.RETRY, code=_ASSET_GONE, wait_s=0.0)
