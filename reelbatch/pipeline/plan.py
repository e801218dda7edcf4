"""From a manifest to what a run would do: checked, compared with the results table, estimated. Spends nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from reelbatch.domain import DEFAULT_MODEL, Batch
from reelbatch.errors import SettingsError
from reelbatch.images.inspect import content_mark
from reelbatch.ledger import Comparison, Ledger, Origin, StagedManifest, in_memory
from reelbatch.ledger.accounts import Payer
from reelbatch.ledger.samples import SampleCost
from reelbatch.ledger.selection import Action, Regenerate, SendOptions
from reelbatch.manifest import ArrowStream, Checks, Manifest, ManifestOptions, open_manifest
from reelbatch.model_table import either, load_models
from reelbatch.pipeline.account import ask, payer
from reelbatch.pipeline.dollars import estimated_dollars
from reelbatch.pipeline.duration import Duration
from reelbatch.pipeline.findings import Findings, same_request
from reelbatch.pipeline.model_estimates import ModelEstimate, by_model
from reelbatch.pipeline.outlook import outlook, room_of
from reelbatch.pipeline.plan_refusals import refuse_unusable
from reelbatch.pipeline.reach import Reach
from reelbatch.pipeline.resources import cleared_up, refuse_places, table_is_new, table_shown
from reelbatch.printable import is_utf8
from reelbatch.report_view import Facts, ReportView
from reelbatch.settings import Settings
from reelbatch.typed_options import MANIFEST, command

if TYPE_CHECKING:  # a plan of a file needs none, and it takes a while to import
    import pandas as pd

    from reelbatch.ledger.budgets import BudgetLeft
    from reelbatch.pipeline.funds import Funds

Source: TypeAlias = "str | os.PathLike[str] | pd.DataFrame | ArrowStream"

_LONGEST_NAME = 200  # bytes: files have 255, and while one is written its name has an ending of its own
HELD_LISTED = 1000
"""Rows that are held, by name; beyond that they are only counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateOptions:
    """What is to be generated, and from what."""

    source: Source
    batch: str | None = None  # None: the manifest's stem
    strict: bool = False
    send: SendOptions = field(default_factory=SendOptions)  # which rows


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Plan(ReportView):
    """What `generate` would do. Credits are integers; dollars None where no rate is set."""

    manifest: str
    batch: Batch
    rows: int
    send: int
    skip: int
    changed: int
    failed: int
    in_doubt: int
    at_work: int  # another run has them
    invalid: int
    later: int  # still rendering; made again once they have settled
    not_chosen: int
    gone: int
    beyond_limit: int  # left to the next run
    held_rows: int  # paid for under another name
    held: list[dict[str, Any]]  # the first of them, with both keys
    order: str | None  # the batch's open order
    credits_estimated: int
    unknown_rate: int
    dollars: float | None
    max_credits: int | None
    by_model: list[ModelEstimate]
    problems: list[str]  # one for each cause
    warnings: list[str]
    problem_count: int
    warning_count: int
    credits_assumed: int = 0  # of the estimate: rows without a model
    assumed_models: list[str] = field(default_factory=list)  # that the API is taken to make them with
    joined: bool = False  # another worker, which is still at work, has read the manifest
    results: str = ""  # the results table: a file's whole path, or a URL without its password
    results_is_new: bool = False  # there is no such file yet
    left_out: int = 0  # rows of the manifest that `where` does not let through
    funds: Funds | None = None  # of the account, where it was asked
    pilot: int | None = None  # rows of a sample, which are all that is sent now
    observed_rows: int = 0  # of those of unknown rate: such videos were charged before
    credits_observed: int = 0  # what these would cost by that; no part of the estimate
    observed_models: list[str] = field(default_factory=list)
    causes: list[dict[str, Any]] = field(default_factory=list)  # of the problems, with how many rows have each
    changed_invalid: int = 0  # of the changed rows: what the manifest asks for now fails its checks
    finished_invalid: int = 0  # unchanged rows with their video that fail their checks now: nothing is asked of them
    to_correct: bool = False  # some other row fails its checks
    unlisted: int = 0  # problems of which no cause is listed
    requests: list[dict[str, Any]] = field(default_factory=list)  # the first ones, as they would be sent
    duration: Duration | None = None
    cap: Reach | None = None  # how far what is left of max_credits reaches
    cap_left: int | None = None  # what is left of max_credits
    budget: BudgetLeft | None = None  # how it stands by the table alone
    budget_reach: Reach | None = None
    pilot_cost: SampleCost | None = None  # of the sample's rows that were not sent yet

    @property
    def announced(self) -> SampleCost:
        """What a run sends, and what that costs: of a pilot, its sample."""
        return self.pilot_cost or SampleCost(self.send, self.credits_estimated, self.unknown_rate)

    @property
    def observed(self) -> str:
        """What is known of rows of unknown rate all the same, in words; nothing where nothing is."""
        if not self.observed_rows:
            return ""
        which = f"{self.observed_rows:,} of them" if self.observed_rows < self.unknown_rate else "they"
        models = either(self.observed_models)
        return f"; {which} would cost {self.credits_observed:,} by what {models} was charged before (observed)"

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        known = asdict(replace(self, funds=None, budget=None))
        known["pilot_cost"] = None if self.pilot_cost is None else self.pilot_cost._asdict()
        del known["funds"], known["cap_left"], known["budget_reach"]
        if self.cap is not None:
            known["cap"] = {"left": self.cap_left, "covers": asdict(self.cap)}
        if self.budget is not None and self.budget_reach is not None:
            known["budget"] = {**self.budget.as_json(), "covers": asdict(self.budget_reach)}
        return known if self.funds is None else {**known, **self.funds.as_json()}

    def facts(self) -> Facts:
        """For a notebook."""
        names = ("send", "skip", "changed", "held_rows", "failed", "in_doubt", "invalid", "left_out", "gone")
        counts = {name: getattr(self, name) for name in ("rows", *names, "credits_estimated", "dollars")}
        return Facts(f"plan of {self.manifest} as batch {self.batch}", counts, [*self.problems, *self.warnings])


