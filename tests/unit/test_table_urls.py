"""URLs of results tables that can't be meant: said before a database is asked."""

from __future__ import annotations

import pytest

from reelbatch.errors import LedgerUnusable
from reelbatch.ledger.urls import parse_url


@pytest.mark.parametrize(
    ("url", "why"),
    [
        *((f"sqlite:///x.db?timeout={wait}", "timeout is no number") for wait in ("abc", "nan", "inf", "-1", "1e9")),
        ("sqlite:///x.db?timeout=1&timeout=2", "timeout is no number"),
        ("sqlite:///x.db?foo=1", '"foo" can\'t be stated here'),
        ("sqlite:///x.db?plugin=x", '"plugin" can\'t be stated here'),
        ("sqlite:///x.db?mode=ro", '"mode" can\'t be stated here'),
        ("sqlite:///x.db?mode=ro&uri=true", '"mode" can\'t be stated here'),  # would be a file called x.db?mode=ro
        ("sqlite:///x.db?uri=maybe", "uri can only be true"),
        ("sqlite://host/x.db", "has no host"),
        ("sqlite:///x\0.db", "has a NUL"),
        ("postgresql://u@a..b/x", "no host of this name"),
        (f"postgresql://u@{'a' * 64}/x", "no host of this name"),
        (f"postgresql://u@/x?host={'a' * 64}", "no host of this name"),
    ],
)
def test_a_url_that_can_not_be_meant_is_said_with_its_remedy(url: str, why: str) -> None:
    """Nothing is left out of it without a word, and no other file is opened than the one that it names."""
    with pytest.raises(LedgerUnusable, match=why):
        parse_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///x.db?timeout=0.3",
        "sqlite:///file:x.db?mode=ro&uri=true&timeout=1",
        "sqlite://",
        "postgresql://u@/x?host=/run/a@b",
        "postgresql://u@/x?host=@abstract",
        "postgresql://u@/x?host=a,b&port=1,2",
    ],
)
def test_a_url_that_can_be_meant_is_taken(url: str) -> None:
    """As it is written."""
    assert parse_url(url).get_backend_name() == url.partition(":")[0]


def test_the_end_of_a_password_is_not_shown() -> None:
    """An @ in it that was not encoded makes what follows a part of the host."""
    with pytest.raises(LedgerUnusable, match="write %40") as error:
        parse_url("postgresql://u:pa@marked@db/x")
    assert "marked" not in str(error.value)
