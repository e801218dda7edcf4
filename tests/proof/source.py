"""The program's source: where something is committed, sent or written, and which of these places have a point."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import reelbatch

ROOT = Path(reelbatch.__file__).parent
_OURS = ("reelbatch/sandbox/",)  # the API itself, and no part of what is proven

_TEMPORARY = "a temporary table, which goes with its connection"
_BUCKET = "in a bucket, of which no scenario has one: see tests/integration/cloud"
_PRIVATE = "a private copy, which goes with the process"
# (module, function): how many places there need no point, and why.
WITHOUT: dict[tuple[str, str], tuple[int, str]] = {
    ("cli/app.py", "main"): (1, "to nowhere"),
    ("cli/commands_group.py", "leave_closed_pipe"): (1, "to nowhere"),
    ("cli/commands/review.py", "_ready"): (1, "a file for the browser, which goes with the command"),
    ("client/downloads.py", "streamed"): (1, "called by `download`, which has the points"),
    ("client/httpx_pools.py", "_send"): (1, "through a proxy; client.py has the point of the answer"),
    ("client/plain_questions.py", "ask_plainly"): (1, "of `doctor`: asks whether something answers, and no more"),
    ("client/transport.py", "send"): (1, "our own connections have the points"),
    ("pipeline/export_formats.py", "__init__"): (1, "a CSV for spreadsheets; what writes it has the point"),
    ("pipeline/export.py", "_file"): (1, _BUCKET),
    ("pipeline/export.py", "export_to"): (1, _PRIVATE),
    ("signals.py", "_show_cursor"): (1, "to a terminal"),
    ("failpoints.py", "__init__"): (1, "the record of the points"),
    ("failpoints.py", "passed"): (1, "the record of the points"),
    ("ledger/engine.py", "_on_connect"): (1, "ends the settings of a connection; nothing is written"),
    ("ledger/ledger.py", "_drop_staged"): (1, _TEMPORARY),
    ("ledger/run_history.py", "_write"): (2, "for support; a run goes on without it"),
    ("ledger/staged_manifest.py", "ask"): (1, "reads"),
    ("ledger/staged_manifest.py", "prices"): (1, "reads"),
    ("ledger/staged_manifest.py", "add"): (1, _TEMPORARY),
    ("ledger/staged_manifest.py", "compare"): (1, _TEMPORARY),
    ("ledger/staged_manifest.py", "complete"): (1, _TEMPORARY),
    ("ledger/staged_manifest.py", "create"): (1, _TEMPORARY),
    ("ledger/staged_manifest.py", "merge"): (1, "reads; what it merges is committed by `_transact`"),
    ("storage/files.py", "_copy"): (1, _PRIVATE),
    ("storage/private_files.py", "try_folder"): (1, "a file without a name: whether a folder can be written"),
    ("storage/private_files.py", "placing"): (1, "what `reelbatch init` writes, before there is anything to send"),
    ("storage/private_files.py", "give_name"): (
        2,
        "for `init`; where a list is placed, reconcile_list.py has the points",
    ),
    ("storage/files.py", "put"): (2, _BUCKET),
    ("orchestration/fresh_database.py", "make"): (1, "Prefect's database, before there is anything to send"),
    ("orchestration/prefect_server.py", "temporary_server"): (1, "the log of a server that goes with the process"),
    ("storage/target.py", "_rename"): (1, "called by `place`, which has the points"),
    ("storage/target.py", "_sync"): (1, "opened to be synced; nothing is written"),
    ("storage/target.py", "prepare"): (1, _BUCKET),
    ("settle/downloads.py", "_open"): (1, "called by `transfer`, which has the point"),
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is committed, sent or written."""

    module: str
    function: str
    line: int
    what: str
    has_point: bool  # one of its own before it, in the same function

    def __str__(self) -> str:
        return f"{self.module}:{self.line}: {self.what} in `{self.function}`"


