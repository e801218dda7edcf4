"""Rejected videos again: what is asked for, whether it can be made, and what it should cost."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from reelbatch.domain import DEFAULT_MODEL, Request, RowState, product_of
from reelbatch.errors import SettingsError
from reelbatch.images.inspect import content_mark
from reelbatch.ledger import Ledger, orders, rejected
from reelbatch.ledger.estimates import Estimate
from reelbatch.ledger.fitting import that_fit
from reelbatch.ledger.orders import OpenOrder
from reelbatch.ledger.paid_requests import any_paid_elsewhere, paid_elsewhere
from reelbatch.ledger.rejected import Line, RejectedVideos
from reelbatch.ledger.reruns import RerunCount
from reelbatch.ledger.selection import RepeatPolicy, Scope
from reelbatch.manifest.parsing import CellError, text_fault, trimmed, word
from reelbatch.model_table import load_models
from reelbatch.pipeline.model_estimates import estimate_of
from reelbatch.pipeline.outlook import bound_of
from reelbatch.pipeline.run_context import RunContext
from reelbatch.settings import Settings
from reelbatch.typed_options import command

_NO_ORDER = 0


@dataclass(frozen=True, slots=True)
class ToMakeAgain:
    """What a run would send, in the manifest's order.

    Args:
        order: the open one that it goes on with.
        held: rows beside them whose request is paid for under another name.
        decided: products of whose variants one is approved.
    """

    lines: list[Line]
    order: OpenOrder | None
    held: int = 0
    decided: frozenset[str] = frozenset()

    @property
    def by_failure(self) -> list[RerunCount]:
        """The rows as they stand: with a video that was rejected, or waiting in the order."""
        known = [line.credits_estimated for line in self.lines if line.credits_estimated is not None]
        state = RowState.COMPLETE if self.order is None else RowState.PENDING
        count = RerunCount(state, None, len(self.lines), sum(known), len(self.lines) - len(known))
        return [count] if self.lines else []

    @property
    def of_decided(self) -> int:
        """Rows among them that are variants of products of which another one is approved."""
        return sum(product_of(line.row_key) in self.decided for line in self.lines)

    @property
    def assumed(self) -> list[tuple[Request, int]]:
        """Requests without a model, and the credits estimated."""
        priced = ((line.request, line.credits_estimated) for line in self.lines)
        return [(one, price) for one, price in priced if price is not None and one.model in {None, DEFAULT_MODEL}]


def checked(which: RejectedVideos) -> RejectedVideos:
    """What is added, as a manifest's cells are taken.

    Raises:
        SettingsError: it is no prompt, or no model's name.
    """
    suffix, model = which.prompt_suffix, which.model
    if suffix is not None:
        suffix = trimmed(suffix)
        if not suffix:
            raise SettingsError("--prompt-suffix is empty: say what the prompts are to end with, or leave it out")
        if fault := text_fault("prompt", suffix):
            raise SettingsError(f'--prompt-suffix "{fault.value}": {fault.what}. {fault.remedy}')
    if model is not None:
        model = trimmed(model)
        try:
            word(model)
        except CellError as error:
            raise SettingsError(f'--model "{model}": {error.what}. {error.remedy}') from error
        if not model:
            raise SettingsError(f"--model is empty: name one of `{command('models')}`, or leave it out")
    return replace(which, prompt_suffix=suffix, model=model)


def to_make_again(ledger: Ledger, which: RejectedVideos, settings: Settings, limit: int | None = None) -> ToMakeAgain:
    """What would be sent, at what that is estimated at; changes nothing.

    Raises:
        OrderOpen: another order is open.
        SettingsError: a model does not make what a row asks for.
    """
    order = ledger.read(partial(orders.going_on, batch=which.batch, options=which))
    estimate = estimate_of(settings)
    if order is not None:
        waiting = partial(rejected.waiting, order=order.order_id)
        every = ledger.read(partial(waiting, which=replace(which, repeats=RepeatPolicy.SEND)))
        sent = _not_paid_for(ledger, which, ledger.read(partial(waiting, which=which)))
        sent_at = [_rated(line, estimate) for line in sent]
        return ToMakeAgain(_first(ledger, which, sent_at, settings, limit), order, len(every) - len(sent))
    if which.model is not None:
        _refuse_unknown(which.model, settings)
    lines = []
    for line in ledger.read(partial(rejected.to_make_again, which=which)):
        request = which.revised(line.request)
        _refuse_misfit(line, request, settings)
        lines.append(line._replace(request=request, credits_estimated=estimate(request)))
    decided = ledger.read(partial(rejected.decided_products, batch=which.batch))
    sent = _not_paid_for(ledger, which, lines)
    return ToMakeAgain(_first(ledger, which, sent, settings, limit), None, len(lines) - len(sent), decided)


def _first(
    ledger: Ledger, which: RejectedVideos, lines: list[Line], settings: Settings, limit: int | None
) -> list[Line]:
    """Those that go within the limit, in their order."""
    bound = None if limit is None else ledger.read(partial(bound_of, batch=which.batch, settings=settings))
    if limit is None or bound is None:
        return lines[:limit]
    reserved = ((place, bound.price(line.request, line.credits_estimated)) for place, line in enumerate(lines))
    found = that_fit(reserved, bound.room, limit)
    return [lines[place] for place in sorted(found.fit + found.others)]


def _not_paid_for(ledger: Ledger, which: RejectedVideos, lines: list[Line]) -> list[Line]:
    """Without those that the run will hold, since another name has paid for what they ask for."""
    if which.repeats is RepeatPolicy.SEND or not ledger.read(partial(any_paid_elsewhere, batch=which.batch)):
        return lines
    asked = {line.row_key: _content_sha256(line) for line in lines}
    paid = ledger.read(partial(paid_elsewhere, batch=which.batch, hashes=set(filter(None, asked.values()))))
    return [line for line in lines if asked[line.row_key] not in paid]


def _content_sha256(line: Line) -> str | None:
    """What the request will be known by; None where an image can't be read here."""
    images = (line.request.image_path, line.request.end_image_path)
    marks = [content_mark(stated, line.image_base) for stated in images if stated]
    return None if None in marks else line.request.content_sha256(filter(None, marks))


