"""Which of the manifest's columns feeds which of ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from reelbatch.domain import Issue
from reelbatch.errors import ManifestError
from reelbatch.manifest.contradictions import did_you_mean, refuse_contradictions
from reelbatch.manifest.found_columns import FoundColumns, Missing, closest
from reelbatch.manifest.image_cells import ImageCells
from reelbatch.manifest.options import COLUMNS, KEY, ManifestOptions
from reelbatch.manifest.parsing import MAX_KEY, plain
from reelbatch.manifest.row_shaping import Condition, RowShaping
from reelbatch.manifest.template import PromptTemplate, as_format, field, parse_template, unusable
from reelbatch.manifest.variants import Variants


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How a row is put together."""

    sources: Mapping[str, str]  # our column -> the manifest's column, where it has one
    key: tuple[str, ...]  # the manifest's columns that make the key
    defaults: Mapping[str, str]
    template: PromptTemplate | None
    shaping: RowShaping
    images: ImageCells | None
    variants: Variants | None
    first: str | None  # our name of the manifest's first column
    is_export: bool  # of a results table
    warnings: tuple[Issue, ...]

    @property
    def wanted(self) -> tuple[str, ...]:
        """The manifest's columns that have to be read, each once."""
        template = self.template.columns if self.template else ()
        return tuple(dict.fromkeys([*self.sources.values(), *self.key, *template, *self.shaping.columns]))

    @property
    def longest_key(self) -> int:
        """Characters that a key may have in the manifest."""
        return MAX_KEY - (self.variants.room if self.variants else 0)

    def shown(self, column: str) -> str:
        """What the manifest calls our `column`."""
        if column == KEY and self.key:
            return " + ".join(self.key)
        return self.sources.get(column, column)


def plan_layout(name: str, found: Sequence[str], options: ManifestOptions) -> Layout:
    """Match the columns `found` in the manifest `name` with ours.

    Raises:
        ManifestError: columns are not there, all of them at once; or settings can't be meant.
    """
    variants = Variants.of(options.variants) if options.variants else None
    refuse_contradictions(options, variants)
    columns = FoundColumns(name, found)
    columns.refuse_twins(
        each for each in COLUMNS if each not in options.columns and (each != KEY or not options.row_key)
    )
    sources, key = _sources(columns, options)
    defaults = {column: plain(value).strip() for column, value in options.defaults.items()}
    template = None if options.prompt_template is None else _template(options.prompt_template, columns)
    shaping = _shaping(columns, options, key)
    used = {*sources.values(), *key, *shaping.columns, *(template.columns if template else ())}
    unused = [column for column in found if column not in used and column not in COLUMNS]
    by_template = {"prompt"} if template else set()
    _required(columns, options, unused, {*sources, *filter(defaults.get, defaults), *by_template})
    columns.refuse_missing()
    _refuse_useless(options, sources, key)
    return Layout(
        sources=sources,
        key=key,
        defaults=defaults,
        template=template,
        shaping=shaping,
        images=ImageCells(options.image_prefix, options.split) if options.image_prefix or options.split else None,
        variants=variants,
        is_export={*found} >= _OF_AN_EXPORT,
        first=next((ours for ours, theirs in sources.items() if theirs == found[0]), None),
        warnings=tuple(_near_misses(unused, [ours for ours in COLUMNS if ours not in {*sources, *options.columns}])),
    )


def known_columns(options: ManifestOptions) -> frozenset[str]:
    """The names by which a header is recognised."""
    stated = [*filter(None, options.columns.values()), *options.row_key, *options.fill_down, *options.where]
    return frozenset([*COLUMNS, *stated])


_OF_AN_EXPORT, _OF_THE_VIDEO = {"state", "video_id", "token"}, {"width", "height"}
"""An export that is handed back as a manifest has two of our columns that say what was made, not what to make."""


