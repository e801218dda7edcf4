"""`python -m proof`: every crash point of every scenario, then a line of figures.

Exit code 1 where something did not hold, or where a point was passed by no scenario.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from proof.wheel import as_from_a_wheel


def main() -> int:
    """What was asked for on the command line."""
    options = _parser().parse_args()
    for name in [name for name in os.environ if name.upper().startswith("REELBATCH_")]:
        del os.environ[name]
    os.environ.update(MAGIC_HOUR_API_KEY="sandbox", REELBATCH_WEBHOOK_SECRET="proof", COLUMNS="120")  # noqa: S106 - of servers on loopback
    with tempfile.TemporaryDirectory(prefix="reelbatch-proof-") as folder:
        sys.path.insert(0, str(as_from_a_wheel(Path(folder))))  # no Prefect: it would take most of the time
        return _run(options)


def _run(options: argparse.Namespace) -> int:
    from proof.campaign import Campaign, replay, report  # with all of reelbatch

    if options.only:
        return replay(options.only)
    campaign = Campaign(
        databases=tuple(options.databases.split(",")),
        scenarios=tuple(options.scenarios.split(",")) if options.scenarios else (),
        kinds=tuple(options.kinds.split(",")),
        pairs=options.pairs,
        seed=options.seed,
        workers=options.workers,
        strides={name: int(number) for name, _, number in (part.partition("=") for part in options.strides)},
    )
    return report(campaign)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m proof", description=__doc__)
    parser.add_argument("--databases", default="sqlite,postgres", help="sqlite, postgres, or both with a comma")
    parser.add_argument("--scenarios", default="", help="names, with commas; default: all")
    parser.add_argument("--kinds", default="kill", help="kill, ENOSPC, EIO, with commas")
    parser.add_argument("--pairs", type=int, default=0, help="pairs of kills for each scenario and database")
    parser.add_argument("--seed", type=int, default=15, help="draws the pairs")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 2)
    parser.add_argument(
        "--strides", nargs="*", default=[], metavar="NAME=N", help="each n-th point only, of a database or a scenario"
    )
    parser.add_argument("--only", help="one run, as a violation names it: SCENARIO:DATABASE:kill@N")
    return parser


if __name__ == "__main__":
    sys.exit(main())
