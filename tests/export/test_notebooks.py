"""Notebooks 05 and 06 on a small network, with the C++ program."""

import json
import shutil

import pytest

from mtn_core.jobs.workbook import execute_notebook


def printed(path):
    notebook = json.loads(path.read_text())
    outputs = [o for c in notebook["cells"] for o in c.get("outputs", [])]
    return "".join("".join(o.get("text", "")) for o in outputs)


@pytest.mark.slow
def test_export_and_inference(exported, programs, smoke_root, repository, tmp_path):
    (tmp_path / "run" / "ckpt").mkdir(parents=True)
    shutil.copy(exported.checkpoint, tmp_path / "run" / "ckpt" / "best.ckpt")
    common = {"root": str(smoke_root), "run_dir": str(tmp_path / "run")}
    notebooks = repository / "notebooks"
    execute_notebook(
        notebooks / "05_export.ipynb", tmp_path / "05.ipynb", {**common, "float16": False}
    )
    text = printed(tmp_path / "05.ipynb")
    assert "_int8.onnx: mAP" in text and "_float16.onnx" not in text
    assert (tmp_path / "run" / "export" / "model.json").is_file()
    execute_notebook(
        notebooks / "06_infer_310.ipynb", tmp_path / "06.ipynb", {**common, "batch": 2}
    )
    compared = "Back ends compared: MindSpore, ONNX Runtime, Lite C++."
    assert compared in printed(tmp_path / "06.ipynb")
    assert (tmp_path / "run" / "infer_310" / "results.json").is_file()
