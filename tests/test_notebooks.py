"""The notebooks of the documentation run from their first cell to their last."""

from __future__ import annotations

from pathlib import Path

import pytest

nbclient = pytest.importorskip("nbclient")
NOTEBOOKS = sorted((Path(__file__).resolve().parent.parent / "docs" / "notebooks").glob("*.ipynb"))

# All 1,797 take minutes; no cell says a number that a reader is told.
FEW_DIGITS = """
import numpy as np
from regraft.data import digits
held = dict(np.load(digits.FILE))
np.savez("few.npz", **{name: values[:240] for name, values in held.items()})
digits.FILE = "few.npz"
"""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::RuntimeWarning")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebook_runs(path: Path, tmp_path: Path, engine_cache: Path) -> None:
    import nbformat

    book = nbformat.read(path, as_version=4)
    assert all(not cell.get("outputs") for cell in book.cells), "outputs are not kept"
    book.cells.insert(0, nbformat.v4.new_code_cell(FEW_DIGITS))
    client = nbclient.NotebookClient(
        book, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    last = book.cells[-1]
    assert last.outputs, "the last cell shows something"


def test_there_are_two() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["fine_tuning", "first_steps"]
