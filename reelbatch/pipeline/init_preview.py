"""What guessed settings make of a catalogue: read and checked as a plan does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reelbatch.manifest import CheckedRows, Checks, ManifestOptions, open_manifest
from reelbatch.model_table import load_models
from reelbatch.pipeline.first_requests import SHOWN, FirstRequest, first_requests
from reelbatch.settings.settings import ManifestSettings

_PROBLEMS_KEPT = 10


@dataclass(slots=True)
class Preview:
    """A whole reading. `repeated`: rows whose key an earlier one has; `key_faults`: rows without a key."""

    rows: int = 0
    left_out: int = 0
    problem_count: int = 0
    problems: list[str] = field(default_factory=list)
    warning_count: int = 0
    warnings: list[str] = field(default_factory=list)
    key_faults: int = 0
    repeated: int = 0
    requests: list[FirstRequest] = field(default_factory=list)

    @property
    def has_sound_keys(self) -> bool:
        """Whether each row has a key of its own."""
        return not self.key_faults and not self.repeated


def preview(source: str, manifest: Mapping[str, Any], *, images: bool = False) -> Preview:
    """Read `source` with the settings `manifest`; with `images` those on this machine are looked at too.

    Raises:
        ManifestError: it can't be read with them.
    """
    settings = ManifestSettings(**manifest)
    options = ManifestOptions(**settings.model_dump())
    made, seen = Preview(), set[int]()
    for checked in open_manifest(source, options, Checks(models=load_models(), images=images)).batches():
        _add(made, checked, {"row_key", *settings.row_key}, seen)
    return made


def _add(made: Preview, checked: CheckedRows, key: set[str], seen: set[int]) -> None:
    made.rows += len(checked.rows)
    made.left_out += checked.left_out
    made.problem_count += len(checked.problems)
    made.problems += map(str, checked.problems[: _PROBLEMS_KEPT - len(made.problems)])
    made.warning_count += len(checked.warnings)
    made.warnings += map(str, checked.warnings[: _PROBLEMS_KEPT - len(made.warnings)])
    made.key_faults += sum(problem.column in key for problem in checked.problems)
    made.requests += first_requests(checked.rows, SHOWN - len(made.requests))
    keys: Sequence[int] = [hash(row.row_key) for row in checked.rows]
    before = len(seen)
    seen.update(keys)
    made.repeated += len(keys) - (len(seen) - before)
