"""Every command and code block of README and docs, as written, in the order in which a reader meets them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from doc_blocks import BESIDE, PAGES, ROOT, Block, blocks_of, spans_of
from doc_reader import FILES, RUN, SHELL, Reader, sessions
from doc_shell import warm_program
from typed import problems

from reelbatch.model_table import load_models
from reelbatch.sandbox import RunningSandbox, start
from reelbatch.sandbox.config import build_config
from reelbatch.settings import load_settings

MODELS = ROOT / "configs" / "models.yaml"
SHOWN = {"nginx", "caddy", "sql", "mermaid"}
"""Of other programs, or a drawing."""
LOOKED_UP = re.compile(r"(reelbatch|prefect|make|pip install|python -m) [a-z'-]")
WITH_BLOCKS = [page for page in PAGES if blocks_of(page)]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for the beginning of `PATH`."""
    with warm_program(tmp_path_factory.mktemp("bin") / "bin") as folder:
        yield folder


@pytest.fixture(scope="module")
def api() -> Iterator[RunningSandbox]:
    """What the reader's key and `base_url` lead to in place of the live API."""
    with start(queue_seconds=0, render_seconds=0, render_video=False, latency_ms=0) as running:
        yield running


def _is_run(block: Block) -> bool:
    return not block.marks.keys() & {"parsed", "example"}


def _is_there(block: Block) -> bool:
    return block.language in RUN | FILES | SHOWN | {"json"}


@pytest.mark.parametrize("page", [*PAGES, *BESIDE])
def test_every_block_says_what_it_is(page: str) -> None:
    """Its language; and of what a reader can't do here, or what is not compared, why."""
    assert [block.place for block in blocks_of(page) if not _is_there(block)] == []
    unexplained = [block for block in blocks_of(page) if block.language in SHOWN and _is_run(block)]
    assert [block.place for block in unexplained] == []
    reasons = [block.marks.get("parsed", block.marks.get("example", "-")) for block in blocks_of(page)]
    assert "" not in reasons


@pytest.mark.parametrize("page", WITH_BLOCKS)
def test_a_reader_gets_what_the_page_shows(page: str, tmp_path: Path, program: Path, api: RunningSandbox) -> None:
    """Commands succeed or end as the page says, each line that is shown is printed, and Python does what it says."""
    api.set_faults()
    api.set_prices()
    reader = Reader(tmp_path / "shop", program, api)
    wrong = [f"{block.place}: {each}" for block in blocks_of(page) if _is_run(block) for each in reader.read(block)]
    assert wrong == [], "\n\n".join(wrong)


@pytest.mark.parametrize("page", [*PAGES, *BESIDE])
def test_commands_that_are_not_run_exist(page: str) -> None:
    """Those in the prose too: the programs' own parsers take command, arguments and options."""
    unrun = [block for block in blocks_of(page) if not _is_run(block) or page in BESIDE]
    typed = [typed for block in unrun if block.language in SHELL for typed, _ in sessions(block.language, block.body)]
    named = [span for span in spans_of(page) if LOOKED_UP.match(span)]
    wrong = [wrong for line in named for wrong in problems(line) if "Missing" not in wrong]  # a command's name alone
    assert [*wrong, *(wrong for line in typed for wrong in problems(line))] == []


@pytest.mark.parametrize("page", WITH_BLOCKS)
def test_settings_are_read_by_what_reads_them(page: str, tmp_path: Path) -> None:
    """Each block of YAML is a config file, or a part of the table of models."""
    for block in blocks_of(page):
        if block.language == "yaml" and _is_run(block):
            file = tmp_path / "stated.yaml"
            file.write_text(block.body, encoding="utf-8")
            if block.body.startswith("models:"):
                table, stated = (yaml.safe_load(text) for text in (MODELS.read_text(encoding="utf-8"), block.body))
                file.write_text(yaml.safe_dump({**table, "models": stated["models"]}), encoding="utf-8")
                assert load_models(file).models.keys() == stated["models"].keys()
            else:
                build_config(load_settings(file).sandbox)
