"""One chromium for the tests of a worker, and review pages that it can open."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from review_server import serving
from review_tables import SPRING, Shown, every_kind, shown_table

from reelbatch.ledger import Ledger
from reelbatch.review.app import Reviewing

ROOT = Path(__file__).parents[2]
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
OpenReview = Callable[..., Page]


def _chromium() -> str:
    """The browser of this machine; without one tests are skipped, in CI only where it could not be installed."""
    found = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if found is None:
        why = "no chromium on this machine; as root, `apt-get install chromium` (or `make dev`) installs Debian's"
        may_skip = not os.environ.get("CI") or (ROOT / ".no-chromium").exists()
        (pytest.skip if may_skip else pytest.fail)(why)
    return str(found)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One for all tests; each has a context of its own."""
    path = _chromium()
    with sync_playwright() as playwright:
        # Its own sandbox needs rights that root in a container does not have; it only sees our own pages.
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield started
        started.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """Cookies and windows of one test."""
    made = browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-GB")
    made.set_default_timeout(20_000)
    yield made
    made.close()


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Shown]:
    """An empty batch."""
    with Ledger(f"sqlite:///{tmp_path}/reelbatch.db") as ledger:
        yield shown_table(ledger, tmp_path / "files")


@pytest.fixture
def spring(table: Shown) -> Shown:
    """A batch with rows of every kind."""
    every_kind(table)
    return table


class Said:
    """What a page complained about, and every address that it asked for."""

    def __init__(self, page: Page) -> None:
        self.errors: list[str] = []
        self.asked: list[str] = []
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("dialog", lambda dialog: (self.errors.append(f"a script ran: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: self.asked.append(request.url))


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """A window; `page.said` is what it complained about."""
    opened = context.new_page()
    vars(opened)["said"] = Said(opened)
    return opened


@pytest.fixture
def review(page: Page) -> Iterator[OpenReview]:
    """Opens the review of a table by its link, and waits until its cards are there."""
    with ExitStack() as stack:

        def open_review(table: Shown, **stated: Any) -> Page:
            reviewing = Reviewing(ledger=table.ledger, batch=SPRING, reviewer="ann", **stated)
            page.goto(stack.enter_context(serving(reviewing)).link)
            page.wait_for_selector("body[data-ready=yes]")
            return page

        yield open_review
        page.close()
