"""A row's state is written by statements of `ledger/transitions.py` alone, which name the states that they expect."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import reelbatch

ROOT = Path(reelbatch.__file__).parent
OWNER = "ledger/transitions.py"
EXEMPT = ("sandbox/", "review/", "pipeline/run_page.py", "ledger/history_lines.py", OWNER)
"""The API itself, which has states of its own; pages and the lines of a history, which have no SQL."""
COPIED = "ledger/migrations.py"
"""Copies whole rows into a new table by SQL of its own, states and all; no row moves."""
RAW = re.compile(
    r"\bupdate\s+(generations|results)\b.*\bstate\s*=|\bset\s+state\s*=|\binsert\s+into\s+generations\b",
    re.IGNORECASE | re.DOTALL,
)


def writes(source: str) -> Iterator[str]:
    """What writes a state in `source`, whichever way."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            yield from _call(node)
        elif isinstance(node, ast.Dict):
            yield from (f"{node.lineno}: a dictionary with it" for key in node.keys if _is_state(key))
        elif isinstance(node, ast.Assign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                if isinstance(target, ast.Subscript) and _is_state(target.slice):
                    yield f"{node.lineno}: set in a mapping"
        elif isinstance(node, ast.Constant | ast.JoinedStr) and RAW.search(ast.unparse(node)):
            yield f"{node.lineno}: SQL"


def _call(node: ast.Call) -> Iterator[str]:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name in {"values", "ordered_values"}:
        named = [word.arg for word in node.keywords]
        pairs = [part for each in node.args if isinstance(each, ast.Tuple) for part in each.elts[:1]]
        if "state" in named or any(map(_is_state, pairs)):
            yield f"{node.lineno}: `{name}`"
    if name == "dict" and any(word.arg == "state" for word in node.keywords):
        yield f"{node.lineno}: a dictionary with it"
    if name == "from_select" and any(map(_is_state, ast.walk(node.args[0]))):
        yield f"{node.lineno}: `from_select`"
    if name == "insert" and any(ast.unparse(each).endswith("generations") for each in node.args[:1]):
        # New rows need a state. As an argument of `insert_fresh` they get one.
        yield f"{node.lineno}: `insert`"


def _is_state(node: ast.AST | None) -> bool:
    stated = isinstance(node, ast.Constant) and node.value == "state"
    return stated or (isinstance(node, ast.Attribute) and node.attr == "state" and _is_table(node.value))


def _is_table(node: ast.AST) -> bool:
    return ast.unparse(node) in {"g", "r", "_g", "_r", "new", "generations.c", "results.c", "schema.generations.c"}


def _found(path: Path) -> list[str]:
    source = path.read_text(encoding="utf-8")
    inserts = {
        each.args[0].lineno
        for each in ast.walk(ast.parse(source))
        if isinstance(each, ast.Call) and ast.unparse(each.func) == "transitions.insert_fresh"
    }
    return [each for each in writes(source) if not (each.endswith("`insert`") and int(each.split(":")[0]) in inserts)]


def test_no_statement_writes_a_state_but_those_of_the_transitions() -> None:
    """A move that is written by hand would name no state that it expects, and could take a paid row back."""
    modules = [
        path for path in sorted(ROOT.rglob("*.py")) if not path.relative_to(ROOT).as_posix().startswith(EXEMPT)
    ]
    found = {path.relative_to(ROOT).as_posix(): each for path in modules if (each := _found(path))}
    copies = found.pop(COPIED)
    assert len(set(copies)) == 1
    assert found == {}


@pytest.mark.parametrize(
    "source",
    [
        "update(generations).values(state=RowState.PENDING)",
        "update(generations).values({'state': RowState.PENDING})",
        "update(generations).values({g.state: RowState.PENDING})",
        "update(generations).ordered_values(('state', RowState.PENDING))",
        "fresh = dict(state=RowState.PENDING)",
        "fresh = {'rerun_wanted': True, 'state': RowState.PENDING}",
        "values['state'] = RowState.PENDING",
        "insert(generations).values(row)",
        "sqlite.insert(generations).from_select(['batch', 'state'], query)",
        "statement.on_conflict_do_update(set_={'state': new.state})",
        "connection.exec_driver_sql(\"UPDATE generations SET run_id = NULL, state = 'pending'\")",
        "text(f\"UPDATE {table} SET state = 'pending'\")",
    ],
)
def test_every_way_to_write_a_state_is_found(source: str) -> None:
    """The search would see someone do it."""
    assert list(writes(source))


@pytest.mark.parametrize(
    "source",
    [
        "Rendered(batch, key, state=RowState.ERROR)",
        "select(g.state).where(g.state == RowState.PENDING)",
        "update(generations).where(g.state == RowState.QUEUED).values(due_at=now)",
        "MOVE.update(own).values(token=token)",
        '"SELECT count(*) FROM generations WHERE batch = ? AND state = ?"',
    ],
)
def test_what_only_reads_a_state_is_not_taken_for_a_write(source: str) -> None:
    """Reading is everybody's."""
    assert not list(writes(source))
