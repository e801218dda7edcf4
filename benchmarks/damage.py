"""Damaged tables by the thousand: each is read to its end, in bounded time and memory, and no two rows become one.

`python -m benchmarks damage` goes through ten thousand, `python -m benchmarks.damage 500` through the first 500; a
test takes the first few hundred.
"""

from __future__ import annotations

import csv
import io
import random
import re
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks.figures import Bench, Found, at_most, show
from reelbatch.errors import ManifestError
from reelbatch.manifest import Checks, ManifestOptions, open_manifest
from reelbatch.model_table import load_models

ROWS = 60
_NAMES = ("row_key", "image_path", "prompt", "end_seconds")
_SIGNS = (
    b'"',
    b'""',
    b'"\n',
    b'\n"',
    b'","',
    b"\\",
    b"\r",
    b"\r\n",
    b"\n",
    b"\0",
    b",,,,",
    b"\xff",
    b"\xef\xbb\xbf",
    b"<",
)
_WHOLE_ROW = re.compile(r"[\r\n]k\d+([,;\t|])https://x\.test/a\.png\1")
MOST_S = 5.0
MOST_MB = 200


def sound_rows(seed: random.Random, delimiter: str) -> list[bytes]:
    """Lines of rows with keys of their own: quoted, unquoted, with marks, delimiters and letters of many scripts."""
    lines = []
    for number in range(ROWS):
        prompt = seed.choice(["Slow pan", 'the "best", slow', '24" wide', "花瓶, ゆっくり", "", 'end"', "a;b|c\td"])
        text = io.StringIO(newline="")
        writer = csv.writer(text, delimiter=delimiter, quoting=seed.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
        writer.writerow([f"k{number}", "https://x.test/a.png", prompt, "5"])
        lines.append(text.getvalue().encode())
    return lines


def damaged(number: int) -> bytes:
    """The file of this number, always the same."""
    seed = random.Random(number)
    delimiter = seed.choice(",;\t|")
    content = bytearray(delimiter.join(_NAMES).encode() + b"\r\n")
    content += b"".join(sound_rows(seed, delimiter))
    for _ in range(seed.randint(1, 6)):
        if not content:  # all of it was cut off: an empty file is one of them
            break
        at = seed.randrange(len(content))
        _ACTIONS[seed.randrange(len(_ACTIONS))](seed, content, at)
    return bytes(content)


def _insert(seed: random.Random, content: bytearray, at: int) -> None:
    content[at:at] = seed.choice(_SIGNS)


def _delete(seed: random.Random, content: bytearray, at: int) -> None:
    del content[at : at + seed.randint(1, 30)]


def _repeat(seed: random.Random, content: bytearray, at: int) -> None:
    content[at:at] = content[at : at + seed.randint(1, 300)] * seed.choice([1, 1, 1, 2_000])


def _cut(seed: random.Random, content: bytearray, at: int) -> None:
    del content[max(at, len(content) - seed.randint(1, 2_000)) :]


def _open_mark(seed: random.Random, content: bytearray, _: int) -> None:
    places = [place for place, byte in enumerate(content) if byte in b",;\t|"]
    if places:
        place = seed.choice(places) + 1
        content[place:place] = b'"'


def _matching_marks(seed: random.Random, content: bytearray, _: int) -> None:
    """One stray mark before a prompt and one behind a later one: what is between them looks like one cell."""
    sign = content[len("row_key") : len("row_key") + 1]
    lines = content.split(b"\r\n")
    plain = [index for index, line in enumerate(lines) if line.count(sign) == len(_NAMES) - 1 and b'"' not in line]
    if len(plain) > 2 and plain[0] == 0:  # noqa: PLR2004 - the header and two rows
        first, second = sorted(seed.sample(plain[1:], 2))
        key, image, rest = lines[first].split(sign, 2)
        lines[first] = sign.join([key, image, b'"' + rest])
        lines[second] = b'"'.join([lines[second][:-2], lines[second][-2:]])
        content[:] = b"\r\n".join(lines)


_ACTIONS: tuple[Callable[[random.Random, bytearray, int], None], ...] = (
    _insert,
    _delete,
    _repeat,
    _cut,
    _open_mark,
    _matching_marks,
)


@cache
def _checks() -> Checks:
    return Checks(models=load_models(), images=False)


def merged(content: bytes, path: Path) -> Iterator[str]:
    """Rows that hold the beginning of another one: read from `path`, where `content` is written.

    A whole line of the file begins with a key; what is read as valid must not hold a second such line.
    """
    path.write_bytes(content)
    manifest = open_manifest(path, ManifestOptions(), _checks())
    for batch in manifest.batches():
        for row in batch.rows:
            prompt = row.request.prompt or ""
            if row.problem is None and _WHOLE_ROW.search(prompt):
                yield f"row {row.row_number}: {prompt[:200]!r}"


def read(number: int, path: Path) -> list[str]:
    """What is wrong with how file `number` is read: merged rows, too long a time; errors of ours are right."""
    start = time.process_time()
    try:
        found = list(merged(damaged(number), path))
    except ManifestError:
        found = []
    if time.process_time() - start > MOST_S:
        found.append(f"took {time.process_time() - start:.1f} s")
    return [f"file {number}: {each}" for each in found]


@dataclass(frozen=True, slots=True)
class Reading:
    """What many files came to."""

    files: int
    wrong: list[str]
    slowest_s: float  # processor time of one file
    grown_mb: float  # of this process


def read_all(files: int, folder: Path) -> Reading:
    """Go through the first `files` of them."""
    wrong: list[str] = []
    slowest, before = 0.0, _peak_mb()
    for number in range(files):
        start = time.process_time()
        wrong += read(number, folder / "c.csv")
        slowest = max(slowest, time.process_time() - start)
    return Reading(files, wrong, slowest, _peak_mb() - before)


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run(bench: Bench) -> Found:
    """Every file ends with rows or with an error of ours."""
    found = read_all(bench.size(10_000, 300), bench.place("damage"))
    show("Damaged tables", [{"read wrongly": each} for each in found.wrong[:20]])
    figures = [
        at_most(f"of {found.files:,} damaged tables, read wrongly", len(found.wrong), 0, "files"),
        at_most("processor time of the slowest", found.slowest_s, MOST_S, "s"),
        at_most("memory, grown over all of them", found.grown_mb, MOST_MB, "MiB"),
    ]
    return Found(figures, {"wrong": found.wrong})


def main() -> int:
    """The same from the command line; says what is wrong, and what it took."""
    files = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as folder:
        found = read_all(files, Path(folder))
    took = f"the slowest took {found.slowest_s:.2f} s, memory grew by {found.grown_mb:.0f} MiB"
    print(f"{files:,} damaged files, {len(found.wrong)} read wrongly; {took}")
    print(*found.wrong[:20], sep="\n")
    return bool(found.wrong) or found.grown_mb > MOST_MB


if __name__ == "__main__":
    sys.exit(main())
