"""`docs/notebook.ipynb` in a real kernel, as Jupyter runs it."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[3] / "docs" / "notebook.ipynb"


class _Here(AsyncKernelManager):
    """A kernel of this very Python, whatever kernels the machine knows; on loopback."""

    @property
    def kernel_spec(self) -> KernelSpec:
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=command, display_name="Python", language="python")


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The notebook after all its cells ran, in a folder of its own."""
    folder = tmp_path_factory.mktemp("notebook")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPYTHONDIR", str(folder / "ipython"))
        patch.setenv("JUPYTER_RUNTIME_DIR", str(folder / "runtime"))
        notebook = nbformat.read(NOTEBOOK, as_version=4)
        client = NotebookClient(
            notebook, timeout=120, kernel_manager_class=_Here, resources={"metadata": {"path": str(folder)}}
        )
        yield client.execute()


def _outputs(notebook: Any, call: str) -> list[Any]:
    """Of the cell that makes this call."""
    return next(cell.outputs for cell in notebook.cells if cell.cell_type == "code" and call in cell.source)


def test_every_cell_runs(executed: Any) -> None:
    """Beside the kernel's own event loop; a cell that raised would have ended it."""
    assert all(cell.execution_count for cell in executed.cells if cell.cell_type == "code")


def test_reports_are_shown_as_tables(executed: Any) -> None:
    """By each call that gives one back."""
    for call in (
        "reelbatch.plan(",
        "reelbatch.generate(",
        "reelbatch.settle(",
        "reelbatch.status(",
        "reelbatch.rerun(",
    ):
        shown = _outputs(executed, call)[-1]
        assert "<table>" in shown["data"]["text/html"], call
    assert _outputs(executed, "report.exit_code")[-1]["data"]["text/plain"] == "(0, 360)"
    assert "complete" in _outputs(executed, "reelbatch.status(")[-1]["data"]["text/html"]


def test_progress_is_one_output_with_its_last_word(executed: Any) -> None:
    """It is replaced as the run goes on, and the report follows."""
    progress, report = _outputs(executed, "reelbatch.generate(")
    assert progress["output_type"] == "display_data"
    assert re.match(r"3/3 rows · .* credits", progress["data"]["text/plain"])
    assert report["output_type"] == "execute_result"


def test_the_notebook_is_kept_without_outputs() -> None:
    """What it prints would be another one with each run, and no one would read the changes."""
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in cells)
