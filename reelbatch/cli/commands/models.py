"""`reelbatch models`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reelbatch.cli import options as opt
from reelbatch.cli.json_output import print_json

if TYPE_CHECKING:
    from rich.text import Text

    from reelbatch.model_table import Model, ModelTable
    from reelbatch.pipeline.prices import Observed
    from reelbatch.settings import Settings


def models(
    check: Annotated[
        bool,
        typer.Option("--check", help="Compare with what was charged; exit code 1 if it differs by more than 2 %."),
    ] = False,
    config: opt.Config = None,
    results: opt.Results = None,
    sandbox: opt.SandboxTable = False,
    as_json: opt.Json = False,
) -> None:
    """What each model accepts and costs, by the table of models and by what was charged."""
    from reelbatch.model_table import load_models
    from reelbatch.pipeline.prices import drifted

    settings = opt.settings_of(config, sandbox=sandbox, results=results)
    known, seen = load_models(settings.models), _observed(settings)
    drift = drifted(seen)
    if as_json:
        names = {name: _as_json(model) for name, model in known.models.items()}
        print_json({"models": names, "observed": [each.as_json() for each in seen], "drifted": len(drift)})
    elif check:
        _print_check(seen, drift)
    else:
        _print_models(known)
        _print_observed(seen)
    raise typer.Exit(1 if check and drift else 0)


def _observed(settings: Settings) -> list[Observed]:
    """Nothing where there is no results table yet."""
    from reelbatch.cli import render
    from reelbatch.pipeline.prices import observed
    from reelbatch.pipeline.resources import looked_at, table_is_new

    if table_is_new(settings):
        return []
    with looked_at(settings, render.warn) as ledger:
        return observed(ledger, settings)


def _as_json(model: Model) -> dict[str, Any]:
    return {**model.model_dump(mode="json"), "seconds": sorted(model.durations)}


def _print_models(known: ModelTable) -> None:
    from reelbatch.cli import render
    from reelbatch.cli.tables import Folding, figures, print_lines, words
    from reelbatch.printable import one_line

    offered = {name for model in known.models.values() for name in (*model.resolutions, *model.rates)}
    resolutions = sorted(offered, key=_height)
    every = known.models.values()
    columns = [
        Folding("model", list(map(one_line, known.models))),
        words("seconds", [", ".join(map(str, model.seconds)) or "?" for model in every]),
        *(figures(each, [_rate(model, each) for model in every]) for each in resolutions),
        words("end image", map(_end_image, every)),
        words("audio", [model.audio or "?" for model in every]),
    ]
    print_lines(columns, ["dim" if model.old else "" for model in every])
    render.out.print(
        "[dim]Credits for one second; 48+24: with audio 24 more; 60x2: twice; ?: not known.\n"
        "In dim letters: accepted, no longer listed by the API.[/]"
    )


def _end_image(model: Model) -> str:
    return model.end_image if isinstance(model.end_image, str) else ", ".join(model.end_image)


def _height(resolution: str) -> int:
    """`720p` before `1080p` before `4k`."""
    number = int("".join(filter(str.isdigit, resolution)) or 0)
    return number * 540 if resolution.endswith("k") else number


def _rate(model: Model, resolution: str) -> str:
    rate = model.rates.get(resolution)
    if rate is None:
        return "?" if resolution in model.resolutions else ""
    if model.audio != "extra":
        return f"{rate}"
    return (
        f"{rate}x{model.audio_factor}"
        if model.audio_factor != 1
        else f"{rate}+{model.audio_rates.get(resolution, '?')}"
    )


def _print_observed(seen: Sequence[Observed]) -> None:
    from reelbatch.cli import render
    from reelbatch.cli.tables import figures, names, print_lines, words
    from reelbatch.printable import one_line

    if not seen:
        render.out.print("Nothing was charged yet, so nothing can be compared.")
        return
    several = len({(each.api, each.account) for each in seen}) > 1
    whose = [names("account", [one_line(f"{each.account} at {each.api}") for each in seen])] if several else []
    columns = [
        *whose,
        names("observed", [one_line(each.model) for each in seen]),
        words("kind", [f"{each.resolution}, {each.seconds:g} s{', audio' if each.audio else ''}" for each in seen]),
        figures("charged", [_figure(each.charged) for each in seen]),
        figures("settled", [_figure(each.settled) for each in seen]),
        figures("estimate", [_figure(each.estimate) for each in seen]),
        figures("drift", map(_drift, seen)),
    ]
    print_lines(columns)


def _figure(credits_: int | None) -> str:
    return "?" if credits_ is None else f"{credits_:,}"


def _drift(each: Observed) -> Text:
    from rich.text import Text

    return Text("" if each.drift is None else f"{each.drift:+.1%}", "yellow" if each.has_drifted else "")


def _print_check(seen: Sequence[Observed], drift: Sequence[Observed]) -> None:
    from reelbatch.cli import render

    for each in drift:
        render.out.print(render.cell(f"{each} ({each.drift:+.1%})"))
    settled = [each for each in seen if each.drift is not None]
    if drift:
        render.out.print(
            f"Kinds of video that differ: {len(drift):,} of {len(settled):,}. Correct the table of models."
        )
    elif settled:
        render.out.print(f"Kinds of video that cost what the table of models says: {len(settled):,}, none differs.")
    else:
        render.out.print("No finished video of a known rate yet, so nothing can be compared.")
