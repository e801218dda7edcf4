"""From a manifest to what a run would do: checked, compared with the results table, estimated. Spends nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from reelbatch.domain import Batch, Issue, Row
from reelbatch.errors import ManifestError, ReelbatchError
from reelbatch.images.bounds import ImageBounds, upload_bound
from reelbatch.ledger import Comparison, StagedManifest
from reelbatch.ledger.reruns import RerunCount
from reelbatch.ledger.selection import Action
from reelbatch.ledger.staging import ActionCount
from reelbatch.manifest import Checks, Manifest, ManifestOptions
from reelbatch.model_table import DEFAULT_MODEL, ModelTable, load_models
from reelbatch.pipeline.resources import table_is_new, table_shown
from reelbatch.settings import Settings

KEYS_SHOWN = 10
KEPT_PROBLEMS = 1000
"""Problems and warnings that are listed; beyond that they are only counted."""


@dataclass(slots=True)
class Findings:
    """What the checks said, gathered while the manifest streams by."""

    rows: int = 0
    problem_count: int = 0
    warning_count: int = 0
    problems: list[Issue] = field(default_factory=list)
    warnings: list[Issue] = field(default_factory=list)
    assumed: list[str] = field(default_factory=list)  # models that estimates of rows without a model took

    def gather(self, manifest: Manifest) -> Iterator[Sequence[Row]]:
        """Pass the manifest's rows on, and keep what was found."""
        for checked in manifest.batches():
            self.rows += len(checked.rows)
            self.problem_count += len(checked.problems)
            self.warning_count += len(checked.warnings)
            self.problems += checked.problems[: KEPT_PROBLEMS - len(self.problems)]
            self.warnings += checked.warnings[: KEPT_PROBLEMS - len(self.warnings)]
            self.assumed += checked.assumed
            yield checked.rows


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEstimate:
    """Rows to send for one model; `credits` None where its rate is unknown for all of them."""

    model: str
    rows: int
    credits: int | None
    unknown: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
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
    problems: list[str]
    warnings: list[str]
    problem_count: int
    warning_count: int
    credits_assumed: int = 0  # of the estimate: rows without a model
    assumed_models: list[str] = field(default_factory=list)  # that the API is taken to make them with
    joined: bool = False  # another worker, which is still at work, has read the manifest
    results: str = ""  # the results table: a file's whole path, or a URL without its password
    results_is_new: bool = False  # there is no such file yet

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


def plan_from_json(text: str) -> Plan:
    """A plan as `as_json` made it."""
    known = json.loads(text)
    models = [ModelEstimate(**model) for model in known.pop("by_model")]
    return Plan(**known, by_model=models)


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """What somebody said yes to. Credits are integers."""

    rows: int
    credits_estimated: int
    unknown_rate: int

    @classmethod
    def to(cls, plan: Plan | RerunPlan) -> Self:
        """What `plan` shows."""
        return cls(rows=plan.send, credits_estimated=plan.credits_estimated, unknown_rate=plan.unknown_rate)

    def covers(self, plan: Plan | RerunPlan) -> bool:
        """Whether `plan` sends no more, and costs no more."""
        known = (self.rows, self.credits_estimated, self.unknown_rate)
        return all(
            now <= then
            for now, then in zip((plan.send, plan.credits_estimated, plan.unknown_rate), known, strict=True)
        )


class NotAgreed(ReelbatchError):  # noqa: N818 - a signal within a run
    """More would be sent than somebody said yes to. `asked`: they were asked again, and said no."""

    def __init__(self, message: str, *, asked: bool) -> None:
        super().__init__(message)
        self.asked = asked


@dataclass(frozen=True, slots=True, kw_only=True)
class RerunPlan:
    """What a rerun would do. Credits are integers."""

    batch: Batch
    send: int
    credits_estimated: int
    unknown_rate: int
    by_failure: list[RerunCount]
    left_alone: list[str]
    credits_assumed: int = 0  # of the estimate: rows without a model
    assumed_models: list[str] = field(default_factory=list)  # that the API is taken to make them with

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What a context is to work on. `base`: where the manifest's relative image paths start."""

    batch: Batch
    command: str
    base: str
    rerun: bool = False


def checks_of(settings: Settings) -> Checks:
    """The checks that the settings ask for."""
    return Checks(
        models=load_models(settings.models),
        tier=settings.tier,
        profile=settings.model_profile,
        rate=settings.rate,
        image_schemes=settings.image_schemes,
    )


def image_bounds(settings: Settings) -> ImageBounds:
    """What may be fetched and uploaded for a row, by the settings."""
    upload = upload_bound(settings.tier, load_models(settings.models).upload_limits)
    return ImageBounds(schemes=settings.image_schemes, upload=upload)


def options_of(settings: Settings) -> ManifestOptions:
    """How to read the manifest, by the settings."""
    stated = settings.manifest
    return ManifestOptions(
        columns=stated.columns,
        defaults=stated.defaults,
        prompt_template=stated.prompt_template,
        delimiter=stated.delimiter,
        encoding=stated.encoding,
        quoting=stated.quoting,
        escape=stated.escape,
        multiline=stated.multiline,
    )


