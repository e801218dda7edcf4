"""The patches of `make mutants` stay true to the code and to the tests that they name."""

from __future__ import annotations

import ast

import mutation
import pytest

MUTANTS = mutation.mutants()
GUARDS = 14


def test_no_guard_is_missing() -> None:
    """One patch for each guard; fewer would go unnoticed."""
    assert len(MUTANTS) >= GUARDS


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_patch_fits_the_code_and_names_tests_that_exist(mutant: mutation.Mutant) -> None:
    """When a guard moves, its patch moves with it."""
    assert mutation.apply(mutant.patch, mutation.ROOT, "--check") == ""
    assert mutant.guard.endswith(".")
    assert mutant.tests
    for node in mutant.tests:
        file, _, name = node.partition("::")
        tree = ast.parse((mutation.ROOT / file).read_text())
        functions = {item.name for item in tree.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)}
        assert not name or name in functions
