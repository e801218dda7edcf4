"""Reading a manifest, as a process of its own sees it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys
from reelbatch.manifest import *
from reelbatch.model_table import load_models
batches = open_manifest(sys.argv[1], ManifestOptions(), Checks(models=load_models())).batches()
print(len(next(batches).rows) > 0)
"""


def test_giving_up_in_the_middle_is_safe(tmp_path: Path) -> None:
    """A process that ends with a half-read manifest ends normally and leaves no thread reading."""
    path = tmp_path / "catalogue.csv"
    path.write_text("image_path,prompt\n" + "https://x.test/a.png,Pan\n" * 200_000, encoding="utf-8")
    done = subprocess.run([sys.executable, "-c", SCRIPT, path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
