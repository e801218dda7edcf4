"""The `reelbatch.yaml` that `reelbatch init` writes: settings with the reasons beside them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from reelbatch.errors import SettingsError
from reelbatch.pipeline.init_guess import Guess
from reelbatch.printable import one_line
from reelbatch.storage.private_files import placing, replacing

_WIDE = 1 << 20  # no line is broken
_MORE_DEFAULTS = (
    "    # model: ltx-2.5     # where the API's own is not meant: docs/models.md",
    "    # resolution: 720p",
)
"""Lines in the mapping `defaults`: a second one would be refused as stated twice."""


def config_text(guess: Guess, manifest: str) -> str:
    """Of a catalogue; `manifest`: how the next commands name it."""
    typed = one_line(shlex.quote(manifest))
    lines = [
        f"# How Reelbatch reads {one_line(manifest)}: a guess of `reelbatch init`. Change it, and",
        f"# see `reelbatch plan {typed}`. All settings: docs/manifest.md and docs/settings.md.",
    ]
    if guess.export is not None:
        shop = guess.export.shop
        lines.append(f"# It looks like an export of {shop.name}: docs/shops/{shop.page}.md.")
    return "\n".join([*lines, "manifest:", *_settings(guess), ""])


def _settings(guess: Guess) -> Iterator[str]:
    for name, value in guess.manifest.items():
        why = guess.reasons.get(name, "")
        if not isinstance(value, Mapping):
            yield _line(f"  {name}: {_yaml(value)}", why)
            continue
        yield _line(f"  {name}:", why)
        for key, each in value.items():
            yield _line(f"    {_yaml(key)}: {_yaml(each)}", guess.reasons.get(f"{name}.{key}", ""))
        if name == "defaults":
            yield from _MORE_DEFAULTS
    if "defaults" not in guess.manifest:
        yield from ("  # defaults:", *_MORE_DEFAULTS)
    if any(question.about == "image_prefix" for question in guess.questions):
        yield _line("  # image_prefix: https://shop.example/media", "say where the images are; none is near the file")


def _line(setting: str, why: str) -> str:
    return f"{setting}  # {one_line(why)}" if why else setting


def _yaml(value: Any) -> str:
    """One line of YAML that means `value`."""
    plain = all(
        text.isprintable() for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)
    )
    style: dict[str, Any] = {"allow_unicode": True} if plain else {"default_style": '"'}
    dumped: str = yaml.safe_dump(value, width=_WIDE, default_flow_style=True, **style)
    return dumped.removesuffix("\n").removesuffix("\n...")


def photos_text(manifest: str, seconds: float) -> str:
    """Of a manifest that was made of a folder of photos."""
    name, typed = one_line(manifest), one_line(shlex.quote(manifest))
    lines = (
        f"# For {name}, which `reelbatch init` made of a folder of photos. Change its prompts, which are made of",
        f"# the photos' names, then look at `reelbatch plan {typed}`. All settings: docs/settings.md.",
        "manifest:",
        "  defaults:",
        f"    end_seconds: {_yaml(seconds)}  # seconds of each video",
        *_MORE_DEFAULTS,
    )
    return "\n".join([*lines, ""])


def refuse_existing(path: Path, *, force: bool) -> None:
    """Before anything is asked.

    Raises:
        SettingsError: the file is there, and is not to be replaced.
    """
    if not force and path.exists():
        raise SettingsError(f"{path}: exists already. Look at it; --force replaces it.")


def write(path: Path, content: bytes, *, force: bool) -> None:
    """Write the file, whole or not at all; only its owner may read it.

    Raises:
        SettingsError: it is there, and is not to be replaced; or can't be written.
    """
    try:
        with replacing(path) if force else placing(path) as file:
            file.write(content)
    except FileExistsError:
        refuse_existing(path, force=False)
        raise
    except OSError as error:
        raise SettingsError(f"{path}: can't be written: {error.strerror or error}") from error
