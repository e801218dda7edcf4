"""Where a sandbox that keeps its data is reached: a file beside its books.

A killed sandbox leaves its file, and another program may get its port. So the file holds a word that only the
sandbox that wrote it answers to.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple


class Address(NamedTuple):
    """What one has to know to use a sandbox that is there already."""

    url: str
    key: str
    word: str

    @classmethod
    def read(cls, data: Path) -> Address:
        """OSError, ValueError, LookupError or TypeError where there is none."""
        found = json.loads(_file(data).read_bytes())
        return cls(*(str(found[name]) for name in cls._fields))

    def write(self, data: Path) -> None:
        """For its owner's eyes only."""
        part = _file(data).with_suffix(".part")
        part.unlink(missing_ok=True)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump(self._asdict(), file)
        part.replace(_file(data))

    @staticmethod
    def remove(data: Path) -> None:
        """The sandbox ends."""
        _file(data).unlink(missing_ok=True)


def _file(data: Path) -> Path:
    return data / "address.json"
