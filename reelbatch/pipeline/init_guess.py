"""What a catalogue's columns are taken for, and why: the settings that `reelbatch init` writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reelbatch.errors import ManifestError
from reelbatch.manifest.html_text import text_of
from reelbatch.manifest.options import COLUMNS, KEY
from reelbatch.manifest.readers.base import bare_name, is_unnamed, title_above, without_place
from reelbatch.manifest.template import field as in_template
from reelbatch.pipeline.init_columns import DESCRIPTION, ROLES, TITLE, Candidate, Cells, candidates, plain_name
from reelbatch.pipeline.init_images import folder_of_images, paths_among, separator
from reelbatch.pipeline.init_keys import KeyGuess, find_key
from reelbatch.pipeline.init_preview import Preview
from reelbatch.pipeline.init_shops import KnownExport, known_export
from reelbatch.pipeline.init_table import Table, shown_in

SECONDS = 5
PROMPT = "Slow push-in{what}, soft light"
_LONGEST_DESCRIPTION = 200
_CLOSE = 2.0
"""So near to the best score another column is worth a question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """What someone has said already; None: it is to be guessed."""

    image: str | None = None
    key: tuple[str, ...] | None = None
    prompt: str | None = None
    image_prefix: str | None = None
    seconds: float | None = None
    encoding: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is not sure. `taken`: the best guess, ""; where there is none; `about`: a field of `Stated`."""

    about: str
    text: str
    taken: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnGuess:
    """One column of the file. `becomes` "": it is not used."""

    column: str
    sample: str
    becomes: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """The settings `manifest`, what they rest on, and what they make of the file."""

    table: Table
    export: KnownExport | None
    manifest: Mapping[str, Any]
    reasons: Mapping[str, str]  # by setting
    columns: Sequence[ColumnGuess]
    questions: Sequence[Question]
    preview: Preview


@dataclass(slots=True)
class _Draft:
    """A guess in the making."""

    table: Table
    stated: Stated
    samples: Mapping[str, Cells]
    export: KnownExport | None
    taken: dict[str, Candidate] = field(default_factory=dict)  # our column: the file's
    title: Candidate | None = None
    description: Candidate | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    questions: list[Question] = field(default_factory=list)

    def set(self, setting: str, value: Any, why: str) -> None:
        """One setting of the manifest."""
        self.settings[setting] = value
        self.reasons[setting] = why


def guess(table: Table, stated: Stated) -> Guess:
    """Take each column for what it is most likely.

    Raises:
        ManifestError: no column looks like images, or a column that was stated is not there.
    """
    samples = {column: Cells.of(table.cells[column]) for column in table.columns}
    draft = _Draft(table, stated, samples, known_export(table.columns))
    _take_reading(draft)
    _take_columns(draft)
    _take_rows(draft)
    _place_images(draft)
    _make_prompt(draft)
    _set_columns(draft)
    key = find_key(table, draft.settings, _key_stated(draft), draft.export)
    _set_key(draft, key)
    ordered = {name: draft.settings[name] for name in _ORDER if draft.settings.get(name)}
    return Guess(
        table=table,
        export=draft.export,
        manifest=ordered,
        reasons=draft.reasons,
        columns=list(_described(draft, key)),
        questions=draft.questions,
        preview=key.preview,
    )


_ORDER = (
    *("encoding", "quoting", "escape", "multiline", "columns", "row_key", "fill_down", "where", "split"),
    *("image_prefix", "strip_html", "prompt_template", "defaults"),
)


def _take_columns(draft: _Draft) -> None:
    """The file's column for each of ours, and what a prompt can be made of."""
    for name, role in ROLES.items():
        if name == KEY:
            continue
        used = {each.column for each in draft.taken.values()}
        found = candidates(role, draft.samples, used)
        if own := _unmistakable(draft, name):
            found = [Candidate(0, own, "its name")]
        if name == "image_path":
            found = _images(draft, found)
        if name == "name":  # `Option1 Name` is none
            found = [each for each in found if plain_name(each.column) in role.names]
        if found:
            draft.taken[name] = found[0]
    used = {each.column for ours, each in draft.taken.items() if ours != "name"}
    draft.title = next(iter(candidates(TITLE, draft.samples, used)), draft.taken.get("name"))
    shown = used | ({draft.title.column} if draft.title else set())
    draft.description = next(
        filter(lambda each: _is_short(draft, each), candidates(DESCRIPTION, draft.samples, shown)), None
    )
    if draft.title and "name" not in draft.taken:
        draft.taken["name"] = Candidate(draft.title.score, draft.title.column, "it is the title")