def modules() -> Iterator[Path]:
    """All that is looked at."""
    for path in sorted(ROOT.rglob("*.py")):
        if not path.relative_to(ROOT.parent).as_posix().startswith(_OURS):
            yield path


def points() -> list[str]:
    """The names of all points in the source, each as often as it stands there."""
    return [name for path in modules() for name, _ in _points(ast.parse(path.read_text(encoding="utf-8")))]


def places(source: str, module: str) -> list[Place]:
    """What `source` commits, sends and writes."""
    return [
        place
        for function in ast.walk(ast.parse(source))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for place in _of_function(function, module)
    ]


def without_point() -> dict[tuple[str, str], list[Place]]:
    """All places of the program that have no point, by module and function."""
    found: dict[tuple[str, str], list[Place]] = {}
    for path in modules():
        for place in places(path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix()):
            if not place.has_point:
                found.setdefault((place.module, place.function), []).append(place)
    return found


def _of_function(function: ast.FunctionDef | ast.AsyncFunctionDef, module: str) -> Iterator[Place]:
    lines = sorted(line for _, line in _points(function))
    found = [(node, what) for node in _own(function) if isinstance(node, ast.Call) and (what := _what(node))]
    for node, what in sorted(found, key=lambda each: each[0].lineno):
        # A transaction is committed where its block ends: its point is within.
        end = function.end_lineno if what == "begin" else node.lineno
        own = next((line for line in lines if line <= (end or 0)), None)
        if own is not None:
            lines.remove(own)
        yield Place(module, function.name, node.lineno, what, has_point=own is not None)


def _own(function: ast.AST) -> Iterator[ast.AST]:
    """The function's nodes, without those of functions within it."""
    for node in ast.iter_child_nodes(function):
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _own(node)


def _points(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "point":
            (name,) = node.args
            assert isinstance(name, ast.Constant)
            yield str(name.value), node.lineno


_ALWAYS = {
    "commit",
    "fsync",
    "fdatasync",
    "ftruncate",
    "hardlink_to",
    "link",
    "symlink_to",
    "touch",
    "truncate",
    "write_bytes",
    "write_text",
    "NamedTemporaryFile",
    "TemporaryFile",
    "mkstemp",
    "ParquetWriter",
    "CSVWriter",
}
_MODES = ("w", "a", "x", "+")
_SENDERS = {"transport", "client"}
_SENDING = {"write", "stream", "request", "send", "handle_async_request"}


def _what(call: ast.Call) -> str | None:
    """What a call does, where that is something that a crash may come before or after."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    owner = ast.unparse(call.func.value) if isinstance(call.func, ast.Attribute) else ""
    path_like = len(call.args) == 1 and not call.keywords and "dataclasses" not in owner  # text.replace takes two
    kinds = {
        name: name in _ALWAYS,
        "begin": name == "begin" and "connection" in owner.lower(),
        "rename": name == "rename" or (name == "replace" and bool(owner) and (owner == "os" or path_like)),
        "send": name in _SENDING and owner.rpartition(".")[2].strip("_") in _SENDERS,
        "write": owner == "os" and name == "write",
        "put": owner == "files" and name == "put_file",
        "open": name == "open" and _writes(call, is_path=bool(owner) and owner != "os"),
    }
    return next((what for what, is_so in kinds.items() if is_so), None)


def _writes(call: ast.Call, *, is_path: bool) -> bool:
    stated = " ".join(ast.unparse(argument) for argument in call.args[0 if is_path else 1 :])
    stated += " ".join(ast.unparse(word.value) for word in call.keywords if word.arg == "mode")
    if "O_" in stated:
        return any(flag in stated for flag in ("O_WRONLY", "O_RDWR", "O_CREAT"))
    modes = [part for part in stated.replace('"', "'").split("'")[1::2] if set(part) <= set("rwaxbt+")]
    return any(sign in mode for mode in modes for sign in _MODES)
