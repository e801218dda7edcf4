"""Which checks there are, in the order in which they are told."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from reelbatch.model_table import load_models
from reelbatch.pipeline.checkup import api, places, program
from reelbatch.pipeline.checkup.checks import Check, carried_out, ok
from reelbatch.pipeline.checkup.prefect import prefect
from reelbatch.settings import Settings


def examine(settings: Settings | None) -> Iterator[Check]:
    """One check after the other. `settings` None: they can't be used, so what needs them is left out."""
    yield from carried_out("interpreter", program.interpreter)
    yield from carried_out("packages", program.packages)
    yield from carried_out("proxies", program.proxies)
    if settings is not None:
        yield from _with(settings)
    yield from carried_out("prefect", prefect)


def _with(settings: Settings) -> Iterator[Check]:
    yield from carried_out("key", partial(api.key, settings))
    yield from carried_out("account", partial(api.account, settings))
    yield from carried_out("clock", partial(api.clock, settings))
    yield from carried_out("table of models", partial(_models, settings))
    yield from carried_out("results table", partial(places.results_table, settings))
    yield from carried_out("folders", partial(places.folders, settings))


def _models(settings: Settings) -> Iterator[Check]:
    known = load_models(settings.models)
    yield ok(
        "table of models", f"{len(known.models)} models ({settings.models or 'the one that comes with Reelbatch'})"
    )
