"""The API's JSON as our types, also where it is not quite what was expected."""

from __future__ import annotations

from typing import Any

import pytest

from reelbatch.client.payloads import create_body, lenient_object, upload_slot, video
from reelbatch.domain import Request


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (None, (None, None)),
        ({"code": "no_source_face", "message": "No face"}, ("no_source_face", "No face")),
        ({"code": 7}, ("7", None)),
        ("it failed", (None, "it failed")),
        ({}, (None, None)),
    ],
)
def test_an_odd_error_does_not_hide_that_a_video_has_ended(
    error: Any, expected: tuple[str | None, str | None]
) -> None:
    """Its state and its refund count, whatever form the explanation has."""
    ended = video({"id": "v1", "status": "error", "credits_charged": 0, "error": error})
    assert (ended.status, ended.credits_charged, ended.error_code, ended.error_message) == ("error", 0, *expected)


@pytest.mark.parametrize("downloads", [None, [], "none", [{}], [None], [{"url": None}]])
def test_a_video_without_a_usable_address_is_still_complete(downloads: Any) -> None:
    """Another look gives a fresh address."""
    assert video({"id": "v1", "status": "complete", "downloads": downloads}).downloads == ()


def test_sizes_that_can_be_ignored_are_null() -> None:
    """The API says -1 where there is no figure."""
    done = video({"id": "v1", "status": "complete", "width": -1, "height": 720, "fps": 30})
    assert (done.width, done.height, done.fps) == (None, 720, 30.0)


@pytest.mark.parametrize(
    "figure", ["NaN", "-Infinity", "-1", "0", "1" + "0" * 400, "9" * 5000, '"wide"', "[]", "false"]
)
def test_a_figure_that_cannot_be_read_is_left_out(figure: str) -> None:
    """The rest of the answer counts."""
    body = '{"id": "v1", "status": "complete", "credits_charged": 192, "fps": FIGURE, "width": FIGURE, "height": 480}'
    done = video(lenient_object(body.replace("FIGURE", figure).encode()))
    assert (done.status, done.credits_charged, done.height) == ("complete", 192, 480)
    assert (done.fps, done.width) == (None, None)


@pytest.mark.parametrize("status", ["complete", "Complete", " COMPLETE "])
def test_a_state_is_known_however_it_is_written(status: str) -> None:
    """Capitals and blanks make no other word."""
    assert video({"id": "v1", "status": status}).status == "complete"


@pytest.mark.parametrize("status", [None, 5, "", " ", {}, True])
def test_an_answer_without_a_state_is_none(status: Any) -> None:
    """Nothing is made up in its place."""
    with pytest.raises(KeyError):
        video({"id": "v1", "status": status})


def test_what_is_not_set_is_left_out_of_a_create() -> None:
    """Never sent as null; false and zero are values."""
    body = create_body(Request("a.png", None, 5.0, audio=False), "api-assets/a.png", None, None)
    assert body == {"assets": {"image_file_path": "api-assets/a.png"}, "end_seconds": 5.0, "audio": False}


@pytest.mark.parametrize("odd", ["", " ", None, 5, "a\n", "\ud83d"])
@pytest.mark.parametrize("member", ["upload_url", "file_path"])
def test_an_upload_without_a_usable_address_or_path_is_none(member: str, odd: Any) -> None:
    """No image goes there, and no create is sent with it; half a surrogate pair ended the run."""
    item = {"upload_url": "https://storage.example/1", "file_path": "api-assets/1.png"}
    assert upload_slot(item).file_path == "api-assets/1.png"
    with pytest.raises(KeyError):
        upload_slot({**item, member: odd})