def plan_from_json(text: str) -> Plan:
    """A plan as `as_json` made it."""
    known = {**json.loads(text), "budget": None}  # which has moved on since
    known["by_model"] = [ModelEstimate(**model) for model in known["by_model"]]
    if known.get("pilot_cost"):
        known["pilot_cost"] = SampleCost(**known["pilot_cost"])
    if known.get("duration"):
        known["duration"] = Duration(**known["duration"])
    if cap := known.get("cap"):
        known |= {"cap": Reach(**cap["covers"]), "cap_left": cap["left"]}
    return Plan(**known)


def plan(
    options: GenerateOptions,
    settings: Settings,
    told: Callable[[int], None] | None = None,
    *,
    asks_account: bool = False,
) -> Plan:
    """Check the manifest and compare it with the results table; spends nothing.

    No row changes but those that dead workers held, where the table can be written: a run takes them as well.

    With `asks_account` the API is asked how far the balance reaches, and by which tier rows are checked.

    `told` hears how many rows were read so far.

    Raises:
        KeyRefused: the API does not accept the key.
        ManifestError: the manifest can't be used.
        LedgerUnusable: the results table can't be opened.
        OrderOpen: videos are to be made again, and another order is open.
        SettingsError: an order is to be dropped, which sends nothing.
    """
    if options.send.regenerate is Regenerate.CANCEL:
        drop = command("generate", MANIFEST, "--regenerate", "cancel")
        raise SettingsError(f"--regenerate cancel: sends nothing. `{drop}` drops what an open order has not sent.")
    refuse_places(settings, options.source, options.batch)
    is_new = table_is_new(settings)
    with in_memory() if is_new else Ledger(settings.results, settings.lease_s) as ledger:
        if not is_new:
            cleared_up(ledger, settings)
        who = ask(ledger, settings) if asks_account else None
        stated = settings if who is None else who.applied_to(settings)
        manifest = manifest_of(options, stated)
        batch = batch_name(options.batch, manifest)
        findings = Findings(told)
        payer_ = payer(ledger, stated) if who is None else who.payer
        with ledger.staged(findings.gather(manifest), batch, options.send, origin_of(manifest, payer_)) as staged:
            comparison = staged.compare(batch, staged.ask(partial(room_of, batch=batch, settings=stated)))
            refuse_unusable(manifest, findings, comparison)
            made = make_plan(manifest, batch, stated, findings, comparison)
            made = foresee(made, staged, comparison, stated)
            if who is None:
                return made
            from reelbatch.pipeline.funds import ToSend, funds_of  # follows videos, which few plans do

            rows = ToSend.of(made, lambda: list(staged.prices(batch)), staged.reserved(batch))
            return replace(made, funds=funds_of(ledger, stated, batch, who, rows))


def manifest_of(options: GenerateOptions, settings: Settings) -> Manifest:
    """The manifest, opened and not read yet.

    Raises:
        ManifestError: there is no such manifest, or it can't be opened.
    """
    return open_manifest(options.source, options_of(settings), checks_of(settings))


