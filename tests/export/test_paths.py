"""Exports go into any folder that the file system allows."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from mtn_core.export.mindspore_graphs import write_graph


@pytest.mark.parametrize("kind", ["MINDIR", "ONNX"])
def test_a_folder_with_blanks_and_other_letters(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "ein Weg mit Ü"
    folder.mkdir()
    path = folder / f"tiny.{kind.lower()}"
    write_graph(nn.Dense(2, 3), [ms.Tensor(np.ones((1, 2), np.float32))], path, kind)
    assert [p.name for p in folder.iterdir()] == [path.name]
    assert [p.name for p in tmp_path.iterdir()] == [folder.name]
