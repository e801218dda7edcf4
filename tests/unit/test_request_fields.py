"""The table of a request's fields, and what is made of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from reelbatch.client import create_body
from reelbatch.domain import REQUEST_FIELDS, Request
from reelbatch.ledger.columns import COLUMNS, REQUEST_COLUMNS
from reelbatch.manifest.options import COLUMNS as MANIFEST_COLUMNS
from reelbatch.manifest.parsing import PARSERS
from reelbatch.row_batch import FIELDS

PAGE = Path(__file__).parents[2] / "docs" / "manifest.md"
FULL = Request("images/a.jpg", "Pän \u2028", 5, "720p", "ltx-2.3", True, "Nr 7", "b.png", 1280, 720)


@pytest.mark.parametrize(
    ("request_", "fingerprint", "content"),
    [
        (
            Request("a.jpg", "Pan", 5),
            "23c27c388fe125195bc40b26631e477ca9beed2bda4cd89da650b893a0443c50",
            "31b8061fd5d7390e9dd89935aff2d9fa4daf9be2456c3360761ce806a664b5e5",
        ),
        (
            Request("https://img.example/a.png", None, 2.5, audio=False),
            "199fdedc6149db0f00fb97498b7959fa0d98c1e62b40798b920715b2cc4c20d4",
            "0140b5afea411975394a65afade1859bbe6ec0a3bfbe2c5b40a892d671fbf97e",
        ),
        (
            FULL,
            "5bb8fd223a1714911e76c9b4629fbd08b11c8d27287df65e905131cf25ceea80",
            "86580294448b5d7bf831ea4dffabe75d667de2f27d5aadb5a01d536d09c1c4f9",
        ),
    ],
)
def test_hashes_of_requests_never_change(request_: Request, fingerprint: str, content: str) -> None:
    """Tables keep them: another hash for the same request would send a paid row again."""
    assert request_.fingerprint() == fingerprint
    assert request_.content_sha256(["first", "last"]) == content


def test_every_field_stands_where_the_api_takes_it() -> None:
    """The body of a create call has each field that is set, and no other."""
    assert create_body(FULL, "api-assets/a.jpg", "api-assets/b.png", "Nr 7 rb_1") == {
        "assets": {"image_file_path": "api-assets/a.jpg", "end_image_file_path": "api-assets/b.png"},
        "end_seconds": 5,
        "style": {"prompt": "Pän \u2028"},
        "name": "Nr 7 rb_1",
        "resolution": "720p",
        "model": "ltx-2.3",
        "audio": True,
        "height": 720,
        "width": 1280,
    }


def test_what_is_not_set_is_not_sent() -> None:
    """A field that the manifest leaves out is the API's default, never null."""
    body = create_body(Request("a.jpg", None, 5), "api-assets/a.jpg", None, None)
    assert body == {"assets": {"image_file_path": "api-assets/a.jpg"}, "end_seconds": 5}


def test_every_field_has_its_columns() -> None:
    """The manifest, the rows in memory and the results table know each field of a request, in one order."""
    names = [field.name for field in REQUEST_FIELDS]
    assert names == list(Request._fields)
    assert list(MANIFEST_COLUMNS) == ["row_key", *names]
    assert list(FIELDS)[2 : 2 + len(names)] == names
    assert set(REQUEST_COLUMNS) <= {column.name for column in COLUMNS}
    assert not set(names) - {"width", "height"} - set(REQUEST_COLUMNS)


def test_every_field_is_text_or_can_be_parsed() -> None:
    """No cell of the manifest is passed on unread."""
    assert {field.kind for field in REQUEST_FIELDS if not field.is_text} == set(PARSERS)


def test_every_field_is_documented() -> None:
    """docs/manifest.md says of each column what it is for."""
    documented = set(
        re.findall(r"`(\w+)`", "".join(re.findall(r"^\|([^|]*)\|", PAGE.read_text("utf-8"), re.MULTILINE)))
    )
    assert {field.name for field in REQUEST_FIELDS} <= documented


def test_only_what_changes_the_video_tells_paid_requests_apart() -> None:
    """A new name does not make a paid request a new one; another length does."""
    images = ["sha"]
    same: list[dict[str, Any]] = [{"name": "x"}, {"width": 1}, {"height": 1}, {"image_path": "moved/a.jpg"}]
    other: list[dict[str, Any]] = [{"prompt": "x"}, {"end_seconds": 6}, {"model": "x"}, {"audio": False}]
    known = FULL.content_sha256(images)
    assert all(FULL._replace(**change).content_sha256(images) == known for change in same)
    assert all(FULL._replace(**change).content_sha256(images) != known for change in other)
