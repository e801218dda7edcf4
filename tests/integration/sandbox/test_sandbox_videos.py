"""GET /v1/video-projects/{id} and the downloads: the life of a video after its create."""

import asyncio
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import httpx
import pytest

from reelbatch.sandbox import RunningSandbox, start
from reelbatch.sandbox.app import build_app
from reelbatch.sandbox.books import Status
from reelbatch.sandbox.config import SandboxConfig
from reelbatch.sandbox.service import Service

Upload = Callable[..., str]
Connect = Callable[[RunningSandbox], httpx.Client]
FIELDS = {
    "id", "name", "status", "type", "created_at", "width", "height", "enabled", "start_seconds", "end_seconds",
    "credits_charged", "fps", "error", "downloads",
}  # fmt: skip


def create(api: httpx.Client, body: dict[str, Any]) -> str:
    """The id of a new video."""
    created: str = api.post("/v1/image-to-video", json=body).raise_for_status().json()["id"]
    return created


def look(api: httpx.Client, video_id: str) -> dict[str, Any]:
    """How the video stands."""
    found: dict[str, Any] = api.get(f"/v1/video-projects/{video_id}").raise_for_status().json()
    return found


def settled(api: httpx.Client, video_id: str) -> dict[str, Any]:
    """The video once it is final."""
    while (video := look(api, video_id))["status"] in {"queued", "rendering"}:
        pass
    return video


def frames_of(content: bytes) -> list[av.VideoFrame]:
    with av.open(BytesIO(content)) as container:
        return list(container.decode(video=0))


def test_an_uploaded_portrait_becomes_a_playable_portrait(
    http: httpx.Client, api: httpx.Client, body: dict[str, Any], upload: Upload
) -> None:
    """The video has the image's orientation, the stated size, H.264 in 4:2:0 and each frame it says."""
    video = settled(api, create(api, {**body, "assets": {"image_file_path": upload(api)}}))
    content = http.get(video["downloads"][0]["url"]).raise_for_status().content
    with av.open(BytesIO(content)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height) == (video["width"], video["height"]) == (160, 320)
    assert len(frames) == 60 == video["fps"] * video["end_seconds"]
    assert content.index(b"moov") < content.index(b"mdat")


def test_the_picture_moves_and_ends_in_the_end_image(
    http: httpx.Client, api: httpx.Client, body: dict[str, Any], upload: Upload
) -> None:
    """The camera moves from frame to frame, and the last frame is the end image."""
    white = b"P5 8 16 255 " + b"\xff" * 128
    assets = {"image_file_path": upload(api), "end_image_file_path": upload(api, white, "bmp")}
    video = settled(api, create(api, {**body, "assets": assets}))
    frames = frames_of(http.get(video["downloads"][0]["url"]).content)
    first, middle, last = (frames[at].to_ndarray(format="gray") for at in (0, 30, -1))
    assert (first != middle).mean() > 0.2
    assert last.min() > 240


def test_a_url_renders_too(http: httpx.Client, api: httpx.Client, body: dict[str, Any]) -> None:
    """An image that the sandbox does not fetch gives a drawn picture, still with all its frames."""
    video = settled(api, create(api, body))
    assert len(frames_of(http.get(video["downloads"][0]["url"]).content)) == 60


def test_an_answer_has_every_field(api: httpx.Client, body: dict[str, Any], row: str) -> None:
    """A complete video has every published field, and the deprecated ones that the vendor's client reads."""
    video = settled(api, create(api, body))
    assert video.keys() == FIELDS | {"download", "total_frame_cost"}
    assert (video["name"], video["type"], video["status"]) == (row, "IMAGE_TO_VIDEO", "complete")
    assert (video["credits_charged"], video["error"], video["enabled"]) == (48, None, True)
    assert video["download"] == video["downloads"][0]


def test_a_new_video_is_queued(waiting: RunningSandbox, connect: Connect, body: dict[str, Any]) -> None:
    """A video starts in the queue and has neither download nor size."""
    api = connect(waiting)
    video = look(api, create(api, body))
    assert (video["status"], video["downloads"], video["download"]) == ("queued", [], None)
    assert (video["width"], video["height"], video["credits_charged"]) == (-1, -1, 48)


