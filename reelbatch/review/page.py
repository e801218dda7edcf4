"""The templates and what goes with them. Everything that is put into one is escaped, unless it is our own markup."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_HERE = Path(__file__).parent
STATIC = _HERE / "static"
_templates = Environment(
    loader=FileSystemLoader(_HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(template: str, **known: Any) -> str:
    """A page."""
    return _templates.get_template(template).render(**known)


def static_text(name: str) -> str:
    """A style sheet or script, for a page that has it inside."""
    return (STATIC / name).read_text(encoding="utf-8")
