"""Code blocks of README and docs, in the order in which a reader meets them, and the marks that stand before them.

A mark is an HTML comment, which no reader sees. What a block's language does not say, marks say:

- `<!-- saved as PATH -->`: the reader keeps the block as this file
- `<!-- before: COMMANDS -->`: what has to have happened, such as a table with rows in doubt
- `<!-- printed by: COMMANDS -->`: the block is output of these
- `<!-- here WORD: COMMAND -->`: for the reader, this word of the block is another one, which the command prints
- `<!-- ends with CODE -->`: the exit code, where it is neither 0 nor 1
- `<!-- parsed: REASON -->`: not run; commands and options are looked up in the real parsers
- `<!-- example: REASON -->`: output that is not compared
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", *sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md")))
BESIDE = ("benchmarks/README.md", "tests/README.md", "CONTRIBUTING.md")
"""Their commands are looked up and not run: they take minutes, or are the tests themselves."""
MARKS = ("saved as", "before", "printed by", "here", "ends with", "parsed", "example")

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[^\n]*)\n(?P<body>.*?)^ *```$", re.MULTILINE | re.DOTALL)
_MARKED = re.compile(r"<!-- *(?P<text>.*?) *-->\s*\Z", re.DOTALL)
_SPAN = re.compile(r"`([^`]+)`")


@dataclass(frozen=True, slots=True)
class Block:
    """A code block."""

    page: str
    line: int
    language: str
    body: str
    marks: Mapping[str, str]

    @property
    def place(self) -> str:
        """Where it stands."""
        return f"{self.page}:{self.line}"


def blocks_of(page: str) -> list[Block]:
    """The blocks of a page of the repository."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found, end = [], 0
    for fence in _FENCE.finditer(text):
        body = textwrap.dedent(fence["body"])
        line = text.count("\n", 0, fence.start()) + 1
        found.append(Block(page, line, fence["language"].strip(), body, dict(_marks(text[end : fence.start()]))))
        end = fence.end()
    return found


def _marks(before: str) -> Iterator[tuple[str, str]]:
    while comment := _MARKED.search(before):
        kind = next((mark for mark in MARKS if comment["text"].startswith(mark)), "")
        assert kind, f"no mark that is known: {comment['text']}"
        yield kind, comment["text"].removeprefix(kind).lstrip(":").strip()
        before = before[: comment.start()]


def spans_of(page: str) -> list[str]:
    """What stands in backquotes within the prose of a page."""
    prose = _FENCE.sub("", (ROOT / page).read_text(encoding="utf-8"))
    return [" ".join(span.split()) for span in _SPAN.findall(prose)]
