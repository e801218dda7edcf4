"""README: short, for three readers in their order, and no figure in it that was not measured."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from doc_blocks import PAGES, ROOT, blocks_of, spans_of

from reelbatch.domain.states import TRANSITIONS, RowState
from reelbatch.sandbox.controls import control_routes

README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS: dict[str, Any] = json.loads((ROOT / "benchmarks" / "results.json").read_text(encoding="utf-8"))
_NO_SERVICE: Any = None  # the routes are only listed
COLUMNS = ("charges", "rows_charged_twice", "rows_in_doubt", "credits_overpaid")
_NUMBER = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?![\w])")


def _numbers(text: str) -> Iterator[str]:
    return (found.replace(",", "") for found in _NUMBER.findall(text))


def _measured(found: Any) -> Iterator[float]:
    """Every number of the results, those in names and conditions too."""
    if isinstance(found, dict):
        for key, value in found.items():
            yield from _measured(key)
            yield from _measured(value)
    elif isinstance(found, list):
        for value in found:
            yield from _measured(value)
    elif isinstance(found, str):
        yield from map(float, _numbers(found))
    elif isinstance(found, int | float):
        yield float(found)


def test_it_is_short_and_has_its_readers_in_order() -> None:
    """Who has a catalogue, who runs nights, who reads code."""
    assert len(README.splitlines()) <= 200
    headings = re.findall(r"^## (.*)$", README, re.MULTILINE)
    assert headings == ["Try it", "You have a catalogue", "You run nights", "You read code"]


def test_every_figure_was_measured() -> None:
    """Each number of its paragraphs about measurements is in results.json, rounded as it stands there."""
    told = README.split("**Paid for once, measured.**")[1].split("**From Python**")[0]
    told = re.sub(r"magic_hour` \d+\.\d+\.\d+|SHA-256|!\[.*", "", told)
    known = set(_measured(RESULTS))

    def is_known(number: str) -> bool:
        places = len(number.partition(".")[2])
        return any(f"{value:.{places}f}" == number for value in known)

    assert [number for number in _numbers(told) if not is_known(number)] == []
    assert f"`magic_hour` {RESULTS['double_charge']['data']['versions']['magic_hour']}" in README


@pytest.mark.parametrize("scenario", RESULTS["double_charge"]["data"]["scenarios"])
def test_double_charges_are_those_of_the_last_measurement(scenario: str) -> None:
    """Each line of both tables, to the credit."""
    head = f"| {scenario} | charges | rows charged twice or more | in doubt, reported | credits overpaid |\n| --- |"
    assert head in README
    for row in RESULTS["double_charge"]["data"]["scenarios"][scenario]:
        assert f"| {row['tool']} | {' | '.join(f'{row[column]:,}' for column in COLUMNS)} |" in README


@pytest.mark.parametrize("page", PAGES)
def test_links_and_pictures_lead_somewhere(page: str) -> None:
    """Files are there, and so are the headings that a link names."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = (ROOT / page).parent / name if name else ROOT / page
        assert file.exists(), target
        assert not anchor or anchor in _anchors(file), target


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_addresses_of_the_sandbox_exist(page: str) -> None:
    """Each that a page says to ask, with its method."""
    routes = {(method, route.path) for route in control_routes(_NO_SERVICE) for method in route.methods or ()}
    asked = [span.split() for span in spans_of(page) if re.match(r"(GET|POST) /\w*sandbox/", span)]
    assert {(method, path.replace("/ID/", "/{id}/")) for method, path, *_ in asked} <= routes


def test_the_sample_and_a_catalogue_of_every_night_are_two_batches() -> None:
    """The name of a batch is its manifest's stem, and the sample's is in prefect.yaml and README."""
    nightly = "docs/how-to/nightly-catalogue.md"
    typed = "".join(block.body for block in blocks_of(nightly) if block.language == "sh")
    stems = {Path(name).stem for name in re.findall(r"(?:plan|generate) (\S+)", typed)}
    assert stems == {"products"}
    sample = re.search(r"manifest: (\S+)", (ROOT / "prefect.yaml").read_text(encoding="utf-8"))
    assert sample
    assert Path(sample[1]).stem not in stems


def test_the_drawing_of_the_states_has_every_move() -> None:
    """That of docs/results-table.md, and no other."""
    (drawing,) = (block.body for block in blocks_of("docs/results-table.md") if block.language == "mermaid")
    moves = re.findall(r"^ *(\w+) --> (\w+)", drawing, re.MULTILINE)
    assert len(moves) == len(set(moves))
    assert set(moves) == {(str(start.value), str(end.value)) for start, ends in TRANSITIONS.items() for end in ends}
    assert set(re.findall(r"\[\*\] --> (\w+)", drawing)) <= {state.value for state in RowState}
