"""Remove one guard at a time from a copy of the code, and show which test notices.

`make mutants` runs all; `python tests/support/mutation.py 07 lease` runs those whose names contain these words. Each
patch in tests/mutants says which guard it removes and which tests have to notice. A mutant that survives is a missing
test.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIMIT_S = 60.0
_TREE = ("reelbatch", "flows", "tasks", "configs", "data", "tests", "pyproject.toml", "prefect.yaml")
_FAILED = re.compile(r"^FAILED (\S+)", re.MULTILINE)
_TESTS_FAILED = 1  # pytest's exit code; others mean that it could not run them


@dataclass(frozen=True, slots=True)
class Mutant:
    """One guard removed. `tests`: files or node ids, from the root."""

    patch: Path
    guard: str
    tests: tuple[str, ...]

    @property
    def name(self) -> str:
        """The patch's name without its ending."""
        return self.patch.stem


@dataclass(frozen=True, slots=True)
class Verdict:
    """`caught_by`: the test that failed; None where none did, and `trouble` says what else went wrong."""

    caught_by: str | None
    seconds: float
    trouble: str = ""


def read(patch: Path) -> Mutant:
    """The mutant that `patch` describes in the lines before its first hunk."""
    head = patch.read_text().partition("\n--- ")[0].splitlines()
    stated = [line.partition(": ") for line in head if line]
    guards = [value for name, _, value in stated if name == "Guard"]
    return Mutant(patch, guards[0], tuple(value for name, _, value in stated if name == "Test"))


def mutants() -> list[Mutant]:
    """All of them, in the order of their numbers."""
    return [read(patch) for patch in sorted((ROOT / "tests" / "mutants").glob("*.patch"))]


def apply(patch: Path, tree: Path, *options: str) -> str:
    """Apply `patch` to `tree`; returns why that failed, or nothing."""
    ceiling = {**os.environ, "GIT_CEILING_DIRECTORIES": str(tree.parent)}
    done = subprocess.run(
        ["git", "apply", *options, str(patch)], cwd=tree, env=ceiling, capture_output=True, text=True, check=False
    )
    return done.stderr if done.returncode else ""


def try_out(mutant: Mutant) -> Verdict:
    """Run the mutant's tests on a copy without its guard."""
    with tempfile.TemporaryDirectory(prefix="reelbatch-mutant-") as folder:
        tree = Path(folder)
        for name in _TREE:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, tree / name)
        if why := apply(mutant.patch, tree):
            return Verdict(None, 0.0, f"the patch does not fit the code: {why}")
        return _run_tests(mutant, tree)


def _run_tests(mutant: Mutant, tree: Path) -> Verdict:
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *mutant.tests]
    began = time.monotonic()
    with subprocess.Popen(
        command,
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as running:
        try:
            output, _ = running.communicate(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            running.kill()
            return Verdict(None, LIMIT_S, f"no test failed within {LIMIT_S:.0f} s")
    seconds = time.monotonic() - began
    failed = _FAILED.search(output)
    if running.returncode == _TESTS_FAILED and failed:
        return Verdict(failed[1], seconds)
    tail = "\n".join(output.splitlines()[-15:])
    return Verdict(None, seconds, "every test passes" if running.returncode == 0 else tail)


def main(wanted: list[str]) -> int:
    """Try out all mutants, or those that are named; 1 where one survives."""
    chosen = [mutant for mutant in mutants() if not wanted or any(name in mutant.name for name in wanted)]
    survivors = 0
    for mutant in chosen:
        verdict = try_out(mutant)
        survivors += verdict.caught_by is None
        noticed = f"caught by {verdict.caught_by}" if verdict.caught_by else f"SURVIVED: {verdict.trouble}"
        print(f"{mutant.name} ({verdict.seconds:.0f} s): {mutant.guard}\n    {noticed}", flush=True)
    print(f"{len(chosen)} mutants, {len(chosen) - survivors} caught, {survivors} survived")
    return 1 if survivors or not chosen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
