"""The results table and the folders: whether they can be used, have room, and lie where a database may lie."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

from reelbatch.ledger.columns import VERSION
from reelbatch.ledger.inspection import TableFacts, look_at, nearest
from reelbatch.pipeline.checkup.checks import Check, ok, problem, warning
from reelbatch.pipeline.resources import any_rescued
from reelbatch.settings import Settings
from reelbatch.storage.files import check, redact_url, scheme_of
from reelbatch.typed_options import command

_MIB = 1 << 20
_ROOM, _TOO_LITTLE = 1024 * _MIB, 64 * _MIB
_NETWORK = frozenset(
    {
        *("9p", "afpfs", "afs", "beegfs", "ceph", "cifs", "davfs", "glusterfs", "gpfs", "lustre", "ncpfs"),
        *("nfs", "nfs3", "nfs4", "smb2", "smb3", "smbfs", "sshfs", "webdav"),
        *("gcsfuse", "rclone", "s3fs"),
    }
)
"""File systems on which locks do not hold as SQLite needs them to."""


class Mount(NamedTuple):
    """A file system, and where it begins."""

    place: str
    kind: str


def results_table(settings: Settings) -> Iterator[Check]:
    """What there is, whether it may be written, and how much room it has."""
    facts = look_at(settings.results)
    yield _standing(facts)
    if facts.path is None:
        return
    yield _room(nearest(facts.path.parent))
    yield from _file_system(facts.path)
    if any_rescued(facts.path):
        what = "answers that a table would not take lie in a rescue file"
        yield warning("results table", what, f"Run `{command('status')}`: it brings them in.")


def _standing(facts: TableFacts) -> Check:
    name = "results table"
    if not facts.may_write:
        remedy = f"See to the rights of {facts.where}, or choose another with --results."
        return problem(name, f"{facts.where}: may not be written", remedy)
    if facts.version is None:
        return ok(name, f"none yet; a new one will be made: {facts.where}")
    if facts.version > VERSION:
        found = f"{facts.where}: was written by a newer Reelbatch (schema {facts.version}, this one knows {VERSION})"
        return problem(name, found, "Update Reelbatch, or choose another with --results.")
    older = "" if facts.version == VERSION else f"; schema {facts.version} becomes {VERSION} when it is used next"
    return ok(name, f"{facts.where} (schema {facts.version}{older})")


def _room(folder: Path) -> Check:
    free = shutil.disk_usage(folder).free
    found = f"{free // _MIB:,} MiB free at {folder}"
    if free < _TOO_LITTLE:
        return problem("space", found, "Make room: what is paid for could not be written down.")
    if free < _ROOM:
        return warning("space", found, "Make room before a large run: a million rows take about a gigabyte.")
    return ok("space", found)


def _file_system(path: Path) -> Iterator[Check]:
    mounts = [Mount(each.mountpoint, each.fstype) for each in psutil.disk_partitions(all=True)]
    kind = file_system_of(path.resolve(), mounts)
    if kind is not None and kind.lower().removeprefix("fuse.") in _NETWORK:
        remedy = "Put the SQLite file on a disk of this machine, or use Postgres (docs/many-machines.md)."
        yield warning("file system", f"the results table lies on a network file system ({kind})", remedy)


def file_system_of(path: Path, mounts: Iterable[Mount]) -> str | None:
    """The kind of the file system that a path lies on: that of the deepest mount above it, the last of several."""
    above = [mount for mount in mounts if path.is_relative_to(mount.place)]
    return max(enumerate(above), key=lambda each: (len(each[1].place), each[0]))[1].kind if above else None


def folders(settings: Settings) -> Iterator[Check]:
    """Where downloads, exports, temporary files and Prefect's own go."""
    wanted = {"downloads": settings.downloads, "export": _folder(settings.export), "temporary": tempfile.gettempdir()}
    for name, place in wanted.items():
        if place is not None:
            yield _folder_check(name, place)


def _folder(export: str | None) -> str | None:
    return export if export is None or scheme_of(export) is not None else str(Path(export).absolute().parent)


def _folder_check(name: str, place: str) -> Check:
    name = f"folder: {name}"
    if scheme_of(place) is not None:
        check(place)
        return ok(name, f"{redact_url(place)} (not asked)")
    folder = nearest(Path(place))
    if not folder.is_dir():
        return problem(name, f"{folder} is no folder", "Choose another place.")
    if not os.access(folder, os.W_OK | os.X_OK):
        return problem(name, f"{folder}: may not be written", "See to its rights, or choose another place.")
    return ok(name, str(Path(place).absolute()))
