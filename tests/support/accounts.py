"""An account with some batches: what runs, refunds, doubts and others of the same account do to its balance."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
from commands import Ran, run_here

import reelbatch
from reelbatch.pipeline.run_summary import RunReport
from reelbatch.sandbox import RunningSandbox

PRICE = 48  # 2 seconds of ltx-2.3 at 480p
QUICK = {"retry_wait_s": 0.01, "retry_max_wait_s": 0.05, "poll_interval_s": 0.05, "concurrency": 4}


@dataclass(frozen=True)
class Customer:
    """A folder with a results table, and the API that its batches are paid at."""

    folder: Path
    api: RunningSandbox

    @property
    def results(self) -> str:
        """The table's URL."""
        return f"sqlite:///{self.folder}/r.db"

    def manifest(self, batch: str, *prompts: str, model: str = "ltx-2.3", **columns: Any) -> Path:
        """A row for each prompt; keys begin with the batch's name."""
        path = self.folder / f"{batch}.csv"
        keys = [f"{batch}-{number}" for number in range(1, len(prompts) + 1)]
        images = [f"https://img.example/{key}.png" for key in keys]
        rows = {"row_key": keys, "image_path": images, "prompt": prompts, "end_seconds": 2, "model": model}
        pd.DataFrame({**rows, "resolution": "480p", **columns}).to_csv(path, index=False)
        return path

    def generate(self, manifest: Path, **settings: Any) -> RunReport:
        """A run, as from a script."""
        where = {"results": self.results, "base_url": self.api.url, "api_key": self.api.key}
        return reelbatch.generate(manifest, **{**where, **QUICK, **settings})

    def together(self, manifest: Path, **settings: Any) -> list[RunReport]:
        """Two workers on one manifest."""
        with ThreadPoolExecutor(2) as threads:
            runs = [threads.submit(self.generate, manifest, **settings) for _ in range(2)]
            return [run.result() for run in runs]

    def run(self, *arguments: str | Path, **env: str) -> Ran:
        """A command on this table."""
        known = {"MAGIC_HOUR_API_KEY": self.api.key, "REELBATCH_BASE_URL": self.api.url}
        return run_here(self.folder, *arguments, "--results", self.results, **{**known, **env})

    def asked(self, *arguments: str | Path, **env: str) -> dict[str, Any]:
        """The same with `--json`."""
        ran = self.run(*arguments, "--json", **env)
        found: dict[str, Any] = json.loads(ran.out)
        return found

    def tokens(self) -> dict[str, str]:
        """Token of each row in doubt, by its key."""
        return {doubt["row_key"]: doubt["token"] for doubt in self.asked("reconcile")["in_doubt"]}

    def charges(self) -> list[dict[str, Any]]:
        """All that the API charged, for every caller."""
        found: list[dict[str, Any]] = self.api.books()["charges"]
        return found

    def video_of(self, token: str) -> str | None:
        """The id that a person finds in the vendor's library under this token."""
        return next((charge["video_id"] for charge in self.charges() if charge["token"] == token), None)

    def spend_elsewhere(self, seconds: int = 2) -> None:
        """Someone else with the same key makes a video."""
        assets = {"image_file_path": "https://img.example/else.png"}
        body = {"assets": assets, "end_seconds": seconds, "model": "ltx-2.3", "resolution": "480p"}
        key = {"Authorization": f"Bearer {self.api.key}"}
        with httpx.Client(base_url=self.api.url, headers=key, trust_env=False) as client:
            client.post("/v1/image-to-video", json=body).raise_for_status()
