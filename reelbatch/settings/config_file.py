"""The YAML file with settings: named with `--config`, or `reelbatch.yaml` in the current folder or above it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from reelbatch.errors import SettingsError
from reelbatch.home_folder import at_home
from reelbatch.settings.table_urls import anchored, as_url

NAME = "reelbatch.yaml"
SECRETS = {
    "api_key": "MAGIC_HOUR_API_KEY",
    "MAGIC_HOUR_API_KEY": "MAGIC_HOUR_API_KEY",
    "webhook_secret": "REELBATCH_WEBHOOK_SECRET",
}
"""Settings that are secret, and the environment variables that they come from."""
_SECTIONS = frozenset({"manifest", "sandbox"})
_WHAT = "the config file"
_PATHS = ("export", "downloads", "history", "models")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigFile:
    """What a config file states; its relative paths start at its own folder."""

    path: Path | None = None  # None: there is none
    stated: Mapping[str, Any] = field(default_factory=dict)
    found: bool = False  # rather than named
    foreign: tuple[Path, ...] = ()  # files of the right name that belong to someone else, and are not used
    shared: tuple[Path, ...] = ()  # own ones that others may write, and that are not used either


def named_config(path: Path) -> ConfigFile:
    """The file at `path`.

    Raises:
        SettingsError: it can't be read, is no mapping or holds a secret.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise SettingsError(f"{path}: no such config file") from error
    except OSError as error:
        raise _unreadable(path, error) from error
    return ConfigFile(path=path, stated=_parsed(path, content))


def find_config() -> ConfigFile:
    """The nearest `reelbatch.yaml` of this user, from the current folder up to the home folder or the root.

    Raises:
        SettingsError: as above.
    """
    passed: dict[str, list[Path]] = {"foreign": [], "shared": []}
    for path in (folder / NAME for folder in _folders_upward()):
        if not _is_file(path):
            continue
        content = _trusted(path)
        if isinstance(content, bytes):
            stated = _parsed(path, content)
            return ConfigFile(path=path, stated=stated, found=True, **_tuples(passed))
        passed[content].append(path)
    return ConfigFile(**_tuples(passed))


def _tuples(passed: Mapping[str, list[Path]]) -> dict[str, Any]:
    return {why: tuple(paths) for why, paths in passed.items()}


def folder_of(path: Path) -> Path:
    """Where a config file's relative paths start. A link to a file counts where the link lies."""
    return path.absolute().parent.resolve()


def _folders_upward() -> Iterator[Path]:
    try:
        here = Path.cwd()
    except FileNotFoundError:  # someone has removed it
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


def _trusted(path: Path) -> bytes | Literal["foreign", "shared"]:
    """What stands in a file that no one else can have written, or why it is not used: no one else says where the
    key goes. A link, if it is one, has to be this user's too. What is read is the very file that was looked at.

    Raises:
        SettingsError: it is this user's, and can't be read.
    """  # noqa: D205 - one thought
    try:
        if not hasattr(os, "getuid"):
            return path.read_bytes()
        if {path.stat().st_uid, path.lstat().st_uid} != {os.getuid()}:
            return "foreign"
        with path.open("rb") as file:
            about = os.fstat(file.fileno())
            if about.st_uid != os.getuid():
                return "foreign"
            return "shared" if _others_may_write(about) else file.read()
    except OSError as error:
        raise _unreadable(path, error) from error


def _others_may_write(about: os.stat_result) -> bool:
    """A group counts as others, unless it is the user's own: Linux has one for each, and lets it write by default."""
    if about.st_mode & stat.S_IWOTH:
        return True
    return bool(about.st_mode & stat.S_IWGRP) and not _is_own_group(about.st_gid)


def _is_own_group(number: int) -> bool:
    import grp
    import pwd

    try:
        group, user = grp.getgrgid(number), pwd.getpwuid(os.getuid())
    except KeyError:  # in a container neither needs a name
        return False
    return user.pw_gid == number and group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}


def _unreadable(path: Path, error: OSError) -> SettingsError:
    return SettingsError(f"{path}: {_WHAT} can't be read: {error.strerror or error}")


def _parsed(path: Path, text: bytes) -> dict[str, Any]:
    from reelbatch.yaml_file import load_yaml  # here, since `status` mostly has no need of it

    content = load_yaml(path, text, what=_WHAT)
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(f"{path}: a config file is a list of `setting: value` lines")
    for name, variable in SECRETS.items():
        if name in content:
            raise SettingsError(f"{path}: {name} does not belong in a file; set the environment variable {variable}")
    # A section of which every line is a comment, as `reelbatch init` may leave one.
    stated = {name: value for name, value in content.items() if value is not None or name not in _SECTIONS}
    return _anchored(stated, folder_of(path))


def _anchored(stated: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """`stated`, whose relative paths start at `folder`."""
    changed = {name: _within(folder, stated[name]) for name in _PATHS if name in stated}
    if isinstance(results := stated.get("results"), str):
        changed["results"] = anchored(as_url(results, folder), folder)
    sandbox = stated.get("sandbox")
    if isinstance(sandbox, dict) and "data" in sandbox:
        changed["sandbox"] = {**sandbox, "data": _within(folder, sandbox["data"])}
    return {**stated, **changed}


def _within(folder: Path, path: Any) -> Any:
    """A path that starts at `folder`; whole ones, URLs and what is no path stay as they are."""
    if not isinstance(path, str) or not path or "://" in path or "::" in path:
        return path
    return os.path.normpath(folder / at_home(path, folder))
