"""Where runs take place: a folder, a results table and an account, put back to how they were before each run."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psycopg
from PIL import Image

from proof.api import Api
from proof.scenarios import MANIFEST, Scenario

CONFIG = """base_url: {url}
results: {results}
concurrency: 1
poll_concurrency: 1
poll_interval_s: 0.01
retry_wait_s: 0.01
retry_max_wait_s: 0.02
bad_gateway_wait_s: 0.01
doubt_min_age_s: 0
doubt_probe_wait_s: 0.01
"""


def scratch() -> Path:
    """A folder in memory where there is one: what is proven is the order of writes, not the disk."""
    memory = Path("/dev/shm")  # noqa: S108 - a fresh folder within
    return Path(tempfile.mkdtemp(prefix="reelbatch-proof-", dir=memory if os.access(memory, os.W_OK) else None))


@dataclass(frozen=True, slots=True)
class Place:
    """One after the other, all runs of one worker take place here.

    Args:
        root: the worker's folder.
        api: its API.
        server: URI of a Postgres server; None: SQLite.
    """

    root: Path
    api: Api
    server: str | None = None

    @property
    def folder(self) -> Path:
        """Where commands are typed."""
        return self.root / "run"

    @property
    def url(self) -> str:
        """Of the results table."""
        if self.server is None:
            return f"sqlite:///{self.folder}/results/reelbatch.db"
        query = self.server.partition("?")[2]
        return f"postgresql+psycopg://postgres@/{self._database('run')}?{query}"

    def begin(self, scenario: Scenario) -> None:
        """An empty place with the manifest."""
        self.api.close_books()
        shutil.rmtree(self.folder, ignore_errors=True)
        for name in ("said", "tmp", "api", "results"):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "manifest.csv").write_text(MANIFEST, encoding="utf-8")
        (self.folder / "config.yaml").write_text(CONFIG.format(url=self.api.url, results=self.url), encoding="utf-8")
        Image.linear_gradient("L").resize((320, 180)).convert("RGB").save(self.folder / "up.png")
        self._make_database("run", "template0")
        self.api.open_books(self.folder / "api", scenario.faults[0])

    def keep(self, scenario: Scenario) -> None:
        """What was typed so far has happened before each run of `scenario`."""
        self.api.close_books()
        shutil.rmtree(self._kept(scenario), ignore_errors=True)
        shutil.copytree(self.folder, self._kept(scenario), symlinks=True)
        self._make_database(scenario.name, self._database("run"))

    def reset(self, scenario: Scenario) -> None:
        """Back to what was kept."""
        self.api.close_books()
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self._kept(scenario), self.folder, symlinks=True)
        self._make_database("run", self._database(scenario.name))
        self.api.open_books(self.folder / "api", scenario.faults[1])

    def _kept(self, scenario: Scenario) -> Path:
        return self.root / f"kept-{scenario.name}"

    def _database(self, name: str) -> str:
        return f"{self.root.name}_{name}"

    def _make_database(self, name: str, template: str) -> None:
        if self.server is None:
            return
        with psycopg.connect(self.server, autocommit=True) as connection:
            made = self._database(name)
            connection.execute(f"DROP DATABASE IF EXISTS {made} WITH (FORCE)")
            connection.execute(f"CREATE DATABASE {made} TEMPLATE {template} STRATEGY file_copy")
