"""What the command line lets through to a terminal, byte by byte, of what others have written."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from commands import run_here
from sqlalchemy import update
from terminal import WAIT_S, environment, typed

from reelbatch.domain import Batch, RunId, Token
from reelbatch.ledger import Ledger, attempts, claims, utc_now
from reelbatch.ledger.admission import Intent
from reelbatch.ledger.attempts import Answer, Ending
from reelbatch.ledger.claims import Claim
from reelbatch.ledger.intents import record_intents
from reelbatch.ledger.schema import generations
from reelbatch.ledger.selection import Scope
from reelbatch.pipeline.load_manifest import load
from reelbatch.pipeline.plan import GenerateOptions
from reelbatch.settings import load_settings

CLEAR = "\x1b[2J\x1b[1;1H"
LINK = "\x1b]8;;https://evil.example\x07here\x1b]8;;\x07"
ACTING = f"{CLEAR}{LINK}\x9b31m\x85\x7f\b\b\r"
TURNING = "\u202egnp.exe\u202c\u2066x\u2069\u200f\u2028"
MARKUP = "[red]not red[/red] [link=https://evil.example]x[/link] :smile:"
PLAIN = "見本 \N{WOMAN}\N{ZERO WIDTH JOINER}\N{PERSONAL COMPUTER} é \\n"  # to be read, and to be left alone
EVIL = f"{PLAIN}{ACTING}{TURNING}{MARKUP}\nError: forged"
BATCH = Batch(f"b{CLEAR}\x07\x9b31m\r\b{TURNING}見本[red] \n Error")  # what a file's name may not hold left out

Run = Callable[..., bytes]


def _environment(folder: Path) -> dict[str, str]:
    return environment(folder, COLUMNS="4000")


def piped(folder: Path, *arguments: str) -> bytes:
    """A command whose output no one sees as it comes: standard output, then standard error."""
    ran = run_here(folder, *arguments, MAGIC_HOUR_API_KEY="of-no one", COLUMNS="4000")
    return ran.stdout + ran.stderr


def at_terminal(folder: Path, *arguments: str) -> bytes:
    """The same at a terminal, which is given every byte of both."""
    return typed(folder, _environment(folder), *arguments)[1]


BOTH = pytest.mark.parametrize("run", [piped, at_terminal], ids=["pipe", "terminal"])


def acting(shown: bytes) -> set[str]:
    """What is in it that acts on a terminal, but for the styles that we set and the ends of lines."""
    text = re.sub(r"\x1b\[[\d;]*m", "", shown.decode()).replace("\r\n", "\n")
    return set(re.findall("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]", text))


def _forged(shown: bytes) -> list[str]:
    lines = re.sub(r"\x1b\[[\d;]*m", "", shown.decode()).splitlines()
    return [line for line in lines if line.strip().startswith("Error: forged")]


def checked(shown: bytes, *seen: str) -> str:
    """What a command showed, once it is known that nothing in it acts and that `seen` can be read."""
    assert acting(shown) == set()
    assert _forged(shown) == []
    text = re.sub(r"\x1b\[[\d;]*m", "", shown.decode())
    for part in seen:
        assert part in text
    return text


def _manifest(folder: Path, rows: Sequence[Sequence[str]], name: str = f"s{CLEAR}\u202e見本.csv") -> Path:
    path = folder / name
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("row_key", "image_path", "prompt", "end_seconds", "model"), *rows])
    return path


def _execute(change: Any, connection: Any) -> None:
    connection.execute(change)


SPELT = r"\x1b[2J\x1b[1;1H\x1b]8;;https://evil.example\x07here\x1b]8;;\x07\x9b31m\x85\x7f\x08\x08\r"
TURNED = r"\u202egnp.exe\u202c\u2066x\u2069\u200f\u2028"


@pytest.fixture
def table(tmp_path: Path) -> str:
    """A table whose rows have such keys, batch, messages and paths in every state that commands tell of."""
    url = f"sqlite:///{tmp_path}/r.db"
    rows = [(str(n), f"https://img.example/{n}.png", "p", "2", "ltx-2.3") for n in range(1, 4)]
    manifest = _manifest(tmp_path, rows)
    with Ledger(url) as ledger:
        options = GenerateOptions(source=str(manifest), batch=BATCH)
        load(options, load_settings(options={"results": url}), ledger)
        for number in range(1, 4):  # as earlier versions took them; today's refuses such keys
            own = {"row_key": f"{number}{EVIL}", "prompt": EVIL}
            change = update(generations).where(generations.c.row_number == number).values(**own)
            ledger.change(partial(_execute, change))
        done = {"state": "complete", "video_id": f"v{EVIL}", "video_path": f"p{EVIL}"}
        failed = {"state": "rejected", "error_code": f"c{EVIL}", "error_message": f"m{EVIL}"}
        for number, values in ((1, done), (2, failed)):
            change = update(generations).where(generations.c.row_number == number).values(**values)
            ledger.change(partial(_execute, change))
        claim = Claim(Scope(BATCH, RunId("run-1"), rerun=False), (3, 3), 1)
        ((row,),) = ledger.change(lambda connection: claims.claim(connection, [claim]))
        token = Token("rb_0123456789abcdef0123")
        intent = Intent(row, RunId("run-1"), token, utc_now(), None)
        ledger.change(lambda connection: record_intents(connection, [intent]))
        known = {"batch": BATCH, "row_key": row.row_key, "generation": 1, "run_id": RunId("run-1"), "token": token}
        lost = Answer(**known, at=utc_now(), ending=Ending.IN_DOUBT, reserved=1, message=f"m{EVIL}")
        ledger.change(lambda connection: attempts.record_answers(connection, [lost]))
    return url


@pytest.mark.parametrize(
    ("run", "arguments"),
    [
        (at_terminal, ("status", "--rows", "9")),
        (piped, ("status", "--rows", "9", "--credits")),
        (piped, ("status", "--batch", f"no{EVIL}")),
        (piped, ("rerun", "--dry-run")),
        (at_terminal, ("reconcile",)),
        (piped, ("reconcile", "--row", f"none{EVIL}", "--not-created", "--now")),
        (piped, ("export", f"e{EVIL}.csv".replace("/", ""))),
        (piped, ("export", f"e{EVIL}.doc")),
    ],
    ids=lambda argument: argument[0] if isinstance(argument, tuple) else argument.__name__,
)
def test_what_a_table_holds_does_not_act_on_a_terminal(
    run: Run, arguments: tuple[str, ...], table: str, tmp_path: Path
) -> None:
    """Keys, batches, messages of the API, ids and paths: spelt out, and everything else of them is left."""
    checked(run(tmp_path, *arguments, "--results", table), r"\x1b[2J", r"\u202e", "見本", "[red]")


@BOTH
def test_nothing_is_left_out_of_what_is_spelt_out(run: Run, table: str, tmp_path: Path) -> None:
    """What acts is spelt out, the rest is as it was, and none of it is our markup."""
    shown = run(tmp_path, "rerun", "--rows", f"none{EVIL}", "--results", table)
    checked(shown, f"none{PLAIN}{SPELT}{TURNED}{MARKUP}\\nError: forged")


@BOTH
def test_a_manifests_mistakes_do_not_act_on_a_terminal(run: Run, tmp_path: Path) -> None:
    """Values, keys and the file's own name; also where one key names two rows, which is an error of many lines."""
    wrong = _manifest(tmp_path, [(f"a{EVIL}", f"no{EVIL}", EVIL, f"9{EVIL}", f"m{EVIL}")])
    checked(run(tmp_path, "plan", wrong.name), r"s\x1b[2J", "\\u202e見本.csv", r"\nError: forged")
    same = _manifest(tmp_path, [(f"a{CLEAR}{LINK}{MARKUP}", "https://img.example/1.png", "p", "2", "ltx-2.3")] * 2)
    checked(
        run(tmp_path, "plan", same.name), "the same key names more than one row", r"a\x1b[2J\x1b[1;1H\x1b]8;;https"
    )


