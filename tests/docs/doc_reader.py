"""A reader who types what a page says, block after block, in a folder that is a fresh clone for this purpose."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from doc_blocks import ROOT, Block
from doc_output import missing, unknown_keys
from doc_shell import Typed, type_in
from waiting import wait_until

from reelbatch.sandbox import RunningSandbox

CLONED = ("Makefile", "configs", "data", "prefect.yaml")
SHELL = {"sh", "console"}
FILES = {"csv", "yaml", "text"}
RUN = SHELL | {"python"}
_FILLED = {
    "MAGIC_HOUR_API_KEY": "sandbox",
    "REELBATCH_WEBHOOK_SECRET": "whsec-of-the-reader",
}
"""What a page writes as `…`, since it is the reader's own."""
_SWIFT = '{"render_video": false}'
"""Drawing videos takes more time than all that the pages are about."""
_PORT = re.compile(r"(?<=[ :'])(8\d{3})\b")
_SANDBOX = """#!/bin/sh
exec {python} -IS -c '
import json, os, sys, urllib.request
url = os.environ["REELBATCH_BASE_URL"] + "/sandbox/" + sys.argv[1]
local = urllib.request.build_opener(urllib.request.ProxyHandler({{}}))
with local.open(url, *map(str.encode, sys.argv[3:])) as answer:
    charges = json.load(answer).get("charges", [])
print(*[charge["video_id"] for charge in charges if charge["row"] == sys.argv[2]][-1:])
' "$@"
"""
"""`sandbox books NAME` prints the id of the last video of this name, `sandbox faults - JSON` sets faults."""
_MAKE = """#!/bin/sh
exec {make} --no-print-directory -o install BIN={program} "$@"
"""
"""What is installed is not installed again, and the program is that of the tests."""


class Reader:
    """Reads one page."""

    def __init__(self, folder: Path, program: Path, sandbox: RunningSandbox) -> None:
        self.folder = folder
        self._ports: dict[str, str] = {}
        self._said = ""
        self._names: dict[str, Any] = {"__name__": "__main__"}
        self._env = _environment(folder, program, sandbox)
        folder.mkdir()
        for name in CLONED:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, folder / name)
        (folder / ".venv" / "bin").mkdir(parents=True)
        (folder / ".venv" / "bin" / "activate").touch()

    def read(self, block: Block) -> list[str]:
        """Do what a block says; what is not as the page says."""
        if before := block.marks.get("before"):
            done = self._type(before)
            assert done.code in {0, 1}, f"before {block.place}: {done.said}"
        if name := block.marks.get("saved as"):
            return self._save(block, name)
        if block.language == "python":
            return self._python(block)
        if block.language in SHELL:
            return self._commands(block)
        if printed_by := block.marks.get("printed by"):
            self._said = self._type(printed_by).said
        elif block.language in {"yaml", "csv"}:
            return []
        if block.language == "json":
            return unknown_keys(block.body, self._said)
        return self._not_printed("", block.body)

    def _save(self, block: Block, name: str) -> list[str]:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(self._ours(block.body), encoding="utf-8")
        return []

    def _commands(self, block: Block) -> list[str]:
        body, wrong = block.body, []
        for here in block.marks.get("here", "").splitlines():
            word, _, command = here.partition(":")
            body = body.replace(word.strip(), self._type(command).said.strip())
        for typed, shown in sessions(block.language, body):
            done = self._type(typed)
            self._said = done.said
            wanted = {int(block.marks["ends with"])} if "ends with" in block.marks else {0, 1}
            if done.code not in wanted:
                wrong.append(f"{typed}: exit code {done.code}\n{done.said}")
            else:
                wrong += self._not_printed(typed, shown)
        return wrong

    def _not_printed(self, typed: str, shown: str) -> list[str]:
        lines = missing(self._ours(shown), self._said)
        return ["\n".join([typed, "shown and not printed:", *lines, "printed:", self._said])] if lines else []

    def _type(self, typed: str) -> Typed:
        typed = self._ours(typed)
        done = type_in(self.folder, typed, self._env)
        for port in re.findall(r"reelbatch (?:sandbox|webhook).*--port (\d+).*&", typed):
            wait_until(lambda port=port: _listens(int(port)), f"port {port} of: {typed}")
        return done

    def _ours(self, text: str) -> str:
        """With a free port for each that the page names, and the reader's own secrets."""
        for name, value in _FILLED.items():
            text = text.replace(f"{name}=…", f"{name}={value}")
        return _PORT.sub(lambda port: self._ports.setdefault(port[1], str(_free_port())), text)

    def _python(self, block: Block) -> list[str]:
        told = io.StringIO()
        with _as_a_reader(self.folder, self._env), contextlib.redirect_stdout(told):
            exec(compile(self._ours(block.body), block.place, "exec"), self._names)  # noqa: S102 - what is under test
        shown = re.findall(r"^ *print\(.*\) +# (.*)$|^# (.*)$", block.body, re.MULTILINE)
        return missing("\n".join("".join(each) for each in shown), told.getvalue())


def sessions(language: str, body: str) -> Iterator[tuple[str, str]]:
    """What is typed, and what is shown after it; all of a block without prompts is typed."""
    if language == "sh":
        yield body, ""
        return
    first, *rest = re.split(r"^\$ ", body, flags=re.MULTILINE)
    assert not first, f"a console's first line is a command: {first}"
    for each in rest:
        typed, _, shown = each.partition("\n")
        yield typed, shown


def _environment(folder: Path, program: Path, sandbox: RunningSandbox) -> dict[str, str]:
    for name, text in {"sandbox": _SANDBOX, "make": _MAKE}.items():
        (program / name).write_text(text.format(python=sys.executable, make=shutil.which("make"), program=program))
        (program / name).chmod(0o700)
    path = [str(program), str(Path(sys.executable).parent), *os.environ["PATH"].split(os.pathsep)]
    kept = {name: os.environ[name] for name in ("SSL_CERT_FILE", "TMPDIR") if name in os.environ}
    ours = {"REELBATCH_BASE_URL": sandbox.url, "MAGIC_HOUR_API_KEY": sandbox.key}
    ours |= {"REELBATCH_WEBHOOK_SECRET": _FILLED["REELBATCH_WEBHOOK_SECRET"], "REELBATCH_SANDBOX": _SWIFT}
    return {**kept, **ours, "PATH": os.pathsep.join(path), "HOME": str(folder), "COLUMNS": "160", "LC_ALL": "C.UTF-8"}


@contextmanager
def _as_a_reader(folder: Path, env: Mapping[str, str]) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, value in env.items():
            patch.setenv(name, value)
        yield


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


def _listens(port: int) -> bool:
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) == 0