def test_after_the_queue_a_video_renders(connect: Connect, body: dict[str, Any]) -> None:
    """Between queue and end a video is rendering."""
    with start(queue_seconds=0, render_seconds=60) as sandbox:
        api = connect(sandbox)
        assert look(api, create(api, body))["status"] == "rendering"


def test_an_unknown_video_is_not_found(api: httpx.Client) -> None:
    """An id that was never given answers 404."""
    answer = api.get("/v1/video-projects/cunknown")
    assert (answer.status_code, answer.json()) == (404, {"code": "not_found", "message": "Not Found"})


def test_an_image_that_cannot_be_read_is_refunded(
    sandbox: RunningSandbox, api: httpx.Client, body: dict[str, Any], upload: Upload, row: str
) -> None:
    """A file that is no image ends in invalid_file_format, costs nothing, and the books show the refund."""
    path = upload(api, b"no image at all")
    video = settled(api, create(api, {**body, "assets": {"image_file_path": path}}))
    assert (video["status"], video["credits_charged"]) == ("error", 0)
    assert video["error"]["code"] == "invalid_file_format"
    charge = next(c for c in sandbox.books()["charges"] if c["row"] == row)
    assert (charge["credits"], charge["final"], charge["refunded"]) == (48, 0, 48)


async def test_a_sandbox_that_ends_breaks_off_what_it_draws(tmp_path: Path, body: dict[str, Any]) -> None:
    """Nothing is left that would write into books that are closed; the next start draws the video."""
    config = SandboxConfig(queue_seconds=0, render_seconds=0)
    service = Service(config, tmp_path)
    own = httpx.ASGITransport(app=build_app(service))
    async with httpx.AsyncClient(transport=own, base_url="http://sandbox") as api:
        key = {"Authorization": f"Bearer {config.key}"}
        answered = await api.post("/v1/image-to-video", json={**body, "end_seconds": 10}, headers=key)
    video = service.books.video(answered.json()["id"])
    assert video is not None
    asking = asyncio.create_task(service.studio.advanced(video))
    await asyncio.sleep(0)  # until it waits for the drawing
    await service.studio.close()
    service.books.close()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert len(asyncio.all_tasks()) == 1
    service = Service(config, tmp_path)
    while (video := await service.studio.advanced(video)).status == Status.OPEN:
        pass
    service.books.close()
    assert video.status == Status.COMPLETE


def test_downloads_give_ranges(http: httpx.Client, api: httpx.Client, body: dict[str, Any]) -> None:
    """A download states length and ETag, and gives exactly the range that is asked for."""
    url = settled(api, create(api, body))["downloads"][0]["url"]
    whole = http.get(url)
    tail = http.get(url, headers={"Range": "bytes=100-", "If-Range": whole.headers["ETag"]})
    assert int(whole.headers["Content-Length"]) == len(whole.content)
    assert (tail.status_code, tail.content) == (206, whole.content[100:])
    assert tail.headers["Content-Range"] == f"bytes 100-{len(whole.content) - 1}/{len(whole.content)}"
    assert http.get(url, headers={"Range": "bytes=99999999-"}).status_code == 416


def test_a_download_with_the_key_is_refused(http: httpx.Client, api: httpx.Client, body: dict[str, Any]) -> None:
    """The download URL is the permission; the API key beside it is refused."""
    url = settled(api, create(api, body))["downloads"][0]["url"]
    assert api.get(url).status_code == 400
    assert http.get(url.replace("signature=", "signature=0")).status_code == 403


def test_download_urls_expire(
    http: httpx.Client, fleeting: RunningSandbox, connect: Connect, body: dict[str, Any]
) -> None:
    """A download URL that is past its time answers 403."""
    api = connect(fleeting)
    video = settled(api, create(api, body))
    answer = http.get(video["downloads"][0]["url"])
    assert (answer.status_code, answer.json()) == (403, {"message": "This URL has expired"})


def test_without_rendering_every_download_is_playable(
    http: httpx.Client, connect: Connect, body: dict[str, Any]
) -> None:
    """With render_video off a video still completes, with its cost and a small video to download."""
    with start(queue_seconds=0, render_seconds=0, render_video=False, output_fps=24) as sandbox:
        api = connect(sandbox)
        videos = [settled(api, create(api, body)) for _ in range(3)]
        contents = {http.get(video["downloads"][0]["url"]).content for video in videos}
        books = sandbox.books(summary=True)
    assert len(contents) == 1
    assert frames_of(contents.pop())
    assert [video["credits_charged"] for video in videos] == [39, 39, 39]  # 48 x 24 / 30, rounded up
    assert (books["charged"], books["refunded"], books["net"]) == (144, 27, 117)


