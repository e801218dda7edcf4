"""`reelbatch sandbox`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reelbatch.cli import options as opt


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
    from reelbatch import extras

    extras.require("sandbox", "The sandbox")
    from reelbatch.sandbox.__main__ import main as serve

    config = config or _found_config()
    given = {"--port": port, "--config": config, "--key": key, "--data": data, "--balance": balance, "--seed": seed}
    stated = [*given.items(), ("--latency-ms", latency_ms), *(("--fault", text) for text in fault or ())]
    arguments = [part for name, value in stated if value is not None for part in (name, str(value))]
    raise typer.Exit(serve(arguments))


def _found_config() -> Path | None:
    """A `reelbatch.yaml` that says something of the sandbox."""
    from reelbatch.pipeline.resources import log_config
    from reelbatch.settings.config_file import find_config

    file = find_config()
    if "sandbox" not in file.stated:
        return None
    log_config(file)
    return file.path
