"""A bucket to look into, a table to run into, and what both are filled with."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

import reelbatch
from reelbatch.domain import Batch
from reelbatch.ledger import Ledger, queries
from reelbatch.pipeline.run_summary import RunReport
from reelbatch.sandbox import RunningSandbox

HEADER = "row_key,image_path,prompt,end_seconds,model,resolution"
QUICK = {"retry_wait_s": 0.01, "retry_max_wait_s": 0.02, "poll_interval_s": 0.05, "retry_attempts": 2}


class Bucket:
    """A bucket, looked into past the program under test."""

    def __init__(self, files: Any, name: str) -> None:
        self._files, self.name = files, name
        self.url = f"s3://{name}"

    def write(self, key: str, content: bytes | str) -> str:
        """Put an object; gives its address."""
        self._files.pipe_file(f"{self.name}/{key}", content.encode() if isinstance(content, str) else content)
        return f"{self.url}/{key}"

    def read(self, key: str) -> bytes:
        """An object's bytes."""
        content: bytes = self._files.cat_file(f"{self.name}/{key}")
        return content

    def objects(self) -> set[str]:
        """All objects of the bucket."""
        self._files.invalidate_cache()
        return {path.removeprefix(f"{self.name}/") for path in self._files.find(self.name)}

    def all_buckets(self) -> set[str]:
        """Every bucket of the account."""
        self._files.invalidate_cache()
        return set(self._files.ls("", refresh=True))

    def remove(self, key: str) -> None:
        """Delete an object."""
        self._files.rm_file(f"{self.name}/{key}")

    def presigned(self, key: str) -> str:
        """A web address with a signature in it."""
        url: str = self._files.sign(f"{self.name}/{key}")
        return url


def image(shade: int = 0) -> bytes:
    """An image file; the same shade gives the same bytes."""
    file = io.BytesIO()
    Image.new("RGB", (64, 48), (shade, 90, 10)).save(file, "png")
    return file.getvalue()


def lines(images: Mapping[str, str] | list[str]) -> str:
    """A manifest of one row for each image."""
    stated = images if isinstance(images, Mapping) else {f"r{n}": path for n, path in enumerate(images, 1)}
    rows = [f"{key},{path},Slow pan,2,ltx-2.3,480p" for key, path in stated.items()]
    return "\n".join([HEADER, *rows]) + "\n"


@dataclass
class Shop:
    """A results table and the sandbox."""

    folder: Path
    sandbox: RunningSandbox

    @property
    def results(self) -> str:
        """The table's URL."""
        return f"sqlite:///{self.folder / 'results.db'}"

    def generate(self, manifest: str, **settings: Any) -> RunReport:
        """One run, as from a script."""
        where = {"results": self.results, "base_url": self.sandbox.url, "api_key": self.sandbox.key}
        return reelbatch.generate(manifest, **{**where, **QUICK, **settings})

    def rows(self, batch: str) -> list[dict[str, Any]]:
        """The batch's results, in the manifest's order."""
        with Ledger(self.results) as ledger:
            return ledger.read(
                lambda connection: [dict(row) for row in connection.execute(queries.rows(Batch(batch))).mappings()]
            )

    def uploads(self) -> int:
        """Files that the sandbox was sent so far."""
        count: int = self.sandbox.books(summary=True)["requests"]["put"]
        return count