def refuse_duplicates(manifest: Manifest, findings: Findings, comparison: Comparison) -> None:
    """A key names one row.

    Raises:
        ManifestError: two rows have the same key; lists them all, and whatever else is wrong.
    """
    if not comparison.duplicates:
        return
    lines = [
        f'  row_key "{duplicate.row_key}" is in rows {", ".join(map(str, duplicate.row_numbers))}'
        for duplicate in comparison.duplicates
    ]
    lines.append("Give every row its own row_key; without that column, rows must differ from each other.")
    if findings.problem_count:
        lines += [f"There are {findings.problem_count} more problems:", *_problem_lines(findings)]
    raise ManifestError(f"{manifest.name}: the same key names more than one row.", *lines)


def refuse_unknown_keys(manifest: Manifest, comparison: Comparison) -> None:
    """Whoever names a row means one that there is.

    Raises:
        ManifestError: keys were named that the manifest does not have.
    """
    if unknown := comparison.unknown_keys:
        names = ", ".join(unknown[:KEYS_SHOWN]) + (
            f" and {len(unknown) - KEYS_SHOWN} more" if len(unknown) > KEYS_SHOWN else ""
        )
        raise ManifestError(f"--rows: {manifest.name} has no row with the key {names}. Check the spelling.")


def _problem_lines(findings: Findings) -> list[str]:
    lines = [f"  {problem}" for problem in findings.problems]
    if more := findings.problem_count - len(lines):
        lines.append(f"  and {more} more")
    return lines


def refuse_problems(manifest: Manifest, findings: Findings) -> None:
    """With `--strict`, one bad row is enough.

    Raises:
        ManifestError: lists every problem.
    """
    if not findings.problem_count:
        return
    lines = [f"{manifest.name}: {findings.problem_count} problems, nothing is sent:", *_problem_lines(findings)]
    raise ManifestError(*lines)


def make_plan(manifest: Manifest, batch: Batch, settings: Settings, compared: tuple[Findings, Comparison]) -> Plan:
    """Put what was found into one report."""
    findings, comparison = compared
    by_action: dict[str, Any] = {
        action.value: sum(count.rows for count in comparison.counts if count.action is action) for action in Action
    }
    models = _by_model(count for count in comparison.counts if count.action is Action.SEND)
    credits_ = sum(model.credits or 0 for model in models)
    same = [_same_request(first, last) for first, last in comparison.same_requests]
    by_action["held_rows"] = by_action.pop(Action.HELD.value)
    assumed = sum(model.credits or 0 for model in models if findings.assumed and model.model == DEFAULT_MODEL)
    return Plan(
        manifest=manifest.name,
        batch=batch,
        rows=findings.rows,
        **by_action,
        beyond_limit=comparison.beyond_limit,
        held=[held.as_json() for held in comparison.held[:KEPT_PROBLEMS]],
        order=None if comparison.order is None else str(comparison.order),
        gone=comparison.gone,
        credits_estimated=credits_,
        unknown_rate=sum(model.unknown for model in models),
        credits_assumed=assumed,
        assumed_models=findings.assumed if assumed else [],
        dollars=_dollars(credits_, settings, load_models(settings.models)),
        max_credits=settings.max_credits,
        by_model=models,
        problems=[str(problem) for problem in findings.problems],
        warnings=[str(warning) for warning in findings.warnings] + same,
        problem_count=findings.problem_count,
        warning_count=findings.warning_count + len(same),
        results=table_shown(settings),
        results_is_new=table_is_new(settings),
    )


def _by_model(counts: Iterable[ActionCount]) -> list[ModelEstimate]:
    """Rows that name no model, and those that name `default`, ask for the same."""
    sums: dict[str, tuple[int, int, int]] = {}
    for count in counts:
        rows, credits_, unknown = sums.get(count.model or DEFAULT_MODEL, (0, 0, 0))
        more = (rows + count.rows, credits_ + count.credits_estimated, unknown + count.unknown)
        sums[count.model or DEFAULT_MODEL] = more
    return [
        ModelEstimate(model=name, rows=rows, credits=None if unknown == rows else credits_, unknown=unknown)
        for name, (rows, credits_, unknown) in sums.items()
    ]


def look(manifest: Manifest, batch: Batch, settings: Settings, staged: tuple[Findings, StagedManifest]) -> Plan:
    """The plan for a staged manifest, without changing anything.

    Raises:
        ManifestError: two rows have the same key.
    """
    findings, table = staged
    comparison = table.compare(batch)
    refuse_duplicates(manifest, findings, comparison)
    refuse_unknown_keys(manifest, comparison)
    return make_plan(manifest, batch, settings, (findings, comparison))


def _same_request(first: int, last: int) -> str:
    return f"rows {first} and {last} ask for the same video under different keys; both are sent and paid for"


def _dollars(credits_: int, settings: Settings, models: ModelTable) -> float | None:
    per_credit = settings.dollar_rate(models.dollars_per_credit)
    return None if per_credit is None else round(models.dollars(credits_, per_credit=per_credit), 2)
