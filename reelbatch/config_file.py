"""The YAML file with settings: named with `--config`, or `reelbatch.yaml` in the current folder or above it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reelbatch.errors import SettingsError
from reelbatch.table_urls import anchored

NAME = "reelbatch.yaml"
SECRETS = {
    "api_key": "MAGIC_HOUR_API_KEY",
    "MAGIC_HOUR_API_KEY": "MAGIC_HOUR_API_KEY",
    "webhook_secret": "REELBATCH_WEBHOOK_SECRET",
}
"""Settings that are secret, and the environment variables that they come from."""
_PATHS = ("export", "downloads", "models")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigFile:
    """What a config file states; its relative paths start at its own folder."""

    path: Path | None = None  # None: there is none
    stated: Mapping[str, Any] = field(default_factory=dict)
    found: bool = False  # rather than named
    foreign: tuple[Path, ...] = ()  # files of the right name that belong to somebody else, and are not used


def named_config(path: Path) -> ConfigFile:
    """The file at `path`.

    Raises:
        SettingsError: it can't be read, is no mapping or holds a secret.
    """
    return ConfigFile(path=path, stated=_read(path))


def find_config() -> ConfigFile:
    """The nearest `reelbatch.yaml` of this user, from the current folder up to the home folder or the root.

    Raises:
        SettingsError: as above.
    """
    foreign: list[Path] = []
    for folder in _folders_upward():
        path = folder / NAME
        if not _is_file(path):
            continue
        if _is_own(path):
            return ConfigFile(path=path, stated=_read(path), found=True, foreign=tuple(foreign))
        foreign.append(path)
    return ConfigFile(foreign=tuple(foreign))


def folder_of(path: Path) -> Path:
    """Where a config file's relative paths start. A link to a file counts where the link lies."""
    return path.absolute().parent.resolve()


def _folders_upward() -> Iterator[Path]:
    try:
        here = Path.cwd()
    except FileNotFoundError:  # somebody has removed it
        return
    home = _home()
    for folder in (here, *here.parents):
        yield folder
        if folder == home:
            return


def _home() -> Path | None:
    try:
        return Path.home().resolve()
    except (RuntimeError, OSError):  # this user has none
        return None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a folder that may not be looked into
        return False


def _is_own(path: Path) -> bool:
    """Whether file and link, if it is one, belong to this user: nobody else says where the key goes."""
    if not hasattr(os, "getuid"):
        return True
    return {path.stat().st_uid, path.lstat().st_uid} == {os.getuid()}


def _read(path: Path) -> dict[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SettingsError(f"{path}: no such config file") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        first, *more = str(error).splitlines() or [""]
        raise SettingsError(f"{path}: the config file can't be read: {first}", *more) from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(f"{path}: a config file is a list of `setting: value` lines")
    for name, variable in SECRETS.items():
        if name in content:
            raise SettingsError(f"{path}: {name} does not belong in a file; set the environment variable {variable}")
    return _anchored(content, folder_of(path))


def _anchored(stated: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """`stated`, whose relative paths start at `folder`."""
    changed = {name: _within(folder, stated[name]) for name in _PATHS if name in stated}
    if isinstance(results := stated.get("results"), str):
        changed["results"] = anchored(results, folder)
    sandbox = stated.get("sandbox")
    if isinstance(sandbox, dict) and "data" in sandbox:
        changed["sandbox"] = {**sandbox, "data": _within(folder, sandbox["data"])}
    return {**stated, **changed}


def _within(folder: Path, path: Any) -> Any:
    """A path that starts at `folder`; whole ones, URLs and what is no path stay as they are."""
    if not isinstance(path, str) or not path or path.startswith("~") or "://" in path or "::" in path:
        return path
    return os.path.normpath(folder / path)