def _rated(line: Line, estimate: Estimate) -> Line:
    return line if line.credits_estimated is not None else line._replace(credits_estimated=estimate(line.request))


def _refuse_unknown(model: str, settings: Settings) -> None:
    """A name that was mistyped is not worth a video of unknown cost for each row."""
    request = Request(image_path="", prompt=None, end_seconds=None, model=model)
    resolved = load_models(settings.models).resolve(request, tier=settings.tier, profile=settings.model_profile)
    if resolved.model is None and settings.rate is None:
        raise SettingsError(
            f'--model "{model}": not in the table of models, so its cost is unknown. '
            f"Use one of `{command('models')}`, or state its credits per second with --rate"
        )


def _refuse_misfit(line: Line, request: Request, settings: Settings) -> None:
    found = load_models(settings.models).check(request, tier=settings.tier, profile=settings.model_profile)
    long = text_fault("prompt", request.prompt or "")
    for issue in found if long is None else [*found, long]:
        if issue.blocking:
            raise SettingsError(
                f'row {line.row_key} can\'t be made again so: {issue.column} "{issue.value}": {issue.what}. '
                f"{issue.remedy} Or name other rows by --rows."
            )


def place(context: RunContext, which: RejectedVideos) -> None:
    """Place the order, or go on with it; from now on the run takes its rows and no others."""
    placed = partial(rejected.place, which=which, run_id=context.scope.run_id, estimate=estimate_of(context.settings))
    order = context.ledger.change(placed)
    scope: Scope = context.state.scope
    context.state.scope = scope._replace(rerun=False, only_order=True, order=_NO_ORDER if order is None else order)
