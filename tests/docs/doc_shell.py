"""A shell in which a page's commands are typed. `reelbatch` there is the real program.

A start of Python takes longer than most of what the pages show, so each command is forked from a process that
has imported everything. The program is taken as a wheel has it: without flows, so without a Prefect server.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from uuid import uuid4

from proof.wheel import as_from_a_wheel
from waiting import wait_until

HERE = Path(__file__)
_KILLED = 137
_LENGTH = 1 << 20
_CLIENT = """#!/bin/sh
exec {python} -IS -c '
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as asked:
    asked.connect("{address}")
    typed = json.dumps([os.getcwd(), dict(os.environ), sys.argv[1:]]).encode()
    socket.send_fds(asked, [len(typed).to_bytes(4, "big")], [0, 1, 2])
    asked.sendall(typed)
    told = asked.recv(16)
sys.exit(int(told or b"{killed}"))
' "$@"
"""
_SESSION = """
cd {folder}
[ ! -f {kept} ] || . {kept}
set -o pipefail
trap 'code=$?; [ $code -le 1 ] || exit $code' ERR
{typed}
code=$?
{{ export -p; printf 'cd %q\n' "$PWD"; }} > {kept}
exit $code
"""
"""What is exported stays, and the folder; a command that ends with more than 1 ends the block."""


@dataclass(frozen=True, slots=True)
class Typed:
    """What became of a block."""

    code: int
    said: str


@contextmanager
def warm_program(folder: Path) -> Iterator[Path]:
    """The folder of an executable `reelbatch`; all that it started ends with this block."""
    folder.mkdir()
    address = folder / "asked"
    client = folder / "reelbatch"
    text = _CLIENT.format(python=sys.executable, address=address, killed=_KILLED)
    client.write_text(text, encoding="utf-8")
    client.chmod(0o700)
    path = [as_from_a_wheel(folder / "wheel"), HERE.parent, HERE.parents[1], HERE.parents[1] / "support"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
    command = [sys.executable, "-P", "-m", HERE.stem, str(address)]
    with subprocess.Popen(command, env=env, start_new_session=True) as parent:
        try:
            wait_until(lambda: address.exists() or parent.poll() is not None, "the program is imported")
            assert parent.poll() is None, f"it ended with {parent.returncode}"
            yield folder
        finally:
            os.killpg(parent.pid, signal.SIGKILL)


def type_in(folder: Path, typed: str, env: Mapping[str, str]) -> Typed:
    """Type a block in `folder`; what it leaves in the background runs on."""
    said = folder.parent / f"{uuid4().hex}.said"  # one for each: what runs on in the background goes on writing
    script = _SESSION.format(folder=folder, kept=folder.parent / f"{folder.name}.kept", typed=typed)
    with said.open("wb") as output:
        done = subprocess.run(
            ["bash", "-c", script], stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=dict(env), check=False
        )
    return Typed(done.returncode, said.read_text(encoding="utf-8", errors="replace"))


def _serve(address: str) -> NoReturn:
    from proof import warm

    warm.up(Path(address).parent)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{address}.not-yet")
        listener.listen()
        Path(f"{address}.not-yet").rename(address)
        while True:
            asked, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _be_the_command(asked)
            asked.close()
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass


def _be_the_command(asked: socket.socket) -> NoReturn:
    from proof.commands import exit_code_of_main

    length, descriptors, _, _ = socket.recv_fds(asked, 4, 3)
    folder, env, arguments = json.loads(_received(asked, int.from_bytes(length, "big")))
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    sys.argv = ["reelbatch", *arguments]
    code = exit_code_of_main()
    sys.stdout.flush()
    sys.stderr.flush()
    asked.sendall(str(code).encode())
    os._exit(code)


def _received(asked: socket.socket, length: int) -> bytes:
    found = b""
    while len(found) < length and (more := asked.recv(_LENGTH)):
        found += more
    return found


if __name__ == "__main__":
    _serve(sys.argv[1])
