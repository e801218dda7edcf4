"""Commands that serve until they are stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reelbatch.cli import options as opt
from reelbatch.cli.shared import settings_of


def sandbox(  # noqa: PLR0913, PLR0917 - options of a command
    port: Annotated[
        int | None, typer.Option(help="Port on 127.0.0.1; 0: a free one. (default: 0)", metavar="N")
    ] = None,
    config: opt.Config = None,
    key: Annotated[str | None, typer.Option(help="The key it accepts. (default: sandbox)")] = None,
    data: Annotated[str | None, typer.Option(help="Keep books, uploads and videos here.", metavar="DIR")] = None,
    balance: Annotated[int | None, typer.Option(help="Credits of the account.", metavar="N")] = None,
    latency_ms: Annotated[float | None, typer.Option(help="How long a create takes.", metavar="MS")] = None,
    fault: Annotated[
        list[str] | None, typer.Option(help="Let this share of calls fail so; may be repeated.", metavar="KIND=SHARE")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Draws the faults and the failed renders.", metavar="N")] = None,
) -> None:
    """Run the local API by itself, until Ctrl-C."""
    from reelbatch.sandbox.__main__ import main as serve

    config = config or _found_config()
    given = {"--port": port, "--config": config, "--key": key, "--data": data, "--balance": balance, "--seed": seed}
    stated = [*given.items(), ("--latency-ms", latency_ms), *(("--fault", text) for text in fault or ())]
    arguments = [part for name, value in stated if value is not None for part in (name, str(value))]
    raise typer.Exit(serve(arguments))


def _found_config() -> Path | None:
    """A `reelbatch.yaml` that says something of the sandbox."""
    from reelbatch.pipeline.resources import say_config
    from reelbatch.settings.config_file import find_config

    file = find_config()
    if "sandbox" not in file.stated:
        return None
    say_config(file)
    return file.path


def webhook(
    port: Annotated[int, typer.Option(help="Port to listen on; 0: a free one.", metavar="N")] = 8787,
    host: Annotated[
        str, typer.Option(help="Address to listen on; put a TLS proxy in front.", metavar="HOST")
    ] = "127.0.0.1",
    config: opt.Config = None,
    results: opt.Results = None,
    sandbox: opt.SandboxTable = False,
) -> None:
    """Receive the API's events: they settle rows at once and clear up rows in doubt. Until Ctrl-C."""
    from dataclasses import asdict

    from reelbatch.cli import render
    from reelbatch.errors import SettingsError
    from reelbatch.pipeline.resources import opened_ledger, table_notice
    from reelbatch.webhooks import serve

    settings = settings_of(config, sandbox=sandbox, results=results)
    if settings.webhook_secret is None:
        raise SettingsError("There is no webhook secret. Set the environment variable REELBATCH_WEBHOOK_SECRET.")
    if notice := table_notice(settings):
        render.note(notice)
    with opened_ledger(settings) as ledger:
        counts = serve(ledger, settings.webhook_secret, port, _listening, host=host)
    render.out.print("Events: " + ", ".join(f"{count:,} {name}" for name, count in asdict(counts).items()))


def _listening(url: str) -> None:
    from reelbatch.cli import render

    render.err.print(f"Listening for events on {url}")
