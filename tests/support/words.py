"""Hold the list of words in words.txt: `make check` names each place that uses one of them, and what to write.

`python tests/support/words.py [FILE …]` looks at these files; without any, at all texts that git knows. The changelog
keeps the words of its time.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
LIST = Path(__file__).with_name("words.txt")
_TEXTS = (".py", ".md", ".yaml", ".yml", ".toml", ".html", ".js", ".ipynb", ".svg")
_LEFT_OUT = ("CHANGELOG.md", "tests/unit/test_words.py")


class Word(NamedTuple):
    """A pattern that no text matches, and what takes its place."""

    pattern: re.Pattern[str]
    instead: str


def listed(text: str) -> list[Word]:
    """The words of a list: pattern, at least two blanks, what to write. Raises ValueError for another line."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    pairs = [re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in lines]
    return [Word(re.compile(pattern, re.IGNORECASE), instead) for pattern, instead in pairs]


def found(text: str, words: list[Word]) -> Iterator[tuple[int, str, str]]:
    """Number of the line, what stands there, what to write."""
    for number, line in enumerate(text.splitlines(), 1):
        for word in words:
            for match in word.pattern.finditer(line.replace("_", " ")):
                yield number, match.group(), word.instead


def _texts() -> list[Path]:
    known = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    names = [name for name in known.split("\0") if name.endswith(_TEXTS) and name not in _LEFT_OUT]
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def main(arguments: list[str]) -> int:
    """Print each place; 1 where there is one."""
    words = listed(LIST.read_text("utf-8"))
    faults = 0
    for path in [Path(each).resolve() for each in arguments] or _texts():
        for number, said, instead in found(path.read_text("utf-8"), words):
            faults += 1
            print(f'{path.relative_to(ROOT)}:{number}: "{said}": write {instead}')  # noqa: T201 - its output
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
