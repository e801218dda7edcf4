"""Commands that serve until they are stopped."""

from __future__ import annotations

from typing import Annotated

import typer

from reelbatch.cli import options as opt


def sandbox(
    port: Annotated[int | None, typer.Option(help="Port on 127.0.0.1; 0: a free one.", metavar="N")] = None,
    config: opt.Config = None,
    key: Annotated[str | None, typer.Option(help="The key it accepts. [default: sandbox]")] = None,
    data: Annotated[str | None, typer.Option(help="Keep books, uploads and videos here.", metavar="DIR")] = None,
) -> None:
    """Run the local API by itself, until Ctrl-C."""
    from reelbatch.sandbox.__main__ import main as serve

    given = {"--port": port, "--config": config, "--key": key, "--data": data}
    arguments = [part for name, value in given.items() if value is not None for part in (name, str(value))]
    raise typer.Exit(serve(arguments))
