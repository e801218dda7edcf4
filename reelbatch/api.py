"""For scripts and notebooks: synchronous at the edge, without Prefect."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from reelbatch.client import Client, ClientOptions, Created
from reelbatch.errors import SettingsError
from reelbatch.ledger import Ledger
from reelbatch.ledger.selection import Regenerate
from reelbatch.pipeline.generate import RunSteps, assignment, submit_all
from reelbatch.pipeline.load_manifest import load_manifest
from reelbatch.pipeline.plan import GenerateOptions, Source, send_options
from reelbatch.pipeline.resources import log_config, opened_ledger, sandboxed
from reelbatch.pipeline.run_context import open_run
from reelbatch.pipeline.run_summary import RunReport, finish_order, report
from reelbatch.pipeline.settle import settle_videos
from reelbatch.settings import Settings, load_settings

Answer = TypeVar("Answer")


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
        UploadError: the image could not be uploaded; nothing was charged.
        SettingsError: there is no key, or the address can't be used.
    """
    settings = load_settings(options={"api_key": api_key, "base_url": base_url}, told=log_config)

    async def work() -> Created:
        reaching = ClientOptions(base_url=settings.base_url, concurrency=1, timeout_s=settings.request_timeout_s)
        async with Client(_key(settings), reaching) as client:
            return await client.create(image_path=image_path, end_seconds=end_seconds, **options)

    return _run(work())


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
        source: a manifest's path or URL, or a DataFrame with its columns.
        batch: name under which rows are generated once; default: the manifest's stem, or `dataframe`.
        config: YAML file with settings; default: the `reelbatch.yaml` in the current folder or above it.
        sandbox: run against a local sandbox, with a results table of its own; nothing is paid.
        settle: wait for the videos as well.
        limit: rows to send at most.
        pilot: send a sample of so many rows over models, resolutions and lengths, and wait for it.
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
    steps = RunSteps(limit=limit, settle=settle or pilot is not None)
    with sandboxed(stated, enabled=sandbox) as ready, opened_ledger(ready) as ledger:
        return _run(_generate(ledger, ready, options, steps))


async def _generate(ledger: Ledger, settings: Settings, options: GenerateOptions, steps: RunSteps) -> RunReport:
    """Without an export, for which there is `results`, and without a word to signals, which are the program's own."""
    async with open_run(ledger, settings, assignment(options, settings)) as context:
        await load_manifest(context, options)
        await submit_all(context, limit=steps.limit)
        if steps.settle:
            await settle_videos(context)
        summary = report(context)
        finish_order(context)
        return summary.report


def _key(settings: Settings) -> str:
    if settings.api_key is None:
        raise SettingsError("There is no API key: pass api_key, or set the environment variable MAGIC_HOUR_API_KEY.")
    return settings.api_key.get_secret_value()


def _run(work: Coroutine[Any, Any, Answer]) -> Answer:
    """Run to the end; in a notebook, whose own event loop is running already, in a thread."""
    if not _in_a_loop():
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as thread:
        return _stoppable(thread, work)


def _in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _stoppable(thread: ThreadPoolExecutor, work: Coroutine[Any, Any, Answer]) -> Answer:
    """The answer of `work`; an interrupt, which only the main thread hears of, stops it gently there too."""
    under_way: Future[Callable[[], object]] = Future()

    async def cancellable() -> Answer:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task is not None  # noqa: S101 - this is one
        under_way.set_result(lambda: loop.call_soon_threadsafe(task.cancel))
        return await work

    answer = thread.submit(asyncio.run, cancellable())
    try:
        return answer.result()
    except KeyboardInterrupt:
        with suppress(RuntimeError):  # it has just ended
            under_way.result()()
        raise
