"""Processes of the program without a start of Python: forked from one that has imported it, and real in all else.

A start takes a second of processor time, and its end nearly as long as what is looked at; a fork takes a twentieth.
What is forked has its own id, session, environment and streams, runs what a wheel has, and can be killed. Only what
the system keeps of a start, its command line and the environment in `/proc`, is that of the process it was forked
from; and what is read before the first import (`-X`, `PYTHONIOENCODING`) has no effect. Tests of that start Python.
"""

from __future__ import annotations

import atexit
import fcntl
import json
import os
import runpy
import socket
import subprocess
import sys
import tempfile
import termios
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from inspect import signature
from pathlib import Path
from subprocess import DEVNULL, PIPE, CompletedProcess, TimeoutExpired
from typing import Any

from proof.wheel import as_from_a_wheel

from reelbatch import failpoints

__all__ = ["DEVNULL", "PIPE", "Popen", "TimeoutExpired", "run"]

_HERE = Path(__file__).parent
_POLL_S = 0.01
_LENGTH = 1 << 16


class Popen(subprocess.Popen[Any]):
    """`subprocess.Popen` for `[sys.executable, "-m", module, …]` and `[sys.executable, "-c", code, …]`."""

    def _execute_child(self, *stated: Any) -> None:
        by_name = signature(super()._execute_child).bind(*stated).arguments  # type: ignore[misc]  # private
        python, *arguments = map(str, by_name["args"])
        assert python == sys.executable, python
        env, folder = by_name["env"], by_name["cwd"]
        asked = {"arguments": arguments, "env": dict(os.environ if env is None else env)}
        pipes = ("p2cread", "c2pwrite", "errwrite")
        theirs = [number if by_name[pipe] == -1 else by_name[pipe] for number, pipe in enumerate(pipes)]
        self.pid = _parent().ask({**asked, "cwd": str(folder or Path.cwd())}, theirs)
        self._child_created = True
        of_both = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        self._close_pipe_fds(*(by_name[pipe] for pipe in of_both))  # type: ignore[attr-defined]  # private

    def _internal_poll(self, *_: Any, **__: Any) -> int | None:
        if self.returncode is None:
            self.returncode = _parent().ask({"ended": self.pid})
        return self.returncode

    def _wait(self, timeout: float | None) -> int:
        deadline = time.monotonic() + timeout if timeout is not None else None
        while (code := self._internal_poll()) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutExpired(self.args, timeout or 0)
            time.sleep(_POLL_S)
        return code


def run(
    command: Sequence[str], *, timeout: float | None = None, check: bool = False, **streams: Any
) -> CompletedProcess[Any]:
    """`subprocess.run`."""
    if streams.pop("capture_output", False):
        streams |= {"stdout": PIPE, "stderr": PIPE}
    with Popen(command, **streams) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
    done = CompletedProcess(command, process.returncode, out, err)
    if check:
        done.check_returncode()
    return done


class _Parent:
    """The process that has imported everything; it ends with this one, whose end of the socket it watches."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        self._one_at_a_time = threading.Lock()
        folder = Path(tempfile.mkdtemp(prefix="forked-"))
        path = os.pathsep.join(map(str, (as_from_a_wheel(folder / "wheel"), _HERE.parent, _HERE)))
        with theirs:
            command = [sys.executable, "-P", "-m", Path(__file__).stem, str(theirs.fileno()), str(folder)]
            env = {**os.environ, "PYTHONPATH": path}
            self._process = subprocess.Popen(command, env=env, pass_fds=[theirs.fileno()], start_new_session=True)
        atexit.register(self._end)

    def _end(self) -> None:
        self._socket.close()
        self._process.wait()

    def ask(self, question: dict[str, Any], descriptors: Sequence[int] = ()) -> Any:
        """One question, one answer."""
        text = json.dumps(question).encode()
        with self._one_at_a_time:
            socket.send_fds(self._socket, [len(text).to_bytes(4, "big")], descriptors)
            self._socket.sendall(text)
            return json.loads(self._socket.recv(_LENGTH))


@cache
def _parent() -> _Parent:
    return _Parent()


def _serve(asked: socket.socket) -> dict[str, Any]:
    """In the parent, until no one can ask any more. In each child it returns what that is to be."""
    while True:
        size, descriptors, _, _ = socket.recv_fds(asked, 4, 3)
        if not size:
            os._exit(0)
        text = asked.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL)
        question: dict[str, Any] = json.loads(text)
        if "ended" in question:
            pid, status = os.waitpid(question["ended"], os.WNOHANG)
            asked.sendall(json.dumps(os.waitstatus_to_exitcode(status) if pid else None).encode())
        elif pid := os.fork():
            asked.sendall(json.dumps(pid).encode())
            for descriptor in descriptors:
                os.close(descriptor)
        else:
            asked.close()
            _take(descriptors)
            return question


def _take(descriptors: Sequence[int]) -> None:
    """A session of its own, whose terminal is the one that standard input may be."""
    os.setsid()
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    with suppress(OSError):
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = sys.__stdout__ = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.__stderr__ = os.fdopen(2, "w", 1, "utf-8", "backslashreplace", closefd=False)


def _become(env: dict[str, str], cwd: str, arguments: list[str]) -> None:
    """Run it as Python would, but for the end: to take down all that is imported costs ten times a sandbox."""
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    tempfile.tempdir = None
    sys.path[:0] = [*([] if "-P" in arguments else [cwd]), *filter(None, env.get("PYTHONPATH", "").split(os.pathsep))]
    failpoints.arm(env.get(failpoints.VARIABLE))
    code = 1
    try:
        code = _exit_code(*(argument for argument in arguments if argument != "-P"))
    finally:
        threading._shutdown()  # type: ignore[attr-defined]  # as Python ends
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def _exit_code(how: str, what: str, *arguments: str) -> int:
    sys.argv = [what if how == "-m" else how, *arguments]
    try:
        if how == "-m":
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        else:
            assert how == "-c", how
            exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102 - as it does
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - Python shows it, and ends so
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    from proof import warm

    warm.up(Path(sys.argv[2]))
    sys.path[:] = [entry for entry in sys.path if Path(entry) not in (_HERE, _HERE.parent)]
    _become(**_serve(socket.socket(fileno=int(sys.argv[1]))))
