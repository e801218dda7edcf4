"""`reelbatch webhook`."""

from __future__ import annotations

from typing import Annotated

import typer

from reelbatch.cli import options as opt


def webhook(
    port: Annotated[
        int, typer.Option(help="Port to listen on; 0: a free one.", metavar="N", min=0, max=65_535)
    ] = 8787,
    host: Annotated[
        str, typer.Option(help="Address to listen on; put a TLS proxy in front.", metavar="HOST")
    ] = "127.0.0.1",
    config: opt.Config = None,
    results: opt.Results = None,
    sandbox: opt.SandboxTable = False,
) -> None:
    """Receive the API's events: they settle rows at once and clear up rows in doubt. Until Ctrl-C."""
    from dataclasses import asdict

    from reelbatch import extras
    from reelbatch.cli import render
    from reelbatch.errors import SettingsError
    from reelbatch.pipeline.resources import opened_ledger, table_notice

    extras.require("webhooks", "The webhook address")
    from reelbatch.webhooks import listening, serve

    settings = opt.settings_of(config, sandbox=sandbox, results=results)
    if settings.webhook_secret is None:
        raise SettingsError("There is no webhook secret. Set the environment variable REELBATCH_WEBHOOK_SECRET.")
    with listening(host, port) as listener:  # first: where no one can listen, no table is made
        if notice := table_notice(settings):
            render.note(notice)
        with opened_ledger(settings) as ledger:
            counts = serve(ledger, settings.webhook_secret, listener, _ready)
    render.out.print("Events: " + ", ".join(f"{count:,} {name}" for name, count in asdict(counts).items()))


def _ready(url: str) -> None:
    from reelbatch.cli import render

    render.err.print(f"Listening for events on {url}")
