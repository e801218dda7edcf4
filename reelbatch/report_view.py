"""How reports show themselves in a notebook: one line as text, a small table as HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from html import escape
from typing import Any, NamedTuple

from reelbatch.printable import one_line
from reelbatch.typed_options import as_parameters

_LINES_SHOWN = 20
_LONGEST = 500


class Facts(NamedTuple):
    """What a report says first. `lines`: what needs a sentence, such as problems."""

    title: str
    figures: Mapping[str, Any]
    lines: Sequence[str] = ()


class ReportView:
    """A report that shows its `facts`. Whatever comes from outside is text there, and never HTML."""

    __slots__ = ()

    def facts(self) -> Facts:
        """What is shown."""
        raise NotImplementedError

    def __repr__(self) -> str:
        said = self.facts()
        figures = ", ".join(f"{name}={_plain(value)}" for name, value in said.figures.items())
        return f"<{type(self).__name__} {one_line(said.title)}: {figures}>"

    def _repr_html_(self) -> str:
        said = self.facts()
        rows = "".join(
            f"<tr><th>{_html(name.replace('_', ' '))}</th><td>{_html(_plain(value))}</td></tr>"
            for name, value in said.figures.items()
        )
        lines = "".join(f"<li>{_html(as_parameters(line))}</li>" for line in said.lines[:_LINES_SHOWN])
        more = len(said.lines) - _LINES_SHOWN
        lines += f"<li>and {more:,} more</li>" if more > 0 else ""
        return f"<table><caption>{_html(said.title)}</caption>{rows}</table>{f'<ul>{lines}</ul>' if lines else ''}"


def as_texts(report: Any) -> dict[str, Any]:
    """The fields of a dataclass as JSON takes them: times as text."""
    return {
        name: value.isoformat() if isinstance(value, datetime) else value for name, value in asdict(report).items()
    }


def _plain(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "none" if value is None else str(value)


def _html(text: str) -> str:
    text = one_line(text)
    return escape(text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…")
