"""What a run's page in Prefect's UI is made of."""

from __future__ import annotations

import re

import pytest

from reelbatch.domain import Batch
from reelbatch.pipeline.run_page import artifact_key, failed_table, videos_table


@pytest.mark.parametrize("name", ["spring", "spring-2026", "Spring", "spring 2026", "väska", "a/b", "_", "日本"])
def test_each_batch_has_a_key_that_prefect_takes(name: str) -> None:
    """Small letters, digits and dashes, whatever the batch is called."""
    assert re.fullmatch(r"reelbatch-summary(-[a-z0-9]+)+", artifact_key("summary", Batch(name)))


def test_batches_that_look_alike_have_keys_of_their_own() -> None:
    """Else one would be shown as the newer version of the other."""
    names = ("a-b", "A-b", "a b", "a_b", "a-b-")
    assert len({artifact_key("summary", Batch(name)) for name in names}) == len(names)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://x.example/a.png", "[https://x.example/a.png](https://x.example/a.png)"),
        ("images/a.png", "images/a.png"),
        ("javascript:alert(1)", r"javascript:alert(1)"),
        ("https://x.example/a b).png", r"[https://x.example/a b).png](https://x.example/a%20b%29.png)"),
        ("https://x.example/a.png?…", r"https://x.example/a.png?…"),  # what was a secret is gone: it leads nowhere
    ],
)
def test_only_an_address_on_the_web_is_a_link(address: str, shown: str) -> None:
    """And nothing that it holds ends the link or begins another one."""
    row = dict.fromkeys(("row_key", "error_message", "error_code", "prompt", "video_id", "video_path", "token"))
    (made,) = failed_table([{**row, "state": "rejected", "image_path": address, "row_number": 1}])
    assert made["image"].replace("\\", "") == shown


FINISHED = {"row_key": "A", "image_path": "a.png", "prompt": "p" * 200, "video_id": "v1", "row_number": 1}


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        (None, "v1"),
        ("videos/A.mp4", "videos/A.mp4"),
        ("https://x.example/A.mp4", "[https://x.example/A.mp4](https://x.example/A.mp4)"),
    ],
)
def test_a_finished_row_shows_where_its_video_is(path: str | None, shown: str) -> None:
    """A link where a browser can follow it; the id as long as there is no file. A long prompt leaves room for it."""
    (made,) = videos_table([{**FINISHED, "video_path": path, "credits_final": 1440}])
    assert (made["video"].replace("\\", ""), made["credits"], len(made["prompt"])) == (shown, "1,440", 80)
