"""The example notebooks run in a real kernel and show a progress bar, the verdict and tables."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = pytest.mark.timeout(1500)  # of a busy machine
EXAMPLES = Path(__file__).parents[1] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
MAX_BYTES = 20_000


def outputs_of(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [output for cell in notebook.cells for output in cell.get("outputs", ())]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_in_the_repository_is_valid_and_has_no_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert outputs_of(notebook) == []
    assert path.stat().st_size < MAX_BYTES


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("search_bars", ("<progress", "Study ", "test windows", "balanced")),
        ("classify_windows", ("<progress", "ms_per_prediction")),
    ],
)
@pytest.mark.filterwarnings("ignore")  # of the kernel's client
def test_a_notebook_runs_in_a_kernel(name: str, shown: tuple[str, ...], tmp_path: Path) -> None:
    notebook = nbformat.read(EXAMPLES / f"{name}.ipynb", as_version=4)
    NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    pages = "".join(output.get("data", {}).get("text/html", "") for output in outputs_of(notebook))
    assert all(text in pages for text in shown)
    assert "error" not in [output.output_type for output in outputs_of(notebook)]
