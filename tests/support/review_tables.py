"""Results tables with rows in every state, pictures and videos that play, for tests of what people look at."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pictures import landscape
from sqlalchemy import insert, select, update

from reelbatch.domain import SUMS, Batch, RowKey
from reelbatch.ledger import Ledger, queries
from reelbatch.ledger.schema import attempts, batches, generations, runs, verdicts
from reelbatch.sandbox.renderer import render
from reelbatch.sandbox.shots import Shot

SPRING = Batch("spring")
NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
HOSTILE = '"><img src=x onerror=alert(1)></script><script>alert(2)</script>\u202e{{7*7}}'


@dataclass(frozen=True)
class Shown:
    """A table, its batch `spring`, and the folder with images and videos."""

    ledger: Ledger
    folder: Path

    def add(self, key: str, **stated: Any) -> dict[str, Any]:
        """One row: complete, with an image, a video and a request of 48 credits, unless something else is stated."""
        return self.add_all([{"row_key": key, **stated}])[0]

    def add_all(self, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The same of many."""

        def work(connection: Any) -> list[dict[str, Any]]:
            known = connection.execute(select(generations.c.row_number)).all()
            lines = [self._line(number, row) for number, row in enumerate(rows, start=len(known) + 1)]
            connection.execute(insert(generations), lines)
            if asked := [_request(line) for line in lines if line["token"]]:
                connection.execute(insert(attempts), asked)
                sums = asdict(queries.added_up(connection, SPRING))
                connection.execute(update(batches).values({name: sums[name] for name in (*SUMS, "worst_case")}))
            return lines

        return self.ledger.change(work)

    def _line(self, number: int, stated: dict[str, Any]) -> dict[str, Any]:
        key, generation = stated["row_key"], stated.get("generation", 1)
        complete = stated.get("state", "complete") == "complete"
        line = {column.name: None for column in generations.columns} | {
            "batch": SPRING,
            "row_number": number,
            "image_path": "picture.png",
            "image_base": str(self.folder),
            "prompt": f"Slow pan over {key}",
            "model": "ltx-2.3",
            "resolution": "720p",
            "end_seconds": 2.0,
            "state": "complete",
            "generation": generation,
            "attempts": 1,
            "fingerprint": f"f{number}",
            "in_manifest": True,
            "rerun_wanted": False,
            "credits_estimated": 48,
        }
        if complete:
            line |= {"video_id": f"vid-{number}-{generation}", "token": f"rb_{number}_{generation}"}
            line |= {"credits_charged": 48, "credits_final": 48, "fps": 24.0, "width": 320, "height": 180}
            line |= {"submitted_at": NOON + timedelta(seconds=number), "settled_at": NOON + timedelta(seconds=number)}
            line |= {"video_path": str(self.folder / "videos" / "video.mp4")}
        return line | stated

    def change(self, key: str, **values: Any) -> None:
        """What a run would write in a row."""
        own = update(generations).where(generations.c.row_key == key)
        self.ledger.change(lambda connection: connection.execute(own.values(values)))

    def read(self, key: str, generation: int = 1) -> dict[str, Any]:
        """A row as the table has it."""
        query = select(generations).where(generations.c.row_key == key, generations.c.generation == generation)
        return dict(self.ledger.read(lambda connection: connection.execute(query).mappings().one()))

    def verdict(self, key: str, generation: int = 1) -> tuple[str | None, str | None]:
        """Verdict and note of a video."""
        row = self.read(key, generation)
        return row["verdict"], row["verdict_note"]

    def said(self) -> list[tuple[str, str | None, bool]]:
        """Everything that reviewers said: key, verdict, and whether it takes something back."""
        query = select(verdicts).order_by(verdicts.c.verdict_id)
        found = self.ledger.read(lambda connection: connection.execute(query).mappings().all())
        return [(line["row_key"], line["verdict"], line["undoes"] is not None) for line in found]

    def start_run(self) -> None:
        """A run that goes on."""
        values = {"run_id": "run-1", "batch": SPRING, "command": "generate", "host": "elsewhere", "pid": 1}
        times = {"pid_started": 0.0, "user_name": "ann", "started_at": NOON, "heartbeat_at": datetime.now(UTC)}
        self.ledger.change(lambda connection: connection.execute(insert(runs).values({**values, **times})))


def _request(line: dict[str, Any]) -> dict[str, Any]:
    """The request that a row's video came of."""
    named = {name: line[name] for name in ("token", "batch", "row_key", "generation", "video_id")}
    money = {name: line[name] for name in ("credits_charged", "credits_final")}
    at = NOON + timedelta(seconds=line["row_number"])
    answered = {"started_at": at, "ended_at": at, "outcome": "submitted", "http_status": 200, "run_id": "run-1"}
    return {**named, **money, **answered, "credits_reserved": line["credits_estimated"] or 0}


def shown_table(ledger: Ledger, folder: Path) -> Shown:
    """An empty batch in `ledger`, with a picture and a video of two seconds in `folder`."""
    (folder / "videos").mkdir(parents=True)
    landscape(folder / "picture.png")
    (folder / "videos" / "video.mp4").write_bytes(_video())
    values = {"batch": SPRING, "api": "https://api.example", "base": str(folder), "created_at": NOON}
    ledger.change(lambda connection: connection.execute(insert(batches).values(values)))
    return Shown(ledger, folder)


@cache
def _video() -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        render(Shot(None, "spring", frames=48, fps=24.0), path)
        return path.read_bytes()


def every_kind(table: Shown) -> None:
    """A batch as a reviewer meets one: good and bad rows, one made again, one with its image on the web, one held."""
    table.add("TEA-001", prompt="Slow orbit around the teapot")
    table.add("MUG-002", model="wan-2.2", credits_charged=96, credits_final=96, credits_estimated=96)
    table.add("WEB-003", image_path="http://127.0.0.1:9/mug.png", video_path=None)
    table.add("BAD-004", state="error", error_code="render_failed", error_message="The render failed", video_id="v4")
    table.add("REJ-005", state="rejected", error_code="http_422", error_message="prompt: too long")
    table.add("DBT-006", state="in_doubt", error_code="timeout", error_message="No answer within 60 s")
    table.add("HLD-007", state="pending", paid_as=json.dumps([SPRING, "TEA-001"]), attempts=0)
    table.add("RUN-008", state="rendering", video_id="v8", attempts=2)
    table.add(RowKey(HOSTILE), prompt=HOSTILE, name=HOSTILE)
    table.add("TWO-010", row_number=10)
    table.add("TWO-010", row_number=10, generation=2, prompt="Faster", model="kling-3.0")
