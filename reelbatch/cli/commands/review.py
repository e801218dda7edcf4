"""`reelbatch review`."""

from __future__ import annotations

import webbrowser
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Annotated

import typer

from reelbatch.cli import options as opt


def review(  # noqa: PLR0913, PLR0917 - options of a command
    config: opt.Config = None,
    results: opt.Results = None,
    batch: opt.OneBatch = None,
    sandbox: opt.SandboxTable = False,
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0: a free one.", metavar="N", min=0, max=65_535)] = 0,
    remote_images: Annotated[
        bool,
        typer.Option("--remote-images", help="Let the browser load images from the web addresses in the manifest."),
    ] = False,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the link and open nothing.")] = False,
) -> None:
    """Look at a batch's videos in the browser; approve or reject them. Until Ctrl-C."""
    from reelbatch.extras import require
    from reelbatch.pipeline.dollars import dollars_per_credit
    from reelbatch.pipeline.resources import opened_ledger, the_batch

    require("review", "`reelbatch review`")
    settings = opt.settings_of(config, sandbox=sandbox, batch=batch, results=results)
    from reelbatch.review import ReviewOptions, serve

    options = ReviewOptions(port=port, remote_images=remote_images, dollars_per_credit=dollars_per_credit(settings))
    with (
        opened_ledger(settings, must_exist=True) as ledger,
        TemporaryDirectory(prefix="reelbatch-review-") as private,
    ):
        opening = None if no_browser else Path(private) / "open.html"
        serve(ledger, the_batch(ledger, batch), options, partial(_ready, opening))


def _ready(opening: Path | None, link: str) -> None:
    """Say the link; with `opening`, a file of the user's own, open it too."""
    from reelbatch.cli import render

    render.err.print(f"Review: {link}  (works once; Ctrl-C ends it)")
    if opening is None:
        return
    # A browser is told a file and not the link: others see its command line, and the first who comes is let in.
    opening.write_text(f'<!doctype html><meta http-equiv="refresh" content="0; url={link}">', encoding="utf-8")
    Thread(target=webbrowser.open, args=(opening.as_uri(),), daemon=True).start()  # some wait for the browser's end
