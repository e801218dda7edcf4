"""For scripts and notebooks: the commands of the command line as calls, synchronous, and without Prefect.

A table that fails while it is in use (disk full, connection lost) is a LedgerError, from each call that has a table.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, overload

from reelbatch.client import Created
from reelbatch.errors import SettingsError
from reelbatch.ledger import Ledger
from reelbatch.ledger.csv_stream import Wanted
from reelbatch.ledger.selection import Regenerate
from reelbatch.pipeline import python_runs
from reelbatch.pipeline.decide import Decisions, decide, refuse_contradictions
from reelbatch.pipeline.export import Exported
from reelbatch.pipeline.export import export as write_table
from reelbatch.pipeline.generate import RunSteps
from reelbatch.pipeline.notebook import run
from reelbatch.pipeline.plan import GenerateOptions, Plan, Source
from reelbatch.pipeline.plan import plan as make_plan
from reelbatch.pipeline.python_words import in_errors, listed
from reelbatch.pipeline.reports import ReconcileReport, SettleReport, TableStatus
from reelbatch.pipeline.rerun import RerunOptions, RerunPlan, preview, selection
from reelbatch.pipeline.resources import (
    as_sandboxed,
    batches_named,
    log_config,
    looked_at,
    open_client,
    opened_ledger,
    sandboxed,
    states_named,
    the_batch,
    with_key,
)
from reelbatch.pipeline.row_options import checked_limit, send_options
from reelbatch.pipeline.run_summary import RunReport
from reelbatch.pipeline.settle import open_settler
from reelbatch.pipeline.status import batch_status, statuses_at_a_glance
from reelbatch.settings import Settings, load_settings

_log = logging.getLogger("reelbatch")


@in_errors()
def create(
    *,
    image_path: str | Path,
    end_seconds: float,
    api_key: str | None = None,
    base_url: str | None = None,
    **options: Any,
) -> Created:
    """Create one video and return the API's whole answer. It is charged once, and never sent twice.

    Args:
        image_path: a local file (uploaded first), an `api-assets/…` or `saved-items/…` path, or a URL.
        end_seconds: length of the video in seconds, 1 to 60.
        api_key: default: the environment variable MAGIC_HOUR_API_KEY.
        base_url: default: the live API.
        options: `prompt`, `end_image_path`, `name`, `resolution`, `model`, `audio`, `width`, `height`.

    Raises:
        CreateError: refused, or in doubt: `error.outcome` says which.
        UploadError: no such image, or it could not be uploaded, also where the API is not there; nothing was charged.
        SettingsError: there is no key, or the address can't be used.
    """
    settings = load_settings(options={"api_key": api_key, "base_url": base_url, "concurrency": 1}, told=log_config)

    async def work() -> Created:
        async with open_client(settings) as client:
            return await client.create(image_path=image_path, end_seconds=end_seconds, **options)

    return run(work())


@in_errors()
def plan(  # noqa: PLR0913 - the arguments of the command line, by keyword
    source: Source,
    *,
    batch: str | None = None,
    config: str | Path | None = None,
    sandbox: bool = False,
    settle: bool = False,
    limit: int | None = None,
    pilot: int | None = None,
    strict: bool = False,
    regenerate: str = "none",
    rows: Sequence[str] | None = None,
    **settings: Any,
) -> Plan:
    """Check what `generate` would be given, compare it with the results table, estimate the cost. Spends nothing.

    Raises:
        UsageError: the manifest, a setting or the results table can't be used.
    """
    del settle  # it changes nothing of what is sent
    if sandbox:
        settings.setdefault("base_url", "http://127.0.0.1")
    stated = load_settings(config, settings, sandbox=sandbox, told=log_config)
    if sandbox:
        as_sandboxed(stated)  # a mistake in the sandbox's settings ends the run too
    send = send_options(regenerate=regenerate, rows=rows, repeats=stated.repeats, limit=limit, pilot=pilot)
    return make_plan(GenerateOptions(source=source, batch=batch, strict=strict, send=send), stated)


@in_errors()
def generate(  # noqa: PLR0913 - the arguments of the command line, by keyword
    source: Source,
    *,
    batch: str | None = None,
    config: str | Path | None = None,
    sandbox: bool = False,
    settle: bool = False,
    limit: int | None = None,
    pilot: int | None = None,
    strict: bool = False,
    regenerate: str = "none",
    rows: Sequence[str] | None = None,
    **settings: Any,
) -> RunReport:
    """Send every row of `source` that has no video yet, each exactly once.

    Args:
        source: a manifest's path or URL, a DataFrame with its columns, or anything that hands out an Arrow stream.
        batch: name under which rows are generated once; default: the manifest's stem, or `dataframe`.
        config: YAML file with settings; default: the `reelbatch.yaml` in the current folder or above it.
        sandbox: run against a local sandbox, with a results table of its own; nothing is paid.
        settle: wait for the videos as well.
        limit: rows to send at most.
        pilot: send a sample of N rows over models, resolutions and lengths, and wait for it.
        strict: send nothing if any row fails its checks.
        regenerate: `none`, `changed` or `all`: videos that are made again.
        rows: with `regenerate`, the keys of the rows that are made again; no others are sent.
        settings: any settings by their names, for example `max_credits=5000`.

    Raises:
        UsageError: the manifest, a setting or the results table can't be used.
    """
    stated = load_settings(config, settings, sandbox=sandbox, told=log_config)
    send = send_options(regenerate=regenerate, rows=rows, repeats=stated.repeats, limit=limit, pilot=pilot)
    if send.regenerate is Regenerate.CANCEL:
        raise SettingsError("regenerate='cancel' sends nothing: use `reelbatch generate … --regenerate cancel`")
    options = GenerateOptions(source=source, batch=batch, strict=strict, send=send)
    steps = RunSteps(limit=send.limit, settle=settle or pilot is not None)
    with sandboxed(stated, enabled=sandbox) as ready, opened_ledger(with_key(ready)) as ledger:
        return run(python_runs.generate(ledger, ready, options, steps))


@overload
def rerun(batch: str | None = None, *, dry_run: Literal[True], **options: Any) -> RerunPlan: ...
@overload
def rerun(batch: str | None = None, *, dry_run: Literal[False] = False, **options: Any) -> RunReport: ...
@in_errors()
def rerun(  # noqa: PLR0913 - the arguments of the command line, by keyword
    batch: str | None = None,
    *,
    dry_run: bool = False,
    state: str | Sequence[str] = (),
    error_code: str | Sequence[str] | None = None,
    rows: Sequence[str] | None = None,
    accept_double_charge: bool = False,
    verdict: str | None = None,
    prompt_suffix: str | None = None,
    model: str | None = None,
    config: str | Path | None = None,
    sandbox: bool = False,
    settle: bool = False,
    limit: int | None = None,
    **settings: Any,
) -> RunReport | RerunPlan:
    """Send failed rows again, and only those, or make rejected videos again; with `dry_run` only say which.

    Args:
        batch: default: the only one of the table.
        dry_run: return what would be sent, and send nothing.
        state: `rejected`, `error`, `canceled` (default: all three); `in_doubt` needs consent.
        error_code: only rows that failed with these.
        rows: only rows with these keys.
        accept_double_charge: send rows in doubt again, even if they are paid for twice.
        verdict: `rejected`: not failed rows, but videos that a review rejected.
        prompt_suffix: what these videos' prompts are to end with.
        model: another model for these videos.
        settle: wait for the videos as well.
        limit: rows to send at most.
        config: as for `generate`.
        sandbox: as for `generate`.
        settings: any settings by their names.

    Raises:
        UsageError: an option, a setting or the results table can't be used.
    """
    stated = load_settings(config, settings, sandbox=sandbox, told=log_config)
    limit = checked_limit(limit)
    options = RerunOptions(
        batch=batch,
        states=listed(state),
        error_codes=None if error_code is None else listed(error_code),
        row_keys=None if rows is None else listed(rows),
        accept_double_charge=accept_double_charge,
        verdict=verdict,
        prompt_suffix=prompt_suffix,
        model=model,
        repeats=stated.repeats,
    )
    if dry_run:
        with opened_ledger(stated, must_exist=True) as ledger:
            return preview(ledger, selection(options, ledger), stated, limit)
    with sandboxed(stated, enabled=sandbox) as ready, opened_ledger(ready, must_exist=True) as ledger:
        return run(python_runs.rerun(ledger, ready, selection(options, ledger), RunSteps(limit=limit, settle=settle)))


@in_errors()
def settle(
    batch: str | None = None,
    *,
    download: str | Path | None = None,
    wait: bool = True,
    config: str | Path | None = None,
    sandbox: bool = False,
    **settings: Any,
) -> SettleReport:
    """Follow videos to their end: final states, final credits, downloads. No file is exported.

    Args:
        batch: default: all of the table that this API has made.
        download: folder or URL for the videos; default: the setting `downloads`.
        wait: stay until all are finished; False: look once at what is due.
        config: as for `generate`.
        sandbox: as for `generate`.
        settings: any settings by their names.

    Raises:
        UsageError: a setting or the results table can't be used.
    """
    if download is not None:
        settings["downloads"] = os.fspath(download)
    stated = load_settings(config, settings, sandbox=sandbox, told=log_config)
    with sandboxed(stated, enabled=sandbox) as ready, opened_ledger(ready, must_exist=True) as ledger:
        return run(_settle(ledger, ready, batch, wait=wait))


@in_errors()
def status(
    batch: str | None = None,
    *,
    by_model: bool = False,
    config: str | Path | None = None,
    sandbox: bool = False,
    **settings: Any,
) -> TableStatus:
    """Counts by state, and credits, of one batch or all; with `by_model` where every credit went.

    Raises:
        UsageError: a setting or the results table can't be used.
    """
    stated = load_settings(config, settings, sandbox=sandbox, told=log_config)
    found = None if by_model else statuses_at_a_glance(stated.results, batch)
    if found is None:
        with looked_at(stated, _log.warning) as ledger:
            found = [batch_status(ledger, name, by_model=by_model) for name in batches_named(ledger, batch)]
    return TableStatus(tuple(found))


@in_errors()
def reconcile(  # noqa: PLR0913 - the arguments of the command line, by keyword
    batch: str | None = None,
    *,
    row: str | Sequence[str] = (),
    video_id: str | None = None,
    not_created: bool = False,
    now: bool = False,
    undo: bool = False,
    file: str | Path | None = None,
    config: str | Path | None = None,
    sandbox: bool = False,
    **settings: Any,
) -> ReconcileReport:
    """List rows in doubt with what to look for, and clear them up.

    Args:
        batch: default: all of the table, or the only one where rows are named.
        row: keys of rows that were looked into.
        video_id: the id of that row's video, which the API is asked to confirm.
        not_created: there is no video; the rows may be sent again.
        now: not created, although the request left only just (`doubt_min_age_s`).
        undo: take the last decision back, of these rows or of the batch.
        file: CSV with `row_key` and `video_id`, as `reelbatch reconcile --csv` writes it.
        config: as for `generate`.
        sandbox: as for `generate`.
        settings: any settings by their names.

    Raises:
        UsageError: what is said contradicts itself, or a setting or the results table can't be used.
    """
    path = None if file is None else Path(file)
    said = Decisions(
        batch=batch, rows=listed(row), video_id=video_id, not_created=not_created, now=now, undo=undo, file=path
    )
    refuse_contradictions(said)
    stated = load_settings(config, settings, sandbox=sandbox, told=log_config)
    asks = sandbox and bool(video_id or file)
    with sandboxed(stated, enabled=asks) as ready, opened_ledger(ready, must_exist=True) as ledger:
        return run(decide(ledger, ready, said))


@in_errors(state="states")
def export(  # noqa: PLR0913 - the arguments of the command line, by keyword
    path: str | Path,
    batch: str | None = None,
    *,
    states: str | Sequence[str] | None = None,
    all_videos: bool = False,
    winners: bool = False,
    excel: bool = False,
    config: str | Path | None = None,
    sandbox: bool = False,
    **settings: Any,
) -> Exported:
    """Write the results table, or one batch of it, to a file whose ending says the format.

    Args:
        path: `.parquet`, `.csv`, `.jsonl` or `.xlsx`, local or any fsspec URL.
        batch: default: all of the table.
        states: only rows in these, such as `complete` or `["error", "rejected"]`.
        all_videos: a line for every video of a row, also for those made again since.
        winners: of a product's variants only the approved one, once there is one.
        excel: with `.csv`: for spreadsheets, marked as UTF-8 and without live formulas.
        config: as for `generate`.
        sandbox: as for `generate`.
        settings: any settings by their names.

    Raises:
        UsageError: a setting or the results table can't be used, or the file can't be written.
    """
    stated = load_settings(config, settings, sandbox=sandbox, told=log_config)
    chosen = states_named(None if states is None else listed(states), "states")
    with looked_at(stated, _log.warning) as ledger:
        wanted = Wanted(batches_named(ledger, batch)[0] if batch is not None else None, all_videos, chosen, winners)
        rows = write_table(ledger, os.fspath(path), wanted, excel=excel)
    return Exported(os.fspath(path), rows)


async def _settle(ledger: Ledger, settings: Settings, batch: str | None, *, wait: bool) -> SettleReport:
    chosen = the_batch(ledger, batch) if batch is not None else None
    async with open_settler(ledger, settings, chosen, wait=wait) as settler:
        return SettleReport.of(await settler.run())