def _sources(columns: FoundColumns, options: ManifestOptions) -> tuple[dict[str, str], tuple[str, ...]]:
    """The manifest's column for each of ours, and those that make the key."""
    sources = {column: theirs for column in COLUMNS if (theirs := columns.named(column)) is not None}
    if {*columns.found} >= _OF_AN_EXPORT:
        sources |= {column: columns.named(f"request_{column}") or "" for column in _OF_THE_VIDEO}
    for column, stated in options.columns.items():
        theirs = None if stated is None else columns.named(stated.strip())
        if stated is not None and theirs is None:
            columns.missing.append(_not_there(columns, column, stated))
        sources[column] = theirs or ""
    sources = {column: theirs for column, theirs in sources.items() if theirs}
    key = columns.each(KEY, options.row_key)
    if len(key) > 1:
        sources.pop(KEY, None)
    elif key:
        sources[KEY] = key[0]
    return sources, key or tuple(filter(None, [sources.get(KEY)]))


def _not_there(columns: FoundColumns, column: str, stated: str) -> Missing:
    hint = columns.did_you_mean(stated)
    if stated in COLUMNS and columns.named(column):
        hint = f" Did you mean {{{stated}: {column}}}? Our column comes first."
    return Missing(f'there is no column "{stated}" to take {column} from', hint)


def _template(stated: str, columns: FoundColumns) -> PromptTemplate:
    template = parse_template(stated)
    for column in template.columns:
        if column in columns.found:
            continue
        if why := as_format(column, columns.found):
            raise ManifestError(unusable(stated, why))
        hint = columns.did_you_mean(column, field)
        columns.missing.append(Missing(f'there is no column "{column}", which the prompt template names', hint))
    return template


def _shaping(columns: FoundColumns, options: ManifestOptions, key: Sequence[str]) -> RowShaping:
    names = columns.each("where", options.where)
    return RowShaping(
        strip_html=columns.each("strip_html", options.strip_html),
        fill_down=columns.each("fill_down", options.fill_down),
        group=key[0] if key else "",
        where=dict(zip(names, map(Condition.of, options.where.values()), strict=True)),
    )


def _required(columns: FoundColumns, options: ManifestOptions, unused: Sequence[str], there: set[str]) -> None:
    """Note what no row can do without. Each row may lack a length of its own: then the rows say so."""
    mapped = {column for column, stated in options.columns.items() if stated is not None}
    lacking = [column for column in ("image_path", "prompt", "end_seconds") if column not in there | mapped]
    if lacking != ["end_seconds"] or columns.missing:
        columns.missing += [_lacking(column, unused, off=column in options.columns) for column in lacking]


def _lacking(column: str, unused: Sequence[str], *, off: bool) -> Missing:
    more = {
        "prompt": " A prompt template or a default is enough.",
        "end_seconds": " A default is enough.",
    }
    if off:
        return Missing(f"{column} is switched off by columns", "", f"Map it to a column.{more.get(column, '')}")
    near = [theirs for theirs in unused if closest(theirs, [column])]
    remedy = f"Rename one of them, or map it (columns: {{{column}: {(near or ['NAME'])[0]}}}).{more.get(column, '')}"
    return Missing(f"there is no column {column}", did_you_mean(near), remedy)


def _refuse_useless(options: ManifestOptions, sources: Mapping[str, str], key: Sequence[str]) -> None:
    """Settings that need a column which was not stated."""
    if options.fill_down and not key:
        raise ManifestError("fill_down: needs a key, since it goes on while the key is the same. Set row_key.")
    if options.variants and not key:
        raise ManifestError("variants: need a key, which tells a row's videos apart (SKU#a, SKU#b). Set row_key.")
    for column in options.split:
        if column not in sources:
            raise ManifestError(f"split: there is no column for {column}. Map one, or leave it out of split.")


def _near_misses(unused: Sequence[str], open_columns: Sequence[str]) -> Iterator[Issue]:
    for theirs in unused:
        if ours := closest(theirs, open_columns):
            remedy = f"Rename it, or map it (columns: {{{ours}: {theirs}}})."
            yield Issue(None, theirs, "", f"looks like {ours}, but is not used under this name", remedy)
