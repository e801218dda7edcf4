"""Settings of the manifest that can't be meant, whatever is in the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from reelbatch.domain import REQUEST_FIELDS
from reelbatch.errors import ManifestError
from reelbatch.manifest.image_cells import IMAGE_COLUMNS
from reelbatch.manifest.options import COLUMNS, KEY, ManifestOptions
from reelbatch.manifest.parsing import PARSERS, CellError, plain
from reelbatch.manifest.variants import Variants
from reelbatch.storage.addresses import holds_secret

_PARSERS = {each.name: PARSERS[each.kind] for each in REQUEST_FIELDS if not each.is_text}


def refuse_contradictions(options: ManifestOptions, variants: Variants | None) -> None:
    """Look through what is set.

    Raises:
        ManifestError: names every setting that can't be meant.
    """
    found = [
        *_unknown("columns", options.columns, COLUMNS),
        *_unknown("defaults", options.defaults, [column for column in COLUMNS if column != KEY]),
        *_unknown("split", options.split, IMAGE_COLUMNS),
        *_unreadable("defaults", options.defaults.items()),
        *_of_the_key(options),
        *_of_images(options),
        *_empty_conditions(options.where),
        *(_of_variants(variants) if variants else ()),
    ]
    if len(found) == 1:
        raise ManifestError(found[0])
    if found:
        raise ManifestError("These settings of the manifest can't be used:", *(f"  {line}" for line in found))


def did_you_mean(near: Sequence[str]) -> str:
    """A hint at the first of `near`."""
    return f' Did you mean "{near[0]}"?' if near else ""


def _unknown(option: str, columns: Mapping[str, Any], allowed: Sequence[str]) -> Iterator[str]:
    for column, stated in columns.items():
        if column in allowed:
            continue
        hint = did_you_mean(get_close_matches(column, allowed, 1))
        if option == "columns" and stated in allowed:
            hint = f" Did you mean {{{stated}: {column}}}? Our column comes first."
        yield f'{option}: "{column}" can\'t be set.{hint} Possible: {", ".join(allowed)}.'


def _unreadable(option: str, values: Iterable[tuple[str, Any]]) -> Iterator[str]:
    for column, stated in values:
        value = plain(stated).strip()
        try:
            if value and column in _PARSERS:
                _PARSERS[column](value)
        except CellError as error:
            yield f'{option}: {column} "{value}": {error.what}. {error.remedy}'


def _of_the_key(options: ManifestOptions) -> Iterator[str]:
    if options.row_key and KEY in options.columns:
        yield "row_key: columns states it too. Keep one of them."
    for option, columns in (("row_key", options.row_key), ("fill_down", options.fill_down)):
        if len(set(columns)) < len(columns):
            yield f"{option}: names a column twice. Keep each once."


def _of_images(options: ManifestOptions) -> Iterator[str]:
    for column, separator in options.split.items():
        if not separator or separator.isalnum():
            yield f'split: {column}: "{separator}" separates nothing. Write what stands between two addresses: ",".'
    prefix = options.image_prefix
    if prefix is not None and (not prefix.strip() or "::" in prefix):
        yield f'image_prefix: "{prefix}" is no folder and no address. Write one, such as https://shop.example/media.'
    elif prefix is not None and holds_secret(prefix):
        yield "image_prefix: holds a password or a signature, and the results table would keep it. Leave it out."


def _empty_conditions(where: Mapping[str, Any]) -> Iterator[str]:
    for column, stated in where.items():
        if isinstance(stated, Mapping) or (isinstance(stated, list | tuple) and not stated):
            yield f"where: {column}: is no value. Write one, a list of them, `empty` or `not empty`."


def _of_variants(variants: Variants) -> Iterator[str]:
    yield from variants.problems()
    for what, by_name in variants.stated.items():
        for name, value in by_name.items():
            yield from _unreadable(f"variants: {name}", [(what, value)])
