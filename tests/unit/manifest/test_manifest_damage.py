"""Arbitrary damage: whatever is in a file, the answer is one of our errors or rows, never a crash."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reelbatch.errors import ManifestError
from reelbatch.manifest import ImageProblem, inspect_image

fuzz = settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
alphabet = st.sampled_from(
    [b'"', b",", b";", b"\n", b"\r", b"\0", b"a", b"\xff", b"\xef\xbb\xbf", b"5", b" ", b"{", b"}"]
)
soup = st.lists(alphabet, max_size=40).map(b"".join)


@fuzz
@given(
    content=soup, header=st.sampled_from([b"", b"image_path,prompt\n", b"\xff\xfe", b"sep=;\n", b"\x1f\x8b", b"PAR1"])
)
@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_any_bytes_are_a_manifest_or_an_error(
    read: Any, tmp_path: Path, suffix: str, content: Any, header: Any
) -> None:
    """Rows are numbered in order and every invalid one says why."""
    path = tmp_path / f"soup{suffix}"
    path.write_bytes(header + content)
    with suppress(ManifestError):
        outcome = read(path)
        numbers = [row.row_number for row in outcome.rows]
        assert numbers == sorted(set(numbers))
        assert {row.row_number for row in outcome.rows if row.problem} == {
            problem.row_number for problem in outcome.problems
        }


@fuzz
@given(at=st.floats(0, 1), noise=st.binary(min_size=1, max_size=12), end=st.floats(0.05, 1))
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.tiff", "a.bmp", "a.jp2", "a.avif", "a.heic"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_any_damage_to_an_image_is_a_problem_or_harmless(
    image: Any, name: str, at: Any, noise: Any, end: str
) -> None:
    """Pillow's plugins raise all sorts of things; what reaches us is one of ours."""
    path = _pristine(image, name)
    data = bytearray(path.read_bytes())
    place = int(at * min(len(data), 300))
    data[place : place + len(noise)] = noise
    damaged = path.with_name(f"damaged-{name}")
    damaged.write_bytes(bytes(data[: int(len(data) * end)]))
    with suppress(ImageProblem):
        assert inspect_image(str(damaged)).width > 0


def _pristine(image: Any, name: str) -> Path:
    path: Path = image(name, (48, 32), "HEIF" if name.endswith("heic") else None)
    return path