def batch_name(batch: str | None, manifest: Manifest) -> Batch:
    """The batch's name: stated, or the manifest's stem.

    Raises:
        SettingsError: it could not be a file name, which the export needs.
    """
    name = str(manifest.stem if batch is None else batch).strip()  # from Python it may be a number
    if batch is not None and not name:
        raise SettingsError("--batch is empty: state a value, or leave it out")
    if not name or name in {".", ".."} or any(char in name for char in '/\\\0:*?"<>|'):
        raise SettingsError(f'--batch "{name}": a batch\'s name is also a file\'s name; leave out / \\ : * ? " < > |')
    for stated, text in ((f'--batch "{name}"', name), (f"{manifest.name}: its path", manifest.name + manifest.base)):
        if not is_utf8(text):
            raise SettingsError(f"{stated} is no UTF-8, and no table holds it; choose another name")
    if len(name.encode()) > _LONGEST_NAME:
        raise SettingsError(
            f"--batch \"{name}\": a batch's name is also a file's name, and this one has more than "
            f"{_LONGEST_NAME} bytes; state a shorter one"
        )
    return Batch(name)


def origin_of(manifest: Manifest, who: Payer) -> Origin:
    """Where the manifest's images are, and who would pay for its videos."""
    return Origin(manifest.base, partial(content_mark, base=manifest.base), who)


def checks_of(settings: Settings) -> Checks:
    """The checks that the settings ask for."""
    return Checks(
        models=load_models(settings.models),
        tier=settings.tier,
        profile=settings.model_profile,
        rate=settings.rate,
        image_schemes=settings.image_schemes,
        lenient_images=settings.image_checks == "warn",
    )


def options_of(settings: Settings) -> ManifestOptions:
    """How to read the manifest, by the settings."""
    stated = settings.manifest
    return ManifestOptions(
        columns=stated.columns,
        row_key=stated.row_key,
        fill_down=stated.fill_down,
        where=stated.where,
        image_prefix=stated.image_prefix,
        split=stated.split,
        strip_html=stated.strip_html,
        variants=stated.variants,
        defaults=stated.defaults,
        prompt_template=stated.prompt_template,
        delimiter=stated.delimiter,
        encoding=stated.encoding,
        quoting=stated.quoting,
        escape=stated.escape,
        multiline=stated.multiline,
    )


def make_plan(
    manifest: Manifest, batch: Batch, settings: Settings, findings: Findings, comparison: Comparison
) -> Plan:
    """Put what was found into one report."""
    by_action: dict[str, Any] = {
        action.value: sum(count.rows for count in comparison.counts if count.action is action) for action in Action
    }
    models = by_model(count for count in comparison.counts if count.action is Action.SEND)
    credits_ = sum(model.credits or 0 for model in models)
    same = [same_request(each.rows, *manifest.rows_in_file(each[:2])) for each in comparison.same_requests]
    by_action["held_rows"] = by_action.pop(Action.HELD.value)
    assumed = sum(model.credits or 0 for model in models if findings.assumed and model.model == DEFAULT_MODEL)
    return Plan(
        manifest=manifest.name,
        batch=batch,
        rows=findings.rows,
        **by_action,
        beyond_limit=comparison.beyond_limit,
        held=[held.as_json() for held in comparison.held[:HELD_LISTED]],
        order=None if comparison.order is None else str(comparison.order),
        gone=comparison.gone,
        credits_estimated=credits_,
        unknown_rate=sum(model.unknown for model in models),
        credits_assumed=assumed,
        assumed_models=findings.assumed if assumed else [],
        dollars=estimated_dollars(credits_, settings),
        max_credits=settings.max_credits,
        by_model=models,
        problems=[str(problem) for problem in findings.problems],
        warnings=[str(warning) for warning in findings.warnings] + same,
        problem_count=findings.problems.count,
        warning_count=findings.warning_count + comparison.same_request_count,
        results=table_shown(settings),
        results_is_new=table_is_new(settings),
        left_out=findings.left_out,
        observed_rows=comparison.observed.rows,
        credits_observed=comparison.observed.credits,
        observed_models=list(comparison.observed.models),
        causes=[cause.as_json() for cause in findings.problems],
        unlisted=findings.problems.unlisted,
        pilot=comparison.pilot,
        changed_invalid=comparison.invalid.get(Action.CHANGED, 0),
        finished_invalid=comparison.invalid.get(Action.SKIP, 0),
        to_correct=comparison.to_correct,
    )


def foresee(made: Plan, staged: StagedManifest, comparison: Comparison, settings: Settings) -> Plan:
    """The plan with what is to be expected of the run; asked for while the manifest is staged."""
    ahead = outlook(staged, comparison, made.batch, settings)
    return replace(made, **{each.name: getattr(ahead, each.name) for each in fields(ahead)})
