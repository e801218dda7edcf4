"""Whether Prefect's settings may name a server, without Prefect itself, which would take seconds to import."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

_VARIABLES = frozenset({"PREFECT_API_URL", "PREFECT_API", "PREFECT_PROFILE"})


def may_name_a_server() -> bool:
    """Whether a server may be named. Never False where one is: what is not looked into counts as a name."""
    if any(name.upper() in _VARIABLES for name in os.environ) or Path("prefect.toml").exists():
        return True
    try:
        in_project = "prefect" in _toml(Path("pyproject.toml")).get("tool", {})
        return in_project or "prefect_" in _text(Path(".env")).lower() or _names_one(_toml(_profiles()))
    except (OSError, ValueError, AttributeError, TypeError):
        return True


def _names_one(profiles: dict[str, Any]) -> bool:
    active = profiles.get("profiles", {}).get(profiles.get("active"), {})
    return any(name.upper() in _VARIABLES for name in active)


def _profiles() -> Path:
    if path := os.environ.get("PREFECT_PROFILES_PATH"):
        return Path(path)
    return Path(os.environ.get("PREFECT_HOME") or Path("~/.prefect").expanduser()) / "profiles.toml"


def _toml(path: Path) -> dict[str, Any]:
    return tomllib.loads(_text(path))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""
