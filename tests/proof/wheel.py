"""The program as a wheel installs it: `reelbatch` alone, without the flows that lie beside it in a clone."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]


def as_from_a_wheel(folder: Path) -> Path:
    """A folder for the beginning of `sys.path`; what is imported from it is this source, by links."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("reelbatch", "configs"):
        (folder / name).symlink_to(ROOT / name, target_is_directory=True)
    return folder
