"""`python -m reelbatch.sandbox`: the sandbox as a process of its own."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reelbatch.errors import SandboxInUse, SettingsError
from reelbatch.printable import printable
from reelbatch.sandbox.config import SandboxConfig, build_config, load_config

_OPTIONS = ("host", "port", "key", "data", "balance", "latency_ms", "plan", "queue_seconds", "render_seconds")


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until stopped; 0, or 2 where the settings can't be used."""
    options = _parser().parse_args(argv)
    before = os.umask(0o077)  # books, uploads and videos are for no one else; the process does nothing but this
    try:
        _serve(_config(options), stop_with_stdin=options.stop_with_stdin)
    except SettingsError as error:
        _tell(error, to_starter=options.stop_with_stdin)
        return 2
    except KeyboardInterrupt:  # before the server took the signal over
        return 0
    finally:
        os.umask(before)
    return 0


def _tell(error: SettingsError, *, to_starter: bool) -> None:
    if to_starter:  # in place of the line that it waits for; it knows what to do about it
        print(json.dumps({"error": str(error), "in_use": isinstance(error, SandboxInUse)}))  # noqa: T201 - as above
    else:
        print(printable(f"sandbox: {error}"), file=sys.stderr)  # noqa: T201 - the command's own output


def _serve(config: SandboxConfig, *, stop_with_stdin: bool) -> None:
    from reelbatch.sandbox.server import serve  # a wrong setting is told without loading a server

    def on_ready(url: str) -> None:
        ready = {"url": url, "key": config.key, "data": str(config.data.resolve()) if config.data else None}
        print(json.dumps(ready), flush=True)  # noqa: T201 - the one line that the one who started it waits for

    serve(config, on_ready, stop_with_stdin=stop_with_stdin)


def _config(options: argparse.Namespace) -> SandboxConfig:
    stated = {name: value for name in _OPTIONS if (value := getattr(options, name)) is not None}
    config = load_config(options.config, **stated)
    if options.seed is None and not options.fault:
        return config
    return build_config(_with_faults(config, options))


def _with_faults(config: SandboxConfig, options: argparse.Namespace) -> dict[str, Any]:
    values = config.model_dump()
    values["faults"]["share"].update(_share(text) for text in options.fault)
    if options.seed is not None:
        values["seed"] = values["faults"]["seed"] = options.seed
    return values


def _share(text: str) -> tuple[str, str]:
    kind, equals, share = text.partition("=")
    if not equals:
        raise SettingsError(f"--fault {text}: write KIND=SHARE, for example rate_limited=0.1")
    return kind, share


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m reelbatch.sandbox",
        description="A local image-to-video API. Prints one JSON line with its URL once it listens.",
    )
    add = parser.add_argument
    add("--host", help="loopback address to listen on (default 127.0.0.1)")
    add("--port", type=int, help="port to listen on; 0 for a free one (default)")
    add("--config", type=Path, metavar="FILE", help="YAML file with a `sandbox:` section")
    add("--key", help='the API key that it accepts (default "sandbox")')
    add("--data", type=Path, metavar="DIR", help="keep books, uploads and videos here over restarts")
    add("--balance", type=int, metavar="CREDITS", help="credits of the account")
    add("--plan", help="plan of the account: free, creator, pro or business")
    add("--latency-ms", type=float, metavar="MS", help="how long a create takes")
    add("--queue-seconds", type=float, metavar="S", help="how long a video stays queued")
    add("--render-seconds", type=float, metavar="S", help="how long a video renders")
    add("--fault", action="append", default=[], metavar="KIND=SHARE", help="let this share of calls fail so")
    add("--seed", type=int, help="draws the faults and the failed renders")
    add("--stop-with-stdin", action="store_true", help="stop when standard input ends")
    return parser


if __name__ == "__main__":
    sys.exit(main())