@pytest.mark.parametrize(
    ("run", "arguments"),
    [
        (piped, ("plan", f"none{EVIL}.csv")),
        (piped, ("status", "--results", f"sqlite:///none{EVIL}.db")),
        (at_terminal, ("status", "--results", f"mysql://none{EVIL}")),
        (piped, ("status", f"--{EVIL}")),
        (at_terminal, (f"status{EVIL}",)),
        (piped, (f"--{EVIL}",)),
        (piped, ("sandbox", "--fault", f"x{EVIL}")),
        (piped, ("sandbox", "--config", f"none{EVIL}.yaml")),
    ],
    ids=lambda argument: argument[0][:7] if isinstance(argument, tuple) else argument.__name__,
)
def test_what_was_typed_does_not_act_on_a_terminal(run: Run, arguments: tuple[str, ...], tmp_path: Path) -> None:
    """A script passes on names that others chose."""
    checked(run(tmp_path, *arguments), r"\x1b[2J")


def test_a_found_config_file_does_not_act_on_a_terminal(tmp_path: Path) -> None:
    """Its folder's name, what it states, and the names of settings that do not exist."""
    folder = tmp_path / f"f{CLEAR}"
    folder.mkdir()
    (folder / "reelbatch.yaml").write_text('results: "sqlite:///t\\e[2J.db"\n')
    checked(piped(folder, "status"), r"Settings from ", r"f\x1b[2J", r"t\x1b[2J.db")
    (folder / "reelbatch.yaml").write_text('"no\\e[2J\\nError: forged": 1\n')
    checked(piped(folder, "status"), r"no\x1b[2J\nError: forged: there is no such setting")


def test_json_escapes_what_acts_and_means_the_same(table: str, tmp_path: Path) -> None:
    """It is shown on terminals too; the one who parses it gets what the table holds."""
    shown = piped(tmp_path, "reconcile", "--json", "--results", table)
    assert acting(shown.replace(b"\n", b"")) == set()
    (doubt,) = json.loads(shown)["in_doubt"]
    assert (doubt["batch"], doubt["prompt"]) == (BATCH, EVIL)
    assert "見本" in shown.decode()


def test_a_name_that_is_no_text_is_shown(tmp_path: Path) -> None:
    """A file's name of bytes that are no UTF-8, in the message that refuses it."""
    name = b"caf\xe9.csv"
    (tmp_path / os.fsdecode(name)).write_text("row_key,image_path,prompt\na,https://img.example/1.png,Pan\n")
    for options in ([], ["--json", "--batch", "b"]):
        checked(piped(tmp_path, "plan", *options, os.fsdecode(name)), r"caf\udce9")


def test_a_terminal_that_lacks_letters_gets_their_numbers(table: str, tmp_path: Path) -> None:
    """A log on an old machine: no traceback in place of the rows."""
    command = [sys.executable, "-m", "reelbatch", "status", "--rows", "9", "--results", table]
    env = {**_environment(tmp_path), "PYTHONIOENCODING": "ascii"}
    shown = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, timeout=WAIT_S, check=False)
    assert (shown.returncode, shown.stderr) == (0, b"")
    assert rb"\u898b\u672c" in shown.stdout
