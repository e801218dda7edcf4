"""The list of words that messages, docs and code do not use."""

from __future__ import annotations

import pytest
from support.words import LIST, found, listed


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("Whoever waits", ["Whoever"]),
        ("def test_that_nobody_sees():", ["nobody"]),
        ("Mend that; a SQLite table will do.", ["Mend", "will do"]),
        ("what the amendment says will do nothing of the kind", []),
        ("It answers with how many rows it took up.", ["answers with", "took up"]),
    ],
)
def test_a_word_of_the_list_is_found_where_it_stands(line: str, said: list[str]) -> None:
    """Also within a name, and never within another word."""
    at = list(found(f"The first line.\n{line}", listed(LIST.read_text("utf-8"))))
    assert ([number for number, _, _ in at], [word for _, word, _ in at]) == ([2] * len(said), said)
