"""Damaged tables by the thousand: each is read to its end, in bounded time and memory, and no two rows become one."""

from __future__ import annotations

import csv
import io
import random
import re
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

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
MOST_S = 5.0  # processor time of one file


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
    if len(plain) > 2 and plain[0] == 0:
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
