"""The notebook runs from the first cell to the last, smaller; and what it shows is harmless."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from checkout import ROOT

NOTEBOOK = ROOT / "docs" / "notebooks" / "quickstart.ipynb"
SMALLER = {
    r"SETTINGS = .*": 'SETTINGS = {"days": 1, "passages": 1, "questions": 3, "base_questions": 2}',
    r"SEEDS = .*": "SEEDS = range(2)",
}


def sources(notebook):
    return ["".join(cell["source"]) for cell in notebook["cells"]]


def test_it_holds_no_output_and_installs_first():
    notebook = json.loads(NOTEBOOK.read_text())
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code)
    assert '"pip", "install"' in "".join(code[0]["source"])
    text = "\n".join(sources(notebook))
    for pattern in SMALLER:
        assert re.search(pattern, text), pattern
    for word in ("sleepgym.run(", "trace_questions(", "compare_agents(", "evening_and_morning("):
        assert word in text


@pytest.mark.slow
def test_it_runs(tmp_path, monkeypatch):
    nbformat = pytest.importorskip("nbformat", reason="no nbformat: pip install 'sleepgym[dev]'")
    client = pytest.importorskip("nbclient", reason="no nbclient: pip install 'sleepgym[dev]'")
    pytest.importorskip("ipykernel", reason="no ipykernel: pip install 'sleepgym[dev]'")
    inherited = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), inherited])))
    notebook = nbformat.read(NOTEBOOK, 4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        for pattern, smaller in SMALLER.items():
            cell.source = re.sub(pattern, smaller, cell.source)
    where = {"metadata": {"path": str(tmp_path)}}
    client.NotebookClient(notebook, timeout=400, resources=where).execute()
    shown = [
        set(output.data)
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if output.output_type in ("execute_result", "display_data")
    ]
    assert sum("text/html" in kinds for kinds in shown) >= 5  # stream, run, failures, two tables
    assert any("image/png" in kinds for kinds in shown)
    assert (Path(tmp_path) / "runs" / "notebook" / "naive" / "seed-1" / "run.json").is_file()
