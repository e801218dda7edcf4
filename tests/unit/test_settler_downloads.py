"""Downloads: one whole file for each finished video, wherever it goes and whatever breaks on the way."""

import asyncio
import errno
import io
import re
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import IO, Any, cast

import fsspec
import httpx
import pytest
from sqlalchemy import Connection, Table, insert, select, update
from test_settler_polling import COMPLETE, FakeApi, client_of, plan
from test_settler_table import SPRING, complete, failed, row_of, send, settle, submit, video_of

from reelbatch.domain import Batch, RowKey, RowState
from reelbatch.errors import SettingsError
from reelbatch.ledger import Ledger, reruns, settlements, utc_now
from reelbatch.ledger.reruns import Selection
from reelbatch.ledger.schema import attempts, generations
from reelbatch.ledger.settlements import Filed
from reelbatch.settle import Settler, SettleReason, SettleStats
from reelbatch.settle.downloads import write_all
from reelbatch.settle.file_names import part_name
from reelbatch.storage.target import LocalTarget, Part, PartGone

AUTUMN = Batch("autumn")
_numbers = count()


class FakeStorage(FakeApi):
    """Finished videos and a storage whose addresses work until they are listed as expired."""

    def __init__(self) -> None:
        super().__init__(COMPLETE)
        self.gets: list[httpx.Request] = []
        self.ranges = True
        self.breaks: list[int] = []  # after that many bytes the next answers break off
        self.silent = False  # whether they break off as if that were all
        self.statuses: list[int] = []  # instead of the next answers
        self.headers: dict[str, str] = {}  # of the answers, besides their own
        self.states_length = True
        self.addresses = count(1)
        self.on_fetch: Callable[[], object] = lambda: None

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        """A GET of the API, or of the storage."""
        if request.url.host != "storage.example.com":
            return await super().__call__(request)
        self.gets.append(request)
        self.on_fetch()
        if self.statuses:
            return httpx.Response(self.statuses.pop(0))
        content = content_of(request.url.path.strip("/"))
        start = self._start(request)
        if start >= len(content) > 0 and start:
            return httpx.Response(416, headers={"Content-Range": f"bytes */{len(content)}"})
        headers = {"Content-Length": str(len(content) - start), **self.headers}
        if not self.states_length:
            del headers["Content-Length"]
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        body = _Stream(content[start:], self.breaks.pop(0) if self.breaks else None, silent=self.silent)
        return httpx.Response(206 if start else 200, headers=headers, stream=body)

    def _start(self, request: httpx.Request) -> int:
        stated = re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", ""))
        return int(stated[1]) if stated and self.ranges else 0

    def reply(self, video_id: str) -> httpx.Response:
        """The video's script, with a fresh address where it is complete."""
        answer = super().reply(video_id).json()
        if answer.get("status") == "complete":
            url = f"https://storage.example.com/{video_id}?address={next(self.addresses)}"
            answer["downloads"] = [{"url": url, "expires_at": "2999-01-01T00:00:00Z"}]
        return httpx.Response(200, json=answer)


class _Stream(httpx.AsyncByteStream):
    def __init__(self, content: bytes, breaks_after: int | None, *, silent: bool) -> None:
        self._content = content
        self._silent = silent
        self._breaks_after = breaks_after

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._breaks_after is None:
            yield self._content
            return
        yield self._content[: self._breaks_after]
        if not self._silent:
            raise httpx.ReadError("connection reset")


def content_of(video_id: str) -> bytes:
    """The video's bytes: long enough for several chunks, and different for each."""
    return (video_id.encode() + b"|") * 40_000


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A results table of its own."""
    with Ledger(f"sqlite:///{tmp_path / 'results.db'}") as opened:
        yield opened


@pytest.fixture
def storage() -> FakeStorage:
    """A storage where everything works."""
    return FakeStorage()


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """An empty folder."""
    folder = tmp_path / "videos"
    folder.mkdir()
    return folder


async def download(ledger: Ledger, storage: FakeStorage, folder: Path | str, **stated: Any) -> SettleStats:
    """A settle of all batches with downloads."""
    async with client_of(storage) as client:
        return await Settler(ledger, client, plan(**{"batch": None, "downloads": str(folder), **stated})).run()


def file_of(ledger: Ledger, key: str, batch: Batch = SPRING) -> bytes:
    """What lies where the row says its video lies."""
    return Path(row_of(ledger, key, batch)["video_path"]).read_bytes()


def files(folder: Path) -> dict[str, bytes]:
    """What lies in the folder, hidden files included."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


