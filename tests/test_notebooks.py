"""The committed notebooks keep the rules of the house."""

import json
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_is_thin_and_stripped(path):
    notebook = json.loads(path.read_text())
    code = [c for c in notebook["cells"] if c["cell_type"] == "code"]
    sources = ["".join(c["source"]) for c in code]
    assert notebook["cells"][0]["cell_type"] == "markdown"
    assert "".join(notebook["cells"][0]["source"]).startswith(f"# {path.stem[:2]} ")
    assert not any(c["outputs"] or c["execution_count"] for c in code)
    tagged = [c for c in code if "parameters" in c["metadata"].get("tags", [])]
    assert len(tagged) == 1
    for source in sources:
        lines = source.splitlines()
        assert len(lines) <= 15, source
        forbidden = ("class ", "def ", "!pip", "%pip", "from mtn_core.synthveri.")
        assert not any(line.startswith(forbidden) for line in lines), source
        assert "/work/" not in source
        assert "/home/" not in source


def test_the_notebooks_are_numbered_without_gaps():
    numbers = [int(p.name[:2]) for p in NOTEBOOKS]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_the_package_is_imported_before_numpy_and_mindspore(path):
    """It sets variables that they read when they are loaded; figures and tables load NumPy, too."""
    cells = [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]
    lines = "\n".join("".join(c["source"]) for c in cells).splitlines()
    imports = [line for line in lines if line.startswith(("import ", "from "))]
    third_party = ("numpy", "matplotlib", "pandas", "mindspore", "safetensors")
    first = next(i for i, line in enumerate(imports) if line.split()[1].startswith("mtn_core"))
    assert not [line for line in imports[:first] if line.split()[1].startswith(third_party)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_the_libraries_of_a_gpu_come_before_mindspore(path):
    """Which cell of imports loads MindSpore first is not looked at: the call precedes them all."""
    cells = [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]
    sources = ["".join(c["source"]) for c in cells if not c["metadata"].get("tags")]
    if any("setup_device(device_target" in source for source in sources):
        assert "use_cuda(device_target)" in sources[0]
