"""Two seeds for real; `make proof` has those that once failed, and 300 others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]


def test_two_seeds_hold_and_a_seed_does_the_same_again() -> None:
    """Nothing is paid twice, lost, overspent or left undone; a failure could be looked at as often as one likes."""
    done = subprocess.run(
        [sys.executable, "-m", "simulation", "--seeds", "1,7,7", "--trace"],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    _, once, again = done.stdout.rpartition("simulation: ")[0].rsplit("seed 7:\n", 2)
    assert once == again
    assert "charged" in once