async def test_a_finished_video_lies_under_its_key(ledger: Ledger, storage: FakeStorage, videos: Path) -> None:
    """The file has all bytes, the row says where it is, and nothing else is left in the folder."""
    submit(ledger, "TEA-001")
    videos = videos / "not" / "yet"
    stats = await download(ledger, storage, videos)
    assert (stats.complete, stats.downloaded, stats.download_failures) == (1, 1, [])
    assert files(videos) == {"TEA-001.mp4": content_of(video_of("TEA-001"))}
    assert row_of(ledger, "TEA-001")["video_path"] == str(videos / "TEA-001.mp4")


async def test_the_key_never_goes_to_the_storage(ledger: Ledger, storage: FakeStorage, videos: Path) -> None:
    """A download address is its own permission."""
    submit(ledger, "a")
    await download(ledger, storage, videos)
    assert storage.gets
    assert all("authorization" not in request.headers for request in storage.gets)


async def test_videos_of_earlier_runs_are_fetched(ledger: Ledger, storage: FakeStorage, videos: Path) -> None:
    """A row that was settled without its file gets it the next time; one that has a file is left alone."""
    rows = submit(ledger, *(f"r{n:03}" for n in range(1450)))
    (elsewhere := videos.parent / "elsewhere.mp4").touch()
    settle(ledger, *(complete(row) for row in rows))
    have = update(generations).where(generations.c.row_number > 3).values(video_path=str(elsewhere))
    ledger.change(lambda connection: connection.execute(have))
    stats = await download(ledger, storage, videos)
    assert (stats.polled, stats.downloaded) == (0, 3)
    assert sorted(files(videos)) == ["r000.mp4", "r001.mp4", "r002.mp4"]
    assert (await download(ledger, storage, videos)).downloaded == 0


@pytest.mark.parametrize("where", ["local", "memory"])
async def test_a_video_that_was_deleted_comes_back(
    ledger: Ledger, storage: FakeStorage, videos: Path, where: str
) -> None:
    """What is not there is fetched again; what is there, here or elsewhere, is left alone."""
    folder = str(videos) if where == "local" else f"memory://videos-{next(_numbers)}"
    submit(ledger, "gone", "here", "a/b")
    await download(ledger, storage, folder)
    for key in ("gone", "a/b"):
        files_, path = fsspec.core.url_to_fs(row_of(ledger, key)["video_path"])
        files_.rm(path)
    stats = await download(ledger, storage, folder)
    assert (stats.polled, stats.downloaded, stats.download_failures) == (0, 2, [])
    for key in ("gone", "here", "a/b"):
        with fsspec.open(row_of(ledger, key)["video_path"]) as file:
            assert file.read() == content_of(video_of(key))
    assert (await download(ledger, storage, videos.parent / "other")).downloaded == 0


async def test_a_video_that_is_missing_elsewhere_comes_here(
    ledger: Ledger, storage: FakeStorage, videos: Path
) -> None:
    """A folder that is gone is not needed again; until the new file is there, the row keeps its old place."""
    submit(ledger, "a")
    await download(ledger, storage, videos / "old")
    (old := videos / "old" / "a.mp4").unlink()
    storage.statuses = [500] * 5
    assert (await download(ledger, storage, videos / "new")).downloads_failed == 1
    assert row_of(ledger, "a")["video_path"] == str(old)
    assert (await download(ledger, storage, videos / "new")).downloaded == 1
    assert row_of(ledger, "a")["video_path"] == str(videos / "new" / "a.mp4")


