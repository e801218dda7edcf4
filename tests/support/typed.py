"""Looks commands up in the parsers of their programs, without running them."""

from __future__ import annotations

import importlib.util
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import typer
import yaml

from reelbatch.cli.app import app

ROOT = Path(__file__).parents[2]
ELSEWHERE = {
    "cd", "createdb", "createuser", "curl", "head", "less", "openssl", "printf", "pre-commit", "sed", "py-spy", "uv",
}  # fmt: skip
"""Programs that are not ours to look up."""
_SEPARATORS = set("&|;<>()\n")
_ASIDE = "cd"  # the name of a file, to which output goes, is no program
_COMMENT = re.compile(r"(^|\s)# .*$|\\\n", re.MULTILINE)
_ASSIGNED = re.compile(r"\w+=.*", re.DOTALL)
_SUBSTITUTED = re.compile(r"\$\((.*)\)", re.DOTALL)
_PLACEHOLDERS = {"N": "1"}
_UUIDS = dict.fromkeys(["ID", "SCHEDULE-ID"], "00000000-0000-0000-0000-000000000000")


def problems(line: str) -> list[str]:
    """What the programs' own parsers say against the commands of a line, or of several."""
    return [f"{shlex.join(words)}: {wrong}" for words in _commands(line) if (wrong := _problem(words))]


def _commands(typed: str) -> Iterator[list[str]]:
    for found in _SUBSTITUTED.findall(typed):
        yield from _commands(found)
    lexer = shlex.shlex(_COMMENT.sub("", _SUBSTITUTED.sub("…", typed)), posix=True, punctuation_chars="&|;<>()\n")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t", True, ""
    words: list[str] = []
    for word in [*lexer, ";"]:
        if not set(word) <= _SEPARATORS:
            words.append(word)
            continue
        if words and (stated := _without_assignments(words)):
            yield stated
        words = [_ASIDE] if set(word) <= {"<", ">"} else []


def _without_assignments(words: list[str]) -> list[str]:
    if words[:1] == ["export"]:
        return []
    while words and _ASSIGNED.fullmatch(words[0]):
        words = words[1:]
    return words


def _problem(words: list[str]) -> str:
    program, *arguments = words
    look = _PROGRAMS.get(program.rpartition("/")[2])
    if look is None:
        return "" if program in ELSEWHERE else "no program that is known here"
    return look(arguments)


def _reelbatch(arguments: list[str]) -> str:
    stated = [_PLACEHOLDERS.get(argument, argument) for argument in arguments]
    try:
        context = _group().make_context("reelbatch", stated)
        name, command, rest = _group().resolve_command(context, [*context._protected_args, *context.args])
        assert command
        command.make_context(name, rest)
    except (typer.Exit, SystemExit):  # --help, --version
        return ""
    except Exception as error:  # not every version of Typer has made its own class of them public
        if not hasattr(error, "format_message"):
            raise
        return str(error.format_message())
    return ""


@cache
def _group() -> Any:
    return typer.main.get_command(app)


def _prefect(arguments: list[str]) -> str:
    import cyclopts
    from prefect.cli._app import _app  # `prefect` is a call of it, with what stands on the command line

    words = [_UUIDS.get(word, word) for word in arguments if word != "--no-prompt"]
    try:
        _app.parse_args(words, exit_on_error=False, print_error=False)
    except cyclopts.CycloptsError as error:
        return str(error)
    return ""


def _make(arguments: list[str]) -> str:
    targets = set(re.findall(r"^([\w -]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    known = {target for line in targets for target in line.split()}
    return ", ".join(word for word in arguments if not _ASSIGNED.fullmatch(word) and word not in known)


def _pip(arguments: list[str]) -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = re.findall(r"\[([\w,]+)\]", " ".join(word for word in arguments if word.startswith(("reelbatch", "."))))
    extras = [name for names in asked for name in names.split(",")]
    return ", ".join(name for name in extras if name not in project["optional-dependencies"])


def _python(arguments: list[str]) -> str:
    how, what = arguments[0], arguments[-1] if len(arguments) == 1 else arguments[1]
    if how == "-c":
        compile(what, "-c", "exec")
        return ""
    paths = [what.replace(".", "/")] if how == "-m" else [what]
    if what == "pytest":
        paths = [word.partition("::")[0] for word in arguments if word.startswith("tests/")]
    elif how == "-m" and importlib.util.find_spec(what.partition(".")[0]):
        return ""
    return ", ".join(f"no {path}" for path in paths if not ((ROOT / path).exists() or (ROOT / f"{path}.py").exists()))


def _docker(arguments: list[str]) -> str:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    scaled = re.findall(r"--scale (\w+)=", " ".join(arguments))
    return ", ".join(name for name in scaled if name not in services)


_PROGRAMS: dict[str, Callable[[list[str]], str]] = {
    "reelbatch": _reelbatch,
    "prefect": _prefect,
    "make": _make,
    "pip": _pip,
    "python": _python,
    "docker": _docker,
}
