"""`reelbatch init`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from reelbatch.cli import options as opt

if TYPE_CHECKING:
    from pathlib import Path

    from reelbatch.pipeline.init import InitReport
    from reelbatch.pipeline.init_guess import Stated

Encoding = Annotated[
    str | None, typer.Option(help="How the file's letters are written, if it is no UTF-8.", metavar="NAME")
]
_SOURCE_HELP = "A catalogue or a folder of photos. (default: what is in the current folder)"


def init(  # noqa: PLR0913, PLR0917 - options of a command
    source: Annotated[str | None, typer.Argument(help=_SOURCE_HELP, metavar="[FILE|FOLDER]")] = None,
    image: Annotated[str | None, typer.Option(help="The column of the images.", metavar="COLUMN")] = None,
    key: Annotated[
        str | None, typer.Option(help="The columns that name each row once, joined with -.", metavar="COLUMN,…")
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(help="What is to happen; {Title} pastes a column in, {name} a photo's name.", metavar="TEXT"),
    ] = None,
    image_prefix: Annotated[
        str | None, typer.Option(help="Folder or address before images that are paths.", metavar="WHERE")
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(help="Length of videos for which the file states none.", metavar="N", min=0.1, max=3600),
    ] = None,
    encoding: Encoding = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a reelbatch.yaml that is there.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask: take the best guess.")] = False,
    as_json: opt.Json = False,
) -> None:
    """Look at a catalogue or a folder of images, and write a reelbatch.yaml (and a manifest for a folder)."""
    import sys

    from reelbatch.cli import init_dialogue
    from reelbatch.cli.json_output import print_json
    from reelbatch.pipeline.init import config_here, find_source
    from reelbatch.pipeline.init_guess import Stated

    stated = Stated(
        image=image,
        key=opt.words(key),
        prompt=prompt,
        image_prefix=image_prefix,
        seconds=seconds,
        encoding=encoding,
    )
    config, found = config_here(force=force), find_source(source)
    if not as_json:
        init_dialogue.note_hidden(config)
    asks = sys.stdin.isatty() and not yes and not as_json
    report = _photos(found, stated, config, force=force, asks=asks) or _catalogue(
        found, stated, config, force=force, asks=asks, quiet=as_json
    )
    if as_json:
        print_json(report.as_json())
    else:
        init_dialogue.print_report(report, asked=asks)
    raise typer.Exit(1 if report.is_open else 0)


def _photos(found: str, stated: Stated, config: Path, *, force: bool, asks: bool) -> InitReport | None:
    """Of a folder; None: it is none."""
    from pathlib import Path

    from reelbatch.cli import init_dialogue
    from reelbatch.home_folder import at_home
    from reelbatch.pipeline.init import manifest_here, write_for_photos
    from reelbatch.pipeline.init_photos import find_photos
    from reelbatch.storage.files import scheme_of

    folder = Path(at_home(found))
    if scheme_of(found) is not None or not folder.is_dir():
        return None
    photos = find_photos(folder)
    manifest_here(photos, force=force)  # that it is there is said before anything is asked
    return write_for_photos(photos, init_dialogue.ask_about_photos(stated) if asks else stated, config, force=force)


def _catalogue(  # noqa: PLR0913 - what was typed
    found: str, stated: Stated, config: Path, *, force: bool, asks: bool, quiet: bool
) -> InitReport:
    from reelbatch.cli import init_dialogue
    from reelbatch.pipeline.init import write_for_catalogue
    from reelbatch.pipeline.init_guess import guess
    from reelbatch.pipeline.init_table import look_at

    table = look_at(found, stated.encoding)
    made = guess(table, stated)
    if not quiet:
        init_dialogue.print_guess(made)
    if asks:
        made = init_dialogue.ask(stated, made)
    return write_for_catalogue(made, config, force=force)
