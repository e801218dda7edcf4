"""What a manifest is read with, what it is checked against, and what comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from reelbatch.domain import IMAGE_SCHEMES, REQUEST_FIELDS, Issue, Row, Tier
from reelbatch.model_table import ModelTable

LARGEST_TEXT = 4 << 30
"""Bytes of text that a packed manifest, or one behind a URL, may have: much of it goes to a temporary file."""
KEY = "row_key"
TEXTS = tuple(each.name for each in REQUEST_FIELDS if each.is_text)
"""Columns that are taken as they stand."""
SETTINGS = tuple(each.name for each in REQUEST_FIELDS if not each.is_text)
"""Columns with few distinct values, parsed once for each combination."""
COLUMNS = (KEY, *(each.name for each in REQUEST_FIELDS))
"""Every column that a manifest may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestOptions:
    """How to read a manifest.

    Attributes:
        columns: our column name -> the manifest's column name; None: that column of the manifest is not ours.
        row_key: the manifest's columns whose cells make the key, joined with "-"; none: the column `row_key`.
        fill_down: columns whose empty cells are filled from above, while the first column of the key stays the same.
        where: column -> what its cell has to be in the rows that count: a value, a list, `empty`, `not empty`.
        image_prefix: folder or address before images that are paths.
        split: our image column -> what stands between several addresses in a cell; the first is taken.
        strip_html: columns whose cells are HTML.
        variants: what varies -> name of a variant -> its value.
        defaults: our column name -> value where the cell is empty or the column missing.
        prompt_template: `Slow pan over {title}[, {colour}]` over the row's other columns; used where a row has
            no prompt of its own.
        delimiter: None: detected (comma, semicolon, tab, bar).
        encoding: None: UTF-8 with or without a byte order mark, UTF-16 by its mark; a mark outranks it.
        quoting: of CSV: `strict`, or `none` where quotation marks are text like any other.
        escape: of CSV: `backslash` where one takes the meaning off the character behind it.
        multiline: of CSV: `allow` cells with line ends though one of their lines could be a row.
        largest_text: bytes of text that are unpacked, or fetched from a URL, at most.
    """

    columns: Mapping[str, str | None] = field(default_factory=dict)
    row_key: Sequence[str] = ()
    fill_down: Sequence[str] = ()
    where: Mapping[str, Any] = field(default_factory=dict)
    image_prefix: str | None = None
    split: Mapping[str, str] = field(default_factory=dict)
    strip_html: Sequence[str] = ()
    variants: Mapping[str, Mapping[Any, Any]] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    prompt_template: str | None = None
    delimiter: str | None = None
    encoding: str | None = None
    quoting: Literal["strict", "none"] = "strict"
    escape: Literal["none", "backslash"] = "none"
    multiline: Literal["refuse", "allow"] = "refuse"
    largest_text: int = LARGEST_TEXT


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """What rows are checked against.

    Attributes:
        models: the table of models.
        tier: sets the upload limit (None: the smallest) and which resolutions are included.
        profile: a profile of the table in place of the model that a row names, such as `legacy`.
        rate: credits per second for models whose rate is unknown.
        images: look at image files on this machine.
        image_schemes: of the addresses that images may be fetched from.
        lenient_images: images of an accepted kind that no library here opens are a warning.
    """

    models: ModelTable
    tier: Tier | None = None
    profile: str | None = None
    rate: int | None = None
    images: bool = True
    image_schemes: Sequence[str] = IMAGE_SCHEMES
    lenient_images: bool = False


class CheckedRows(NamedTuple):
    """One batch of a manifest."""

    rows: Sequence[Row]  # all of them; an invalid one has its `problem` set
    problems: list[Issue]  # blocking
    warnings: list[Issue]  # with the last batch: each once for the whole file
    assumed: Sequence[str] = ()  # with the last batch: models that estimates of rows without a model took
    left_out: int = 0  # with the last batch: rows that `where` did not let through
