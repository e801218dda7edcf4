"""What a storage's driver logs, with a real server behind it."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest
from cloud_shop import Bucket
from cloud_storage import Gate

from reelbatch.storage import files


def test_no_log_of_a_storage_shows_what_opens_it(
    bucket: Bucket, gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """At DEBUG botocore logs what it signs, with the session's token, and the signature."""
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token-marked-4711")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-marked-4711")
    caplog.set_level(logging.DEBUG)
    (tmp_path / "a.csv").write_text("image_path\n", encoding="utf-8")
    files.put(tmp_path / "a.csv", f"s3://{bucket.name}/a.csv")
    with files.open_remote(f"s3://{bucket.name}/a.csv") as file:
        assert file.read() == b"image_path\n"
    loggers = {record.name.partition(".")[0] for record in caplog.records}
    assert "botocore" in loggers
    assert "marked-4711" not in caplog.text
    assert not re.search(r"\b[0-9a-f]{64}\b", "\n".join(re.findall(r"(?i)signature.{0,200}", caplog.text)))
