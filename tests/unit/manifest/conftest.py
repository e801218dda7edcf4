"""Manifests and images made on disk, and read back in one go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from PIL import Image

from reelbatch.domain import Issue, Row
from reelbatch.manifest import Checks, ManifestOptions, open_manifest
from reelbatch.model_table import load_models


class Outcome(NamedTuple):
    """A whole manifest, read."""

    rows: list[Row]
    problems: list[Issue]
    warnings: list[Issue]

    @property
    def whats(self) -> list[tuple[int | None, str | None, str]]:
        """Row number, column and what is wrong."""
        return [(problem.row_number, problem.column, problem.what) for problem in self.problems]


Read = Callable[..., Outcome]


@pytest.fixture
def checks() -> Checks:
    return Checks(models=load_models())


@pytest.fixture
def read(checks: Checks) -> Read:
    """Read a manifest; keyword arguments are options, `checks` changes the checks."""

    def read_all(source: Any, *, change: dict[str, Any] | None = None, **options: Any) -> Outcome:
        options.setdefault("defaults", {"end_seconds": 5})
        manifest = open_manifest(source, ManifestOptions(**options), replace(checks, **(change or {})))
        rows: list[Row] = []
        problems: list[Issue] = []
        warnings: list[Issue] = []
        for batch in manifest.batches():
            rows += batch.rows
            problems += batch.problems
            warnings += batch.warnings
        return Outcome(rows, problems, warnings)

    return read_all


@pytest.fixture
def csv_file(tmp_path: Path) -> Callable[..., Path]:
    """Write text (or bytes, or lists of cells) as a manifest."""

    def write(content: str | bytes, name: str = "catalogue.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.fixture
def image(tmp_path: Path) -> Callable[..., Path]:
    """Draw an image; the kind is what the suffix says unless `kind` does."""

    def draw(name: str, size: Sequence[int] = (64, 36), kind: str | None = None, **options: Any) -> Path:
        from pillow_heif import register_heif_opener

        register_heif_opener()
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise(tuple(size), 50).convert("RGB").save(path, kind, **options)
        return path

    return draw
