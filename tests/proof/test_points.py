"""The crash points themselves: what is committed, sent or written has one, and they do nothing unless told to."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import timeit
from collections import Counter
from collections.abc import Iterator

import pytest

from proof.source import WITHOUT, places, points, without_point
from reelbatch import failpoints
from reelbatch.failpoints import point


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    """No test leaves a rule behind."""
    yield
    failpoints.arm(None)


def test_what_is_committed_sent_or_written_has_a_point() -> None:
    """Otherwise nothing is killed there; each exception has its reason, and none is left over."""
    found = {where: len(some) for where, some in without_point().items()}
    assert found == {where: number for where, (number, _) in WITHOUT.items()}, "\n".join(
        str(place)
        for where, some in without_point().items()
        if len(some) != WITHOUT.get(where, (0, ""))[0]
        for place in some
    )


@pytest.mark.parametrize(
    "line",
    [
        "connection.commit()",
        "with self._connection.begin(): work()",
        "os.fsync(file)",
        "os.replace(part, target)",
        "part.replace(target)",
        "part.rename(target)",
        "target.hardlink_to(part)",
        "path.open('wb').close()",
        "path.open(mode='a').close()",
        "open(path, 'w').close()",
        "os.open(path, os.O_WRONLY | os.O_CREAT)",
        "path.write_text(text)",
        "self._transport.write(request)",
        "self._client.stream('GET', url)",
    ],
)
def test_the_scan_finds_each_kind(line: str) -> None:
    """A place without a point is found, one with its own before it is not; one point is not enough for two places."""
    bare = f"def f():\n    {line}\n"
    own = "    point('a.b')\n"
    pointed = f"def f():\n{own}    {line}\n"
    assert [place.has_point for place in places(bare, "m.py")] == [False]
    assert [place.has_point for place in places(pointed, "m.py")] == [True]
    assert [place.has_point for place in places(f"{pointed}    {line}\n", "m.py")] == [True, False]


@pytest.mark.parametrize(
    "line", ["text.replace('a', 'b')", "path.open('rb')", "replace(row, state=state)", "path.open()"]
)
def test_the_scan_leaves_alone_what_writes_nothing(line: str) -> None:
    """Otherwise the list of exceptions would grow until no one reads it."""
    assert places(f"def f():\n    {line}\n", "m.py") == []


def test_the_committed_list_is_that_of_the_source() -> None:
    """A point that goes, or comes, shows in the list, and each name stands for one place."""
    from proof.campaign import known_points

    assert sorted(points()) == known_points()
    assert max(Counter(points()).values()) == 1


def test_a_rule_kills_at_its_point() -> None:
    """By number, by name and count, and after another one; the last word of the record is the point."""
    for rule, passed in {"kill@2": "ab", "kill@x.b": "ab", "kill@x.a#2": "aba", "kill@x.b>x.a": "aba"}.items():
        script = (
            "from reelbatch.failpoints import point\n"
            "for name in 'abab': print(name, end='', flush=True); point(f'x.{name}')"
        )
        done = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, failpoints.VARIABLE: rule},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (-signal.SIGKILL, passed), done.stderr


def test_a_disk_fails_where_something_is_written() -> None:
    """Once, or from there on; points at which nothing is written are passed over."""
    failpoints.arm("EIO@2")
    point("file.open")
    point("file.opened")
    with pytest.raises(OSError, match="error") as caught:
        point("file.write")
    assert caught.value.errno == errno.EIO
    point("file.fsync")
    failpoints.arm("ENOSPC@1+")
    for _ in range(2):
        with pytest.raises(OSError, match="No space left"):
            point("file.write")


def test_points_that_are_off_cost_nothing_to_speak_of() -> None:
    """They are passed for every row: a look at one name, and no more."""
    assert failpoints._armed is None
    code = point.__code__
    assert set(code.co_names) == {"_armed", "passed"}
    assert timeit.timeit(lambda: point("table.commit"), number=1000) < 1  # some 60 ns each
