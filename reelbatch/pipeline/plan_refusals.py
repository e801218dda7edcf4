"""Manifests that nothing can be planned for, with all that is wrong with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reelbatch.errors import ManifestError

if TYPE_CHECKING:
    from reelbatch.ledger import Comparison
    from reelbatch.manifest import Manifest
    from reelbatch.pipeline.findings import Findings

KEYS_SHOWN = 10
ROWS_SHOWN = 20
_OF_A_CATALOGUE = (
    "Give every row its own row_key; without that column, rows must differ from each other.",
    "A key can be made of several columns (row_key: [Handle, Image Position] under manifest).",
)
_OF_AN_EXPORT = ("As a manifest, give an export of one batch without --all-videos. `rerun` makes videos again.",)


def refuse_unusable(manifest: Manifest, findings: Findings, comparison: Comparison) -> None:
    """A key names one row, and rows that are named are there.

    Raises:
        ManifestError: two rows have the same key, or keys were named that the manifest does not have.
    """
    _refuse_duplicates(manifest, findings, comparison)
    _refuse_unknown_keys(manifest, comparison)


def _refuse_duplicates(manifest: Manifest, findings: Findings, comparison: Comparison) -> None:
    """Names the keys, and whatever else is wrong."""
    if not comparison.duplicates:
        return
    lines = []
    for duplicate in comparison.duplicates:
        rows = ", ".join(map(str, manifest.rows_in_file(duplicate.row_numbers[:ROWS_SHOWN])))
        more = len(duplicate.row_numbers) - ROWS_SHOWN
        lines.append(
            f'  row_key "{duplicate.row_key}" is in rows {rows}' + (f" and {more:,} more" if more > 0 else "")
        )
    if more := comparison.duplicate_keys - len(comparison.duplicates):
        lines.append(f"  and {more:,} more keys")
    lines += _OF_AN_EXPORT if manifest.is_export else _OF_A_CATALOGUE
    if findings.problems.count:
        others = (
            "is 1 more problem" if findings.problems.count == 1 else f"are {findings.problems.count:,} more problems"
        )
        lines += [f"There {others}:", *findings.problems.lines()]
    raise ManifestError(f"{manifest.name}: the same key names more than one row.", *lines)


def _refuse_unknown_keys(manifest: Manifest, comparison: Comparison) -> None:
    if unknown := comparison.unknown_keys:
        names = ", ".join(unknown[:KEYS_SHOWN]) + (
            f" and {len(unknown) - KEYS_SHOWN} more" if len(unknown) > KEYS_SHOWN else ""
        )
        raise ManifestError(f"--rows: {manifest.name} has no row with the key {names}. Check the spelling.")


def refuse_problems(manifest: Manifest, findings: Findings, comparison: Comparison) -> None:
    """With `--strict`, one row to correct is enough.

    Raises:
        ManifestError: lists every problem.
    """
    problems = findings.problems
    if comparison.to_correct:
        counted = "1 problem" if problems.count == 1 else f"{problems.count:,} problems"
        raise ManifestError(f"{manifest.name}: {counted}, nothing is sent:", *problems.lines())