def _unmistakable(draft: _Draft, name: str) -> str | None:
    """A column that is called as ours and as no product's own: what is wrong in it has to be said."""
    own = (column for column in draft.table.columns if bare_name(column) == name)
    return next(own, None) if "_" in name else None


def _images(draft: _Draft, found: list[Candidate]) -> list[Candidate]:
    """The columns of images, the one that was stated first.

    Raises:
        ManifestError: there is none.
    """
    if (stated := draft.stated.image) is not None:
        return [Candidate(0, _column(draft.table, stated), "stated")]
    title = title_above(draft.table.columns)
    if not found or (title and is_unnamed(found[0].column)):
        has = ", ".join(f'"{column}"' for column in draft.table.columns)
        what = "no column with a name looks like images" if found else "no column looks like images"
        remedy = title or "Say which one names the images: --image COLUMN"
        raise ManifestError(f"{draft.table.name}: {what}. It has: {has}.", remedy)
    close = tuple(each.column for each in found if each.score >= found[0].score - _CLOSE)
    if len(close) > 1:
        text = "Which column is the image?"
        draft.questions.append(Question(about="image", text=text, taken=found[0].column, choices=close))
    return found


def _column(table: Table, stated: str) -> str:
    """The file's column of that name.

    Raises:
        ManifestError: there is none.
    """
    found = [column for column in table.columns if bare_name(column) == bare_name(stated)]
    if not found:
        has = ", ".join(f'"{column}"' for column in table.columns)
        raise ManifestError(f'{table.name}: there is no column "{stated}". It has: {has}.')
    return stated if stated in found else found[0]


def _is_short(draft: _Draft, each: Candidate) -> bool:
    cells = draft.samples[each.column].filled
    return max(map(len, map(text_of, cells)), default=_LONGEST_DESCRIPTION) <= _LONGEST_DESCRIPTION


def _take_reading(draft: _Draft) -> None:
    """How the file is read. It does not say in which encoding it is, so that one is asked about."""
    stated = draft.stated.encoding
    for setting, value in draft.table.reading.items():
        draft.set(setting, value, "as stated" if value == stated else "fewer rows are damaged when it is read so")
    if (taken := draft.settings.get("encoding")) and not stated:
        text = f"In which encoding is the file? Not all of it is UTF-8: {shown_in(draft.table, taken)}"
        draft.questions.append(Question(about="encoding", text=text, taken=taken))


def _take_rows(draft: _Draft) -> None:
    """Which of the file's rows count."""
    image = draft.taken["image_path"].column
    where = dict(draft.export.where) if draft.export else {}
    if draft.samples[image].blank:
        where[image] = "not empty"
    if where:
        draft.set("where", where, "other rows are left out, and counted")
    if draft.export and draft.export.key and draft.export.fill_down:
        draft.set("fill_down", list(draft.export.fill_down), "further lines of a product leave them empty")


def _place_images(draft: _Draft) -> None:
    """Several addresses in a cell, and where paths start."""
    cells = draft.samples[draft.taken["image_path"].column].filled
    sign = separator(cells)
    if sign:
        draft.set("split", {"image_path": sign}, "the first of several images in a cell")
    if draft.stated.image_prefix:
        draft.set("image_prefix", draft.stated.image_prefix, "as stated")
        return
    paths = paths_among(cells, sign)
    if not paths or draft.table.folder is None:
        return
    found = folder_of_images(paths, draft.table.folder)
    if found:
        draft.set("image_prefix", found, "most images are there, as seen from the file's folder")
    elif found is None:
        text = f'Where are the images, such as "{paths[0]}"? A folder, or the beginning of their addresses'
        draft.questions.append(Question(about="image_prefix", text=text, taken=""))


def _make_prompt(draft: _Draft) -> None:
    own = draft.taken.get("prompt")
    if own is not None and not draft.samples[own.column].blank and not draft.stated.prompt:
        return
    template = draft.stated.prompt or _template(draft)
    why = "for rows without a prompt of their own" if own else "no column says what is to happen"
    draft.set("prompt_template", template, "as stated" if draft.stated.prompt else why)
    html = [column for column in _in_prompt(draft) if draft.samples[column].has_html]
    if html:
        draft.set("strip_html", html, "their cells are HTML")
    if own is None and not draft.stated.prompt:
        text = "What is to happen in the videos? {…} pastes a column in"
        draft.questions.append(Question(about="prompt", text=text, taken=template))


