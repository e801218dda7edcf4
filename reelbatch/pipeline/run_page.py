"""What a run leaves in Prefect's UI: a page of Markdown, and tables of failed rows."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from reelbatch.domain import Batch
from reelbatch.errors import ReelbatchError
from reelbatch.ledger.changes import Changes, changes_since_last_run
from reelbatch.pipeline.dollars import dollars_per_credit
from reelbatch.pipeline.export import export_target
from reelbatch.pipeline.headline import headline
from reelbatch.pipeline.hints import prefect_hints
from reelbatch.pipeline.run_summary import RunReport
from reelbatch.pipeline.settle_report import SettleReport
from reelbatch.printable import markdown
from reelbatch.storage.files import redact_url, scheme_of

if TYPE_CHECKING:
    from reelbatch.pipeline.run_context import RunContext

_WEB = ("http://", "https://")
_CELL = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a page shows beside the report. `dollars`: of one credit, where that is stated."""

    dollars: float | None = None
    changes: Changes = field(default_factory=Changes)
    export: str | None = None
    downloads: str | None = None
    report: str | None = None
    results: str | None = None  # of the table, without a password


def surroundings(context: RunContext) -> Surroundings:
    """Of a run at its end; without what can't be read."""
    settings = context.settings
    try:
        changes = context.ledger.read(
            partial(changes_since_last_run, batch=context.batch, run_id=context.scope.run_id)
        )
        export = export_target(context)
    except ReelbatchError:
        return Surroundings(dollars=dollars_per_credit(settings))
    return Surroundings(
        dollars=dollars_per_credit(settings),
        changes=changes,
        export=export,
        downloads=settings.downloads,
        report=_report_beside(export, context),
        results=context.ledger.shown_url,
    )


def _report_beside(export: str, context: RunContext) -> str:
    """The review page as a file, where one lies beside the export; else the command that writes it there."""
    path = Path(f"{context.batch}.html" if scheme_of(export) is not None else export).with_suffix(".html")
    words = ("report", str(path), "--results", context.ledger.shown_url, "--batch", context.batch)
    command = shlex.join(["reelbatch", *words])
    try:
        written = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError:
        return f"none is beside the table yet; on the worker's machine: {command}"
    return f"{path} of {written:%Y-%m-%d %H:%M} UTC; anew, on the worker's machine: {command}"


def artifact_key(kind: str, batch: Batch | None) -> str:
    """The key under which the UI keeps the newest of a kind for each batch: small letters, digits and dashes."""
    if batch is None:
        return f"reelbatch-{kind}"
    plain = re.sub("[^a-z0-9]+", "-", batch.lower()).strip("-")
    mark = "" if plain == batch else hashlib.sha256(batch.encode()).hexdigest()[:6]
    return "-".join(filter(None, ("reelbatch", kind, plain, mark)))


def run_page(report: RunReport, around: Surroundings) -> str:
    """Of a run that sent rows."""
    status = report.status
    sent = f"{report.submitted:,} of {report.sent:,} rows sent got their id"
    charged = _money(report.credits_charged, around.dollars)
    parts = [
        f"# {markdown(headline(report))}",
        f"Run `{report.run_id}` of batch {markdown(report.batch)}: {sent}. Charged in this run: {charged}.",
        *_since_last_run(around.changes),
        _table(("state", "rows"), ((state.value, f"{rows:,}") for state, rows in status.states.items())),
        _table(
            ("credits of the batch", ""),
            (
                (name.replace("_", " "), _money(value, around.dollars))
                for name, value in asdict(status.credits).items()
                if name != "unknown"
            ),
        ),
        *([f"Requests of unknown rate: {status.credits.unknown:,}."] if status.credits.unknown else []),
        *_places(around),
        *(f"- {markdown(line)}" for line in prefect_hints(report, around.results)),
    ]
    return "\n\n".join(parts)


def settle_page(report: SettleReport) -> str:
    """Of a settle by itself."""
    stats = [
        (name.replace("_", " "), f"{value:,}")
        for name, value in asdict(report.stats).items()
        if value and _is_count(value)
    ]
    failed = failed_table(report.failed)
    shown = f"{len(failed):,} of {report.failed_rows:,} failed rows shown" if failed else ""
    table = _table(tuple(failed[0]), (row.values() for row in failed)) if failed else ""
    return "\n\n".join(filter(None, (f"# {markdown(report.message)}", _table(("settled", ""), stats), shown, table)))


def failed_table(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Failed rows as the UI shows them, which takes each cell for Markdown and never breaks a line."""
    return [
        {
            "key": _cell(row["row_key"]),
            "state": row["state"],
            "reason": _cell(_short(row["error_message"] or row["error_code"])),
            "image": _link(row["image_path"]),
            "video": _video(row),
            "prompt": _cell(_short(row["prompt"])),
            "row": str(row["row_number"]),
            "token": _cell(row["token"]),
        }
        for row in rows
    ]


def videos_table(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Rows whose videos are finished, likewise."""
    return [
        {
            "key": _cell(row["row_key"]),
            "video": _video(row),
            "image": _link(redact_url(row["image_path"])),
            "credits": "" if row["credits_final"] is None else f"{row['credits_final']:,}",
            "prompt": _cell(_short(row["prompt"])),
            "row": str(row["row_number"]),
        }
        for row in rows
    ]


def _video(row: Mapping[str, Any]) -> str:
    """Where the video is; its id as long as it was not downloaded."""
    return _link(redact_url(row["video_path"])) if row["video_path"] else _cell(row["video_id"])


def _short(text: str | None) -> str | None:
    """What fits beside the other columns; the whole is in the export."""
    return text if text is None or len(text) <= _CELL else f"{text[: _CELL - 1]}…"


def _since_last_run(changes: Changes) -> list[str]:
    if changes.since is None:
        return ["This is the batch's first run."]
    counts = [f"{rows:,} {state.value}" for state, rows in changes.settled.items()]
    if changes.submitted:
        counts.insert(0, f"{changes.submitted:,} sent")
    return [f"Since the last run ({changes.since:%Y-%m-%d %H:%M} UTC): {', '.join(counts) or 'nothing changed'}."]


def _places(around: Surroundings) -> list[str]:
    lines = []
    if around.export:
        lines.append(f"- Table: {_link(redact_url(around.export))}")
    if around.downloads:
        lines.append(f"- Videos: {_link(redact_url(around.downloads))}")
    if around.report:
        lines.append(f"- Report: {_cell(around.report)}")
    return lines


def _money(credits_: int, dollars: float | None) -> str:
    return f"{credits_:,} credits" + ("" if dollars is None else f" (${credits_ * dollars:,.2f})")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _cell(value: object) -> str:
    return "" if value is None else markdown(str(value))


def _link(address: str) -> str:
    """A link where the address is one that a browser opens; what it may hold can't end the link."""
    if not address.startswith(_WEB) or address.endswith("…"):
        return _cell(address)
    return f"[{_cell(address)}]({quote(address, safe=':/?=&%~@+,;-._')})"


def _table(head: tuple[str, ...], rows: Iterable[Iterable[str]]) -> str:
    lines = [_line(head), _line(["---", *["---:"] * (len(head) - 1)]), *map(_line, rows)]
    return "\n".join(lines)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