def test_a_share_of_renders_fails_and_is_refunded(connect: Connect, body: dict[str, Any]) -> None:
    """Failed renders carry a documented code and are refunded, even if no one asks for them."""
    with start(queue_seconds=0, render_seconds=0, render_error_share=1) as sandbox:
        api = connect(sandbox)
        asked = look(api, create(api, body))
        create(api, body)
        books = sandbox.books()
    assert (asked["status"], asked["credits_charged"], asked["downloads"]) == ("error", 0, [])
    assert asked["error"].keys() == {"code", "message"}
    assert [charge["status"] for charge in books["charges"]] == ["error", "error"]
    assert (books["balance"], books["charged"], books["refunded"]) == (10_000_000, 96, 96)


def test_the_same_seed_fails_the_same_renders(connect: Connect, body: dict[str, Any]) -> None:
    """Which renders fail, and how, depends on the seed alone."""
    endings = []
    for _ in range(2):
        with start(queue_seconds=0, render_seconds=0, render_error_share=0.5, render_video=False) as sandbox:
            api = connect(sandbox)
            found = [settled(api, create(api, body))["error"] for _ in range(12)]
            endings.append(found)
    assert endings[0] == endings[1]
    assert None in endings[0]
    assert any(endings[0])


def test_a_canceled_video_is_refunded(waiting: RunningSandbox, connect: Connect, body: dict[str, Any]) -> None:
    """Canceling an open video refunds it; one that is final can't be canceled."""
    api = connect(waiting)
    video_id, before = create(api, body), waiting.books(summary=True)
    waiting.cancel(video_id)
    video, after = look(api, video_id), waiting.books(summary=True)
    assert (video["status"], video["credits_charged"], video["error"]) == ("canceled", 0, None)
    assert after["balance"] == before["balance"] + 48
    assert api.post(f"/sandbox/videos/{video_id}/cancel").status_code == 422
    assert api.post("/sandbox/videos/cunknown/cancel").status_code == 404


@pytest.mark.parametrize(("kind", "status"), [("get_fail", 500), ("get_rate_limited", 429)])
def test_get_faults(sandbox: RunningSandbox, api: httpx.Client, body: dict[str, Any], kind: str, status: int) -> None:
    """A status call can fail; the video is none the worse."""
    video_id = create(api, body)
    sandbox.set_faults(first={kind: 1})
    assert api.get(f"/v1/video-projects/{video_id}").status_code == status
    assert settled(api, video_id)["status"] == "complete"


def test_get_lost(sandbox: RunningSandbox, api: httpx.Client, body: dict[str, Any], row: str) -> None:
    """A status call can lose its connection, for the videos whose name matches."""
    lost, kept = create(api, body), create(api, {**body, "name": "another"})
    sandbox.set_faults(match=[{"text": row, "kind": "get_lost"}])
    with pytest.raises(httpx.RemoteProtocolError):
        look(api, lost)
    assert look(api, kept)["id"] == kept


@pytest.mark.parametrize("fault", [("download_fail", 500), ("download_expired", 403)])
def test_download_faults(
    http: httpx.Client, sandbox: RunningSandbox, api: httpx.Client, body: dict[str, Any], fault: tuple[str, int]
) -> None:
    """A download can fail or find its URL expired; the next one goes through."""
    kind, status = fault
    url = settled(api, create(api, body))["downloads"][0]["url"]
    sandbox.set_faults(first={kind: 1})
    assert [http.get(url).status_code for _ in range(2)] == [status, 200]


def test_download_truncated(
    http: httpx.Client, sandbox: RunningSandbox, api: httpx.Client, body: dict[str, Any]
) -> None:
    """A download can break off in the middle; the client sees that bytes are missing."""
    url = settled(api, create(api, body))["downloads"][0]["url"]
    sandbox.set_faults(first={"download_truncated": 1})
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete"):
        http.get(url)