def _template(draft: _Draft) -> str:
    parts = ""
    if draft.title:
        parts = f" on the {in_template(draft.title.column)}"
        if _has_blanks(draft, draft.title.column):
            parts = f"[{parts}]"
    if draft.description:
        parts += f"[, {in_template(draft.description.column)}]"
    return PROMPT.format(what=parts)


def _has_blanks(draft: _Draft, column: str) -> bool:
    """Whether rows that count may lack it; what shops leave empty in lines that do not count is no reason."""
    filled = column in draft.settings.get("fill_down", ())
    return bool(draft.samples[column].blank) and not filled and draft.export is None


def _in_prompt(draft: _Draft) -> list[str]:
    columns = [each.column for each in (draft.title, draft.description, draft.taken.get("prompt")) if each]
    return [column for column in draft.table.columns if column in columns]


def _set_columns(draft: _Draft) -> None:
    """What is not found under our own names, and what is called so and is something else."""
    columns: dict[str, str | None] = {}
    ours = {bare_name(without_place(column)): column for column in draft.table.columns}
    for name in COLUMNS:
        own, taken = ours.get(name), draft.taken.get(name)
        if taken and taken.column != own:
            columns[name] = taken.column
            draft.reasons[f"columns.{name}"] = taken.why
        elif own and taken is None and name != KEY:
            columns[name] = None
            draft.reasons[f"columns.{name}"] = "the file's own, and not ours"
    if columns:
        draft.set("columns", columns, "")
    if "end_seconds" in draft.taken and not draft.samples[draft.taken["end_seconds"].column].blank:
        return
    draft.set("defaults", {"end_seconds": draft.stated.seconds or SECONDS}, "seconds of each video")
    if "end_seconds" not in draft.taken and draft.stated.seconds is None:
        text = "How many seconds has each video?"
        draft.questions.append(Question(about="seconds", text=text, taken=str(SECONDS)))


def _key_stated(draft: _Draft) -> tuple[str, ...] | None:
    if (stated := draft.stated.key) == ():
        raise ManifestError("--key names no column. Leave it out, and a key is looked for.")
    return None if stated is None else tuple(_column(draft.table, column) for column in stated)


def _set_key(draft: _Draft, key: KeyGuess) -> None:
    """The key; a column `row_key` that is none is switched off."""
    own = next((column for column in draft.table.columns if bare_name(column) == KEY), None)
    if key.columns and key.columns != (own,):
        draft.set("row_key", key.columns[0] if len(key.columns) == 1 else list(key.columns), key.why)
    if not key.columns and own is not None:
        draft.settings["columns"] = {KEY: None, **draft.settings.get("columns", {})}
    if not key.sure:
        text = "Which column names each row once? Several are joined: Handle, Position"
        draft.questions.append(
            Question(about="key", text=text, taken=", ".join(key.columns), choices=tuple(draft.table.columns))
        )


def _described(draft: _Draft, key: KeyGuess) -> Iterator[ColumnGuess]:
    """One line for each column of the file, in its order."""
    switched_off = {bare_name(ours) for ours, theirs in draft.settings.get("columns", {}).items() if theirs is None}
    for column in draft.table.columns:
        uses = list(_uses(draft, key, column))
        if not uses and bare_name(column) in switched_off:
            uses = [("", "its cells are something else, so it is switched off")]
        yield ColumnGuess(
            column=column,
            sample=next(iter(draft.samples[column].filled), ""),
            becomes=", ".join(dict.fromkeys(becomes for becomes, _ in uses)),
            why="; ".join(dict.fromkeys(why for _, why in uses)) or "not used",
        )


def _said(condition: Any) -> str:
    return " or ".join(map(str, condition)) if isinstance(condition, list) else str(condition).lower()


def _uses(draft: _Draft, key: KeyGuess, column: str) -> Iterator[tuple[str, str]]:
    """What a column is used for, and why."""
    if column in key.columns:
        yield KEY, key.why
    for ours, each in draft.taken.items():
        if each.column == column:
            yield ours, each.why
    if draft.settings.get("prompt_template") and in_template(column) in draft.settings["prompt_template"]:
        yield "prompt template", "describes what is shown"
    if column in draft.settings.get("where", {}):
        yield "where", f"only rows in which it is {_said(draft.settings['where'][column])}"
    if column in draft.settings.get("fill_down", ()):
        yield "fill_down", draft.reasons["fill_down"]
