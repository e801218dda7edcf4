"""`reelbatch init`: from a catalogue, or a folder of photos, to settings that the next commands find."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reelbatch.errors import SettingsError
from reelbatch.home_folder import at_home
from reelbatch.pipeline.init_config import config_text, photos_text, refuse_existing, write
from reelbatch.pipeline.init_guess import SECONDS, ColumnGuess, Guess, Question, Stated
from reelbatch.pipeline.init_photos import Photos, manifest_of_photos, same_words, skipped_words
from reelbatch.pipeline.init_preview import Preview, preview
from reelbatch.settings.config_file import NAME
from reelbatch.storage.files import scheme_of

_CATALOGUES = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".parquet", ".xlsx")


@dataclass(frozen=True, slots=True, kw_only=True)
class InitReport:
    """What was taken for what, and what was written."""

    source: str
    manifest: str  # how the next commands name it
    config: Path
    columns: Sequence[ColumnGuess]
    settings: Mapping[str, Any]
    questions: Sequence[Question]  # what was taken without being sure
    preview: Preview
    export: str | None = None  # of which shop it is an export
    skipped: str = ""  # of a folder: what is no image
    copies: str = ""  # of a folder: which photos are the same

    @property
    def missing(self) -> list[Question]:
        """What has to be filled in. Without a key rows are told apart by what they ask for."""
        return [question for question in self.questions if not question.taken and question.about != "key"]

    @property
    def is_open(self) -> bool:
        """Whether something has to be done before all rows can be sent."""
        return bool(self.missing or self.preview.problem_count or self.preview.repeated) or not self.preview.rows

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        found = self.preview
        return {
            "source": self.source,
            "manifest": self.manifest,
            "config": str(self.config),
            "export": self.export,
            "rows": found.rows,
            "left_out": found.left_out,
            "problem_count": found.problem_count,
            "problems": found.problems,
            "warning_count": found.warning_count,
            "warnings": found.warnings,
            "repeated_keys": found.repeated,
            "columns": [asdict(column) for column in self.columns],
            "settings": self.settings,
            "unsure": [asdict(question) for question in self.questions],
            "requests": [asdict(request) for request in found.requests],
            "skipped": self.skipped,
            "copies": self.copies,
        }


def config_here(*, force: bool) -> Path:
    """The file that is to be written, in the current folder.

    Raises:
        SettingsError: it is there, and is not to be replaced.
    """
    path = Path.cwd() / NAME
    refuse_existing(path, force=force)
    return path


def find_source(stated: str | None) -> str:
    """What is to be looked at: what was stated, or the only catalogue in the current folder, or its photos.

    Raises:
        SettingsError: there are several catalogues, or what was stated is not there.
    """
    if stated is not None:
        if scheme_of(stated) is None and not os.path.lexists(at_home(stated)):  # also of a name that no file has
            raise SettingsError(f"{stated}: there is no such file or folder.")
        return stated
    found = sorted(
        path.name for path in Path.cwd().iterdir() if path.suffix.lower() in _CATALOGUES and path.is_file()
    )
    if len(found) > 1:
        raise SettingsError(
            f"There are several catalogues here: {', '.join(found)}. "
            f"Say which: reelbatch init {shlex.quote(found[0])}"
        )
    return found[0] if found else "."


def write_for_catalogue(guess: Guess, config: Path, *, force: bool) -> InitReport:
    """Write the settings of a catalogue.

    Raises:
        SettingsError: they can't be written.
    """
    source = guess.table.name
    write(config, config_text(guess, source).encode(), force=force)
    return InitReport(
        source=source,
        manifest=source,
        config=config,
        columns=guess.columns,
        settings={"manifest": guess.manifest},
        questions=guess.questions,
        preview=preview(guess.table.source, guess.manifest, images=True),
        export=guess.export.shop.name if guess.export else None,
    )


def manifest_here(photos: Photos, *, force: bool) -> Path:
    """The manifest that is to be made of `photos`, in the current folder.

    Raises:
        SettingsError: it is there, and is not to be replaced.
    """
    path = Path.cwd() / f"{photos.folder.resolve().name or 'photos'}.csv"
    refuse_existing(path, force=force)
    return path


def write_for_photos(photos: Photos, stated: Stated, config: Path, *, force: bool) -> InitReport:
    """Write the manifest of a folder of photos, and its settings.

    Raises:
        SettingsError: they can't be written.
    """
    manifest = manifest_here(photos, force=force)
    write(manifest, manifest_of_photos(photos, manifest.parent, stated.prompt), force=force)
    seconds = stated.seconds or SECONDS
    write(config, photos_text(manifest.name, seconds).encode(), force=force)
    settings = {"defaults": {"end_seconds": seconds}}
    return InitReport(
        source=str(photos.folder),
        manifest=manifest.name,
        config=config,
        columns=(),
        settings={"manifest": settings},
        questions=(),
        preview=preview(str(manifest), settings),
        skipped=skipped_words(photos),
        copies=same_words(photos),
    )
