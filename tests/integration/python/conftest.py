"""One sandbox for the calls from Python."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from reelbatch.sandbox import RunningSandbox, start


@pytest.fixture(scope="session")
def running() -> Iterator[RunningSandbox]:
    """A sandbox whose videos are finished at once."""
    with start(queue_seconds=0, render_seconds=0) as running:
        yield running