async def test_files_behind_a_url_that_cannot_be_asked_count_as_there(
    ledger: Ledger, storage: FakeStorage, videos: Path
) -> None:
    """Without the means to look, nothing is fetched twice."""
    (row,) = submit(ledger, "a")
    settle(ledger, complete(row))
    unknown = Filed(row, "nosuchkind://bucket/a.mp4")
    ledger.change(lambda connection: settlements.record_files(connection, [unknown]))
    assert (await download(ledger, storage, videos)).downloaded == 0
    assert row_of(ledger, "a")["video_path"] == unknown.path


async def test_each_generation_has_its_own_file(ledger: Ledger, storage: FakeStorage, videos: Path) -> None:
    """A video that was made anew replaces no earlier one, not even one of the same size."""
    submit(ledger, "TEA-001")
    await download(ledger, storage, videos)
    later = dict(row_of(ledger, "TEA-001"), generation=2, state="queued", video_id="new-spring-TEA2d001", token=None)
    later |= {"video_path": None, "due_at": utc_now()}
    ledger.change(lambda connection: connection.execute(insert(generations).values(later)))
    assert len(content_of(later["video_id"])) == len(content_of(video_of("TEA-001")))
    await download(ledger, storage, videos)
    g = generations.c
    query = select(g.video_id, g.video_path).order_by(g.generation)
    (first, plain), (second, own) = ledger.read(lambda connection: connection.execute(query).all())
    assert re.fullmatch(r".*/TEA-001\.v2-[0-9a-f]{8}\.mp4", own)
    assert plain == str(videos / "TEA-001.mp4")
    both = {"TEA-001.mp4": content_of(first), own.rpartition("/")[2]: content_of(second)}
    assert files(videos) == both
    LocalTarget(str(videos)).remove(own)
    assert (await download(ledger, storage, videos)).downloaded == 1
    assert files(videos) == both


async def test_many_pages_of_videos_are_fetched(ledger: Ledger, storage: FakeStorage, videos: Path) -> None:
    """The second page begins where the first one ended."""
    rows = submit(ledger, *(f"r{n:03}" for n in range(230)))
    settle(ledger, *(complete(row) for row in rows))
    assert (await download(ledger, storage, videos, wait=False)).downloaded == 230
    assert len(files(videos)) == 230


async def test_an_expired_address_is_asked_for_again(ledger: Ledger, storage: FakeStorage, videos: Path) -> None:
    """A 403 of the storage costs another GET, not the video."""
    submit(ledger, "a")
    storage.statuses = [403, 403]
    stats = await download(ledger, storage, videos)
    assert stats.downloaded == 1
    assert [request.url.params["address"] for request in storage.gets] == ["1", "2", "3"]


@pytest.mark.parametrize("silent", [True, False], ids=["ends early", "reset"])
async def test_a_broken_transfer_goes_on_where_it_broke(
    ledger: Ledger, storage: FakeStorage, videos: Path, *, silent: bool
) -> None:
    """What arrived is not asked for again, and the file is whole in the end."""
    submit(ledger, "a")
    storage.silent = silent
    size = len(content_of(video_of("a")))
    storage.breaks = [size // 2, size // 4]
    assert (await download(ledger, storage, videos)).downloaded == 1
    offsets = [int(request.headers.get("range", "bytes=0-")[6:-1]) for request in storage.gets]
    assert offsets[0] == 0 < offsets[1] < offsets[2]
    assert files(videos) == {"a.mp4": content_of(video_of("a"))}


@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "no ranges"])
@pytest.mark.parametrize("share", [0.5, 1.0, 1.5], ids=["half", "whole", "too long"])
async def test_a_part_of_a_killed_run_is_resumed(
    ledger: Ledger, storage: FakeStorage, videos: Path, share: float, *, ranges: bool
) -> None:
    """However much a killed process left, and whatever the storage supports, the file is the video."""
    submit(ledger, "a")
    content = content_of(video_of("a"))
    left = (content * 2)[: int(len(content) * share)]
    (videos / part_name(SPRING, RowKey("a"), video_of("a"))).write_bytes(left)
    storage.ranges = ranges
    assert (await download(ledger, storage, videos)).downloaded == 1
    assert files(videos) == {"a.mp4": content}


