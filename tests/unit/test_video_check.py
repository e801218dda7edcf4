"""What is found in downloaded files; they are data from elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import httpx
import numpy as np
import pytest
from test_settler_downloads import FakeStorage, download
from test_settler_table import row_of, submit, video_of

from reelbatch.ledger import Ledger
from reelbatch.ledger.settlements import VideoFile
from reelbatch.settle.video_check import look_at

Picture = Callable[[int], np.ndarray]
_SIZE = (64, 96, 3)


def moving(number: int) -> np.ndarray:
    """A bright bar that wanders."""
    picture = np.full(_SIZE, 40, np.uint8)
    picture[:, number % 90 : number % 90 + 6] = 220
    return picture


def black(number: int) -> np.ndarray:
    """Nothing but a little noise."""
    return np.full(_SIZE, number % 4, np.uint8)


def frozen(number: int) -> np.ndarray:
    """One picture; a point of it flickers."""
    picture = np.full(_SIZE, 120, np.uint8)
    picture[:4, :4] = 255 * (number % 2)
    return picture


def video(path: Path, picture: Picture, frames: int = 24, *, faststart: bool = True, container: str = "mp4") -> Path:
    """A small MP4."""
    options = {"movflags": "faststart"} if faststart and container == "mp4" else {}
    with av.open(str(path), "w", format=container, options=options) as made:
        stream = made.add_stream("libx264", rate=Fraction(24))
        stream.width, stream.height, stream.pix_fmt = _SIZE[1], _SIZE[0], "yuv420p"
        stream.options = {"preset": "ultrafast", "threads": "1", "g": "48"}
        for number in range(frames):
            made.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number), format="rgb24")))
        made.mux(stream.encode())
    return path


@pytest.mark.parametrize(("picture", "check"), [(moving, "ok"), (black, "black"), (frozen, "frozen")])
def test_black_and_frozen_videos_are_told_from_others(tmp_path: Path, picture: Picture, check: str) -> None:
    """With length, frames and size; some noise and a flickering point are no movement."""
    path = video(tmp_path / "a.mp4", picture)
    assert look_at(path) == VideoFile(bytes=path.stat().st_size, seconds=1.0, frames=24, check=check)


def test_a_video_that_moves_late_is_not_frozen(tmp_path: Path) -> None:
    """After the frames that are all looked at, key frames tell."""

    def late(number: int) -> np.ndarray:
        return frozen(0) if number < 260 else moving(number)

    found = look_at(video(tmp_path / "a.mp4", late, 340))
    assert (found.frames, found.check) == (340, "ok")


def test_a_frame_that_is_not_black_is_enough(tmp_path: Path) -> None:
    """A fade from black is a video."""
    path = video(tmp_path / "a.mp4", lambda number: np.full(_SIZE, number * 8, np.uint8))
    assert look_at(path).check == "ok"


def test_a_webm_is_a_video_too(tmp_path: Path) -> None:
    """Whatever its file is called."""
    path = video(tmp_path / "a.mp4", moving, container="matroska")
    assert look_at(path).check == "ok"


@pytest.mark.parametrize("faststart", [True, False])
def test_a_video_that_is_cut_off_is_unreadable(tmp_path: Path, *, faststart: bool) -> None:
    """Wherever its index lies."""
    path = video(tmp_path / "a.mp4", moving, faststart=faststart)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 3 // 4])
    assert look_at(path).check == "unreadable"


def test_damaged_files_are_unreadable_and_raise_nothing(tmp_path: Path) -> None:
    """Whatever its bytes are: none, no video, or a video with holes."""
    content = video(tmp_path / "a.mp4", moving).read_bytes()
    random = np.random.default_rng(1)
    for number in range(60):
        damaged = bytearray(content)
        for at in random.integers(0, len(content), 1 + number):
            damaged[at] = int(random.integers(256))
        (tmp_path / "b.mp4").write_bytes(damaged)
        assert look_at(tmp_path / "b.mp4").check in {"ok", "frozen", "black", "unreadable"}
    for bytes_ in (b"", b"no video", content[:4] + b"ftyp", b"\x00" * 5000):
        (tmp_path / "b.mp4").write_bytes(bytes_)
        assert look_at(tmp_path / "b.mp4") == VideoFile(bytes=len(bytes_), check="unreadable")


def test_nothing_that_a_file_refers_to_is_opened(tmp_path: Path) -> None:
    """A playlist by the name of a video would have this machine ask for addresses, or read its files."""
    inner = video(tmp_path / "inner.mp4", moving)
    head = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n"
    (tmp_path / "list.mp4").write_text(f"{head}{inner}\n#EXT-X-ENDLIST\n")
    (tmp_path / "concat.mp4").write_text(f"ffconcat version 1.0\nfile '{inner.name}'\n")
    for name in ("list.mp4", "concat.mp4"):
        assert look_at(tmp_path / name).check == "unreadable"


def test_a_look_ends_when_its_time_is_over(tmp_path: Path) -> None:
    """What it has not come to stays open, and the file is no worse for it."""
    path = video(tmp_path / "a.mp4", frozen)
    assert look_at(path, 0.0) == VideoFile(bytes=path.stat().st_size, seconds=1.0, frames=24, check=None)


class _Videos(FakeStorage):
    """A storage that has these videos."""

    def __init__(self, contents: dict[str, bytes]) -> None:
        super().__init__()
        self._contents = contents

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        """A GET of the API, or of the storage."""
        if request.url.host != "storage.example.com":
            return await super().__call__(request)
        return httpx.Response(200, content=self._contents[request.url.path.strip("/")])


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A results table of its own."""
    with Ledger(f"sqlite:///{tmp_path / 'results.db'}") as opened:
        yield opened


def test_marks_stand_in_the_table_and_change_no_exit_code(ledger: Ledger, tmp_path: Path) -> None:
    """Every file is kept, also one that can't be read; the settle's end counts them."""
    given = {
        "A": video(tmp_path / "a.mp4", moving).read_bytes(),
        "B": video(tmp_path / "b.mp4", black).read_bytes(),
        "C": video(tmp_path / "c.mp4", frozen).read_bytes(),
        "D": b"no video",
    }
    submit(ledger, *given)
    storage = _Videos({video_of(key): content for key, content in given.items()})
    stats = asyncio.run(download(ledger, storage, tmp_path / "videos"))
    assert (stats.downloaded, stats.downloads_failed, stats.exit_code) == (4, 0, 0)
    assert stats.marked_videos == {"black": 1, "frozen": 1, "unreadable": 1}
    rows = {key: row_of(ledger, key) for key in given}
    assert [row["video_check"] for row in rows.values()] == ["ok", "black", "frozen", "unreadable"]
    assert [row["video_frames"] for row in rows.values()] == [24, 24, 24, None]
    for key, row in rows.items():
        assert (row["state"], row["video_bytes"]) == ("complete", len(given[key]))
        assert Path(row["video_path"]).read_bytes() == given[key]
