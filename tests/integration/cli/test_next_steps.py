"""What a command says to do next: it is the way out, and it works as it is printed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from accounts import Customer
from commands import Ran, run_here

from reelbatch.sandbox import RunningSandbox, start

UNUSABLE = 2


@pytest.fixture(scope="module")
def running() -> Iterator[RunningSandbox]:
    with start(render_video=False, queue_seconds=0, render_seconds=0.01) as sandbox:
        yield sandbox


@pytest.fixture
def customer(tmp_path: Path, sandbox: RunningSandbox) -> Customer:
    return Customer(tmp_path, sandbox)


def printed(text: str) -> list[str]:
    """Commands in what was said: between backticks, or behind an arrow."""
    return re.findall(r"`(reelbatch [^`]+)`", text) + re.findall(r"→ (?:\w+: )?(reelbatch [^#\n]+)", text)


def typed(customer: Customer, command: str) -> Ran:
    """A printed command, typed as it stands, in the same shell."""
    shell = {"MAGIC_HOUR_API_KEY": customer.api.key, "REELBATCH_BASE_URL": customer.api.url}
    return run_here(customer.folder, *shlex.split(command)[1:], **shell)


def test_an_order_that_only_a_doubt_keeps_open_names_reconcile(customer: Customer) -> None:
    """Neither its own command nor a cancel ends it; both, and another order, say what does."""
    spring = customer.manifest("spring", "pan", "zoom")
    customer.generate(spring, settle=True)
    customer.api.set_faults(script=["lost_after"])
    customer.generate(spring, regenerate="all", concurrency=1)
    where = ("--batch", "spring")
    other = customer.run("plan", spring, "--regenerate", "all", "--rows", "spring-1")
    canceled = customer.run("generate", spring, "--regenerate", "cancel", *where)
    assert (other.code, canceled.code) == (UNUSABLE, 0)
    for said in (other.err, canceled.out):
        (command,) = printed(said)
        listed = typed(customer, command)
        assert "1 row in doubt" in listed.out
    (token,) = customer.tokens().values()
    *_, found = [line for line in listed.out.splitlines() if "found:" in line]
    command = found.partition("found:")[2].replace("KEY", "spring-1").replace("ID", customer.video_of(token) or "")
    assert typed(customer, command.strip()).code == 0
    customer.run("generate", spring, "--regenerate", "cancel")
    assert "no order is open" in customer.run("generate", spring, "--regenerate", "cancel").out
