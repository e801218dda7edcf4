"""The options that a command was typed with: the commands that it prints repeat them, to be typed as they stand."""

from __future__ import annotations

import csv
import os
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

MANIFEST = "MANIFEST"
"""The word of a printed command in whose place the typed manifest stands, or the one that the batch was read from."""

Typed = Callable[[], Mapping[str, object]]
"""What was typed, by the option's name; None and False: it was not. Asked for only when a command is printed."""

_SENDS = frozenset({"plan", "generate", "rerun"})
_ASKS_THE_API = _SENDS | {"settle", "reconcile", "doctor"}
_OF_NO_BATCH = frozenset({"models", "doctor"})
_OF_A_TRIAL = frozenset({"--results", "--base-url", "--sandbox"})
_ORDER = ("--config", "--results", "--batch", "--base-url", "--max-credits", "--rate", "--sandbox")

_OPTION = re.compile(r"`[^`]*`|(?<![\w-])--([a-z][a-z-]*[a-z])")
"""Of a message; what stands in backquotes is a whole command."""
PARAMETERS = {
    **{
        name: name.replace("-", "_")
        for name in (
            *("accept-double-charge", "all-videos", "base-url", "batch", "concurrency", "config", "dry-run"),
            *("error-code", "excel", "export", "history", "limit", "max-credits", "model", "not-created", "now"),
            *("pilot", "prompt-suffix", "rate", "regenerate", "repeats", "results", "row", "rows", "sandbox"),
            *("settle", "state", "strict", "undo", "verdict", "video-id", "winners"),
        )
    },
    "download": "downloads",
    "from": "file",
}
"""What Python and Prefect call the options of the command line that they have too."""


@dataclass(slots=True)
class _Noted:
    typed: Typed = dict
    manifests: dict[str, str] = field(default_factory=dict)


_noted: ContextVar[_Noted | None] = ContextVar("noted", default=None)


@contextmanager
def noting() -> Iterator[None]:
    """Within it the options of one command are kept. Elsewhere, as in Python and in Prefect, none were typed."""
    token = _noted.set(_Noted())
    try:
        yield
    finally:
        _noted.reset(token)


def note(typed: Typed) -> None:
    """Keep what was typed."""
    if (noted := _noted.get()) is not None:
        noted.typed = typed


def note_manifests(names: Mapping[str, str]) -> None:
    """Keep from which manifest each batch was read last, as someone typed it then."""
    if (noted := _noted.get()) is not None:
        noted.manifests.update(names)


def as_parameters(text: str, names: Mapping[str, str] = PARAMETERS) -> str:
    """A message in which options are called as the parameters of Python and Prefect."""

    def called(found: re.Match[str]) -> str:
        name = names.get(found[1] or "")
        return f"`{name}`" if name else found[0]

    return _OPTION.sub(called, text)


def as_stated(text: str) -> str:
    """A message with the options of the command line, where this is one; elsewhere with parameters."""
    return text if _noted.get() is not None else as_parameters(text)


def command(name: str, *words: str, batch: str | None = None, live: bool = False) -> str:
    """`reelbatch NAME` with them, as a shell takes it: it means the same table and the same API.

    Args:
        name: of the command.
        words: the manifest, and options of its own, which come last.
        batch: the one that it is about; None: the one that was typed, if any.
        live: at the vendor's API, in the table of such runs, whatever was typed.
    """
    noted = _noted.get() or _Noted()
    stated = dict(noted.typed())
    if batch is not None:
        stated["--batch"] = batch
    read = noted.manifests.get(str(stated.get("--batch")))
    if live:
        stated = {option: value for option, value in stated.items() if option not in _OF_A_TRIAL}
    repeated: list[str] = []
    for option in _ORDER:
        value = stated.get(option)
        if value is not None and value is not False and _takes(name, option) and option not in words:
            repeated += [option] if value is True else [option, str(value)]
    own = next((place for place, word in enumerate(words) if word.startswith("--")), len(words))
    is_there = read is not None and os.path.isfile(read)  # noqa: PTH113 - Path's raises where a name is too long
    manifest = str(stated.get(MANIFEST) or (read if is_there else MANIFEST))
    first = [manifest if word == MANIFEST else word for word in words[:own]]
    return " ".join(["reelbatch", name, *map(shlex.quote, [*first, *repeated, *words[own:]])])


def parted(stated: str) -> list[str]:
    """The words of an option that takes several; one with a comma in it stands in quotation marks, as in CSV."""
    try:
        words = next(csv.reader([stated], skipinitialspace=True, strict=True), [])
    except csv.Error:  # a mark that is a part of the word
        words = stated.split(",")
    return [word.strip() for word in words]


def joined(words: Iterable[str]) -> str:
    """What `parted` takes apart again."""
    return ",".join('"{}"'.format(word.replace('"', '""')) if {",", '"'} & {*word} else word for word in words)


def _takes(name: str, option: str) -> bool:
    match option:
        case "--base-url":
            return name in _ASKS_THE_API
        case "--max-credits" | "--rate":
            return name in _SENDS
        case "--batch":
            return name not in _OF_NO_BATCH
    return True