async def test_two_halves_of_two_videos_are_no_video(ledger: Ledger, storage: FakeStorage, videos: Path) -> None:
    """The storage has another video by now, of the same size: what is left of the first one does not count."""
    submit(ledger, "a")
    content = content_of(video_of("a"))
    (videos / part_name(SPRING, RowKey("a"), video_of("a"))).write_bytes(content[::-1][: len(content) // 2])
    assert (await download(ledger, storage, videos)).downloaded == 1
    assert files(videos) == {"a.mp4": content}


async def test_a_video_that_never_comes_is_left_for_the_next_run(
    ledger: Ledger, storage: FakeStorage, videos: Path
) -> None:
    """A file that never comes whole never gets its name; the row stays complete and the next run fetches it."""
    submit(ledger, "a", "b")
    storage.statuses = [500] * 5  # all tries of the one that comes first
    stats = await download(ledger, storage, videos, concurrency=1)
    assert (stats.reason, stats.complete, stats.downloaded) == (SettleReason.DONE, 2, 1)
    ((key, message),) = stats.download_failures
    assert "500" in message
    assert row_of(ledger, key)["state"] == "complete"
    assert row_of(ledger, key)["video_path"] is None
    assert (await download(ledger, storage, videos)).downloaded == 1
    assert len(files(videos)) == 2


async def test_a_full_disk_is_said_and_the_others_go_on(ledger: Ledger, storage: FakeStorage, videos: Path) -> None:
    """A video that finds no room leaves its row complete and no half file; other videos are not touched by it."""
    submit(ledger, "a", "b")
    (videos / part_name(SPRING, RowKey("a"), video_of("a"))).symlink_to("/dev/full")  # takes no byte
    stats = await download(ledger, storage, videos)
    assert stats.download_failures == [("a", f"{videos}: the disk is full")]
    assert (row_of(ledger, "a")["state"], row_of(ledger, "a")["video_path"]) == ("complete", None)
    assert files(videos) == {"b.mp4": content_of(video_of("b"))}


class NearlyFull(io.RawIOBase):
    """A disk that takes some bytes at a time, and then none."""

    def __init__(self, room: int) -> None:
        self.taken = b""
        self._room = room

    def write(self, data: Any) -> int:
        """As the system does it: a part, and no error before there is no room at all."""
        if len(self.taken) == self._room:
            raise OSError(errno.ENOSPC, "no room")
        some = bytes(data[: min(3, self._room - len(self.taken))])
        self.taken += some
        return len(some)


def test_the_last_bytes_that_find_no_room_are_missed() -> None:
    """A disk that takes a part of them says nothing of the rest; the file would be as long as stated, with zeros."""
    disk = NearlyFull(10)
    write_all(cast("IO[bytes]", disk), b"1234567")
    with pytest.raises(OSError, match="no room"):
        write_all(cast("IO[bytes]", disk), b"89abc")
    assert disk.taken == b"123456789a"


async def test_a_folder_that_cannot_be_written_is_said_before_anything_is_asked(
    ledger: Ledger, storage: FakeStorage, tmp_path: Path
) -> None:
    """One clear error, no poll, no download."""
    submit(ledger, "a")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SettingsError, match=r"can't be put into .*file/videos: .*--download"):
        await download(ledger, storage, tmp_path / "file" / "videos")
    with pytest.raises(SettingsError, match="nosuchkind"):
        await download(ledger, storage, "nosuchkind://bucket/videos")
    assert storage.asked == []


async def test_keys_that_differ_in_case_only_have_two_files(
    ledger: Ledger, storage: FakeStorage, videos: Path
) -> None:
    """A folder that is copied to another file system loses no video."""
    submit(ledger, "Tea", "TEA", "TEA-2")
    assert (await download(ledger, storage, videos)).downloaded == 3
    assert len({name.lower() for name in files(videos)}) == 3
    assert "TEA-2.mp4" in files(videos)
    for key in ("Tea", "TEA"):
        assert file_of(ledger, key) == content_of(video_of(key))


@pytest.mark.parametrize("at_once", [True, False])
async def test_two_batches_share_a_folder(
    ledger: Ledger, storage: FakeStorage, videos: Path, *, at_once: bool
) -> None:
    """The same key in two batches means two videos and two files."""
    keys = [f"r{n}" for n in range(20)]
    submit(ledger, *keys)
    if not at_once:
        await download(ledger, storage, videos)
    submit(ledger, *keys, batch=AUTUMN)
    await download(ledger, storage, videos)
    assert len(files(videos)) == 40
    for batch in (SPRING, AUTUMN):
        for key in keys:
            assert file_of(ledger, key, batch) == content_of(video_of(key, batch))


async def test_a_row_made_again_replaces_its_file(ledger: Ledger, storage: FakeStorage, videos: Path) -> None:
    """A rerun leaves one file for the row: the new video's, under the old name."""
    submit(ledger, "TEA-001", "a/b")
    await download(ledger, storage, videos)
    names = set(files(videos))
    again = update(generations).values(state=RowState.PENDING, video_id=None, token=None, run_id=None)
    ledger.change(lambda connection: connection.execute(again))
    send(ledger, mark="new")
    await download(ledger, storage, videos)
    assert set(files(videos)) == names
    assert files(videos)["TEA-001.mp4"] == content_of(video_of("TEA-001", mark="new"))


async def test_a_file_that_is_not_ours_is_left_alone(ledger: Ledger, storage: FakeStorage, videos: Path) -> None:
    """Someone's file under a row's name is not overwritten; the video gets a mark."""
    submit(ledger, "TEA-001")
    (videos / "TEA-001.mp4").write_bytes(b"holiday")
    await download(ledger, storage, videos)
    assert (videos / "TEA-001.mp4").read_bytes() == b"holiday"
    assert re.fullmatch(r".*/TEA-001-[0-9a-f]{8}\.mp4", row_of(ledger, "TEA-001")["video_path"])


@pytest.mark.parametrize("where", ["local", "memory"])
async def test_a_file_of_the_same_size_is_left_alone(
    ledger: Ledger, storage: FakeStorage, videos: Path, where: str
) -> None:
    """The row of another batch has put its video there and not written it down yet; both keep their own."""
    folder = str(videos) if where == "local" else f"memory://videos-{next(_numbers)}"
    (other,) = submit(ledger, "TEA-001", batch=AUTUMN)
    settle(ledger, complete(other))
    theirs = f"{folder}/TEA-001.mp4"
    with fsspec.open(theirs, "wb") as file:
        file.write(content_of(other.video_id))
    submit(ledger, "TEA-001")
    assert len(content_of(other.video_id)) == len(content_of(video_of("TEA-001")))
    await download(ledger, storage, folder, batch=SPRING)
    ledger.change(lambda connection: settlements.record_files(connection, [Filed(other, theirs)]))
    for batch in (SPRING, AUTUMN):
        with fsspec.open(row_of(ledger, "TEA-001", batch)["video_path"]) as file:
            assert file.read() == content_of(video_of("TEA-001", batch))


async def test_three_tables_share_a_folder(storage: FakeStorage, videos: Path, tmp_path: Path) -> None:
    """The same manifest in a new table each month, one folder for the videos: none takes the place of another."""
    keys = ("TEA-001", "a/b")
    for month in ("may", "june", "july"):
        with Ledger(f"sqlite:///{tmp_path / month}.db") as table:
            submit(table, *keys)
            for of in (generations, attempts):
                table.change(partial(_make_in, of=of, month=month))
            await download(table, storage, videos)
    for month in ("may", "june", "july"):
        with Ledger(f"sqlite:///{tmp_path / month}.db") as table:
            for key in keys:
                assert file_of(table, key) == content_of(f"{video_of(key)}-{month}")
            names = set(files(videos))
            table.change(lambda connection: connection.execute(update(generations).values(video_path=None)))
            await download(table, storage, videos)
    assert set(files(videos)) == names
    assert len(names) == 6


def _make_in(connection: Connection, of: Table, month: str) -> None:
    connection.execute(update(of).values(video_id=of.c.video_id + f"-{month}"))


async def test_a_file_that_is_not_ours_is_left_alone_after_a_rerun(
    ledger: Ledger, storage: FakeStorage, videos: Path
) -> None:
    """The row's first video failed, so the file that lies under its name is none of its own."""
    (row,) = submit(ledger, "TEA-001")
    ledger.change(lambda connection: settlements.record_finals(connection, [failed(row)]))
    ledger.change(lambda connection: reruns.request(connection, Selection(batch=SPRING)))
    send(ledger, mark="new")
    (videos / "TEA-001.mp4").write_bytes(b"holiday")
    await download(ledger, storage, videos)
    assert (videos / "TEA-001.mp4").read_bytes() == b"holiday"
    assert file_of(ledger, "TEA-001") == content_of(video_of("TEA-001", mark="new"))


async def test_a_crash_between_file_and_row_leaves_one_file(
    ledger: Ledger, storage: FakeStorage, videos: Path
) -> None:
    """A video that had its name but not its entry is fetched again into the same file."""
    submit(ledger, "TEA-001")
    await download(ledger, storage, videos)
    ledger.change(lambda connection: connection.execute(update(generations).values(video_path=None)))
    await download(ledger, storage, videos)
    assert set(files(videos)) == {"TEA-001.mp4"}


async def test_two_settles_download_at_once(
    ledger: Ledger, storage: FakeStorage, videos: Path, tmp_path: Path
) -> None:
    """A second settle into the same folder does no harm: one whole file for each row."""
    rows = submit(ledger, *(f"r{n}" for n in range(15)), "a/b")
    settle(ledger, *(complete(row) for row in rows))
    with Ledger(f"sqlite:///{tmp_path / 'results.db'}") as second:
        all_stats = await asyncio.gather(download(ledger, storage, videos), download(second, storage, videos))
    assert [stats.download_failures for stats in all_stats] == [[], []]
    assert len(files(videos)) == 16
    for row in rows:
        assert file_of(ledger, row.row_key) == content_of(row.video_id)


def test_two_names_of_one_video_become_one(videos: Path) -> None:
    """A kill between the link and the removal of the part leaves both; a rename onto itself does nothing."""
    videos.mkdir(exist_ok=True)
    part = videos / ".video.part"
    part.write_bytes(b"a video")
    (videos / "a.mp4").hardlink_to(part)
    LocalTarget(str(videos)).place(Part(part, 7), "a.mp4", replace=True)
    assert files(videos) == {"a.mp4": b"a video"}


def test_half_a_video_never_gets_a_name(videos: Path) -> None:
    """Where another settle took the whole video and a third began it anew, the beginning is left alone."""
    part = videos / ".part"
    part.write_bytes(b"half")
    with pytest.raises(PartGone):
        LocalTarget(str(videos)).place(Part(part, 8), "a.mp4", replace=True)
    assert files(videos) == {".part": b"half"}


async def test_a_file_that_is_one_too_many_goes_again(ledger: Ledger, storage: FakeStorage, videos: Path) -> None:
    """Where another settle has put the same video elsewhere meanwhile, the row's entry stands and ours is removed."""
    (row,) = submit(ledger, "TEA-001")
    settle(ledger, complete(row))
    elsewhere = Filed(row, "s3://bucket/TEA-001.mp4")
    storage.on_fetch = lambda: ledger.change(lambda connection: settlements.record_files(connection, [elsewhere]))
    stats = await download(ledger, storage, videos)
    assert (stats.downloaded, files(videos)) == (0, {})
    assert row_of(ledger, "TEA-001")["video_path"] == "s3://bucket/TEA-001.mp4"


async def test_two_batches_share_a_folder_behind_a_url(ledger: Ledger, storage: FakeStorage) -> None:
    """A storage that replaces whatever has the name still keeps both videos."""
    folder = f"memory://videos-{next(_numbers)}"
    for batch in (SPRING, AUTUMN):
        submit(ledger, "r1", "r2", batch=batch)
    await download(ledger, storage, folder)
    assert len(fsspec.filesystem("memory").ls(folder.removeprefix("memory:/"), detail=False)) == 4
    for batch in (SPRING, AUTUMN):
        for key in ("r1", "r2"):
            with fsspec.open(row_of(ledger, key, batch)["video_path"]) as file:
                assert file.read() == content_of(video_of(key, batch))


async def test_no_key_leads_out_of_the_folder(ledger: Ledger, storage: FakeStorage, videos: Path) -> None:
    """Whatever a manifest calls its rows, everything lies in the folder."""
    keys = ("../../x", "a/b", "..", "CON", "/etc/passwd", "茶" * 300, "🫖", "nul\x00", "trailing.", " ")
    submit(ledger, *keys)
    stats = await download(ledger, storage, videos)
    assert stats.download_failures == []
    assert stats.downloaded == len(keys) == len(files(videos))
    assert {Path(row_of(ledger, key)["video_path"]).parent for key in keys} == {videos}


async def test_videos_go_to_any_url(ledger: Ledger, storage: FakeStorage) -> None:
    """An fsspec URL holds the finished videos and nothing that is half done."""
    folder = f"memory://videos-{next(_numbers)}/spring"
    submit(ledger, "TEA-001", "a/b")
    storage.breaks = [1000]
    assert (await download(ledger, storage, folder)).downloaded == 2
    found = fsspec.filesystem("memory").ls(folder.removeprefix("memory:/"), detail=False)
    assert len(found) == 2
    for key in ("TEA-001", "a/b"):
        path = row_of(ledger, key)["video_path"]
        assert path.startswith(folder)
        with fsspec.open(path) as file:
            assert file.read() == content_of(video_of(key))


@pytest.mark.parametrize("states_length", [True, False], ids=["stated", "endless"])
async def test_a_download_that_is_larger_than_any_video_is_refused(
    ledger: Ledger, storage: FakeStorage, videos: Path, *, states_length: bool
) -> None:
    """Once, not five times; nothing of it stays on the disk, the row stays complete, and the others are fetched."""
    submit(ledger, "much-longer-key", "a")
    storage.states_length = states_length
    largest = len(content_of(video_of("a")))
    stats = await download(ledger, storage, videos, largest_video=largest)
    assert files(videos) == {"a.mp4": content_of(video_of("a"))}
    said = f"the download is refused: it has more than {largest:,} bytes, which no video has"
    assert stats.download_failures == [("much-longer-key", said)]
    assert row_of(ledger, "much-longer-key")["state"] == "complete"
    assert len(storage.gets) == 2


async def test_what_was_left_of_a_refused_download_goes_too(
    ledger: Ledger, storage: FakeStorage, videos: Path
) -> None:
    """A part that an earlier run left, and of which more comes than may be, takes no room any longer."""
    submit(ledger, "a")
    content = content_of(video_of("a"))
    (videos / part_name(SPRING, RowKey("a"), video_of("a"))).write_bytes(content[:1000])
    stats = await download(ledger, storage, videos, largest_video=len(content) - 1)
    assert (stats.downloads_failed, files(videos)) == (1, {})


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "br", "gzip, gzip", "zstd", "deflate"])
async def test_a_packed_download_is_refused(
    ledger: Ledger, storage: FakeStorage, videos: Path, encoding: str
) -> None:
    """It was asked for as it is; a few kilobytes could unpack to gigabytes."""
    submit(ledger, "a")
    storage.headers = {"Content-Encoding": encoding}
    stats = await download(ledger, storage, videos)
    said = f"the download is refused: it comes packed ({encoding.lower()}), which was not asked for"
    assert stats.download_failures == [("a", said)]
    assert files(videos) == {}
    assert [request.headers["accept-encoding"] for request in storage.gets] == ["identity"]


async def test_a_web_page_is_no_video(ledger: Ledger, storage: FakeStorage, videos: Path) -> None:
    """A proxy that lets no videos through says so with a success: the row stays without a file, for the next one."""
    submit(ledger, "a")
    storage.headers = {"Content-Type": "text/html; charset=utf-8"}
    stats = await download(ledger, storage, videos)
    assert (stats.downloaded, stats.downloads_failed) == (0, 1)
    assert "web page" in stats.download_failures[0][1]
    assert "a.mp4" not in files(videos)
    storage.headers = {}
    assert (await download(ledger, storage, videos)).downloaded == 1


async def test_a_download_that_says_that_it_is_not_packed_is_taken(
    ledger: Ledger, storage: FakeStorage, videos: Path
) -> None:
    """`identity` is what was asked for."""
    submit(ledger, "a")
    storage.headers = {"Content-Encoding": "identity"}
    assert (await download(ledger, storage, videos)).downloaded == 1
