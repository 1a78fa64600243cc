"""The two ends of 310 inference, without the program between them; properties 28 and 30."""

import json
import shutil
from collections import namedtuple
from types import SimpleNamespace

import numpy as np
import pytest

from mtn_core.cli import main
from mtn_core.data.split import load_split
from mtn_core.errors import DataError, RunFolderError
from mtn_core.export.postprocess import evaluate_results, evaluate_results_into_run
from mtn_core.export.preprocess import check_inputs, write_inputs
from mtn_core.predict.evaluate import compare, open_evaluation
from mtn_core.predict.model_json import OUTPUT_NAMES
from mtn_core.predict.onnx import OnnxModel
from mtn_core.results import RetrievalResult


@pytest.fixture(scope="module")
def made(tools, tmp_path_factory, smoke_root):
    """Inputs for a model with segments and class counts of its own, and what it answers."""
    folder = tmp_path_factory.mktemp("made")
    spec = tools.write_export(
        folder, tools.make_spec(segments=True, num_colors=11, num_types=14, embedding=12)
    )
    counts = write_inputs(spec, smoke_root, folder / "input", folder / "label")
    model = OnnxModel(folder / "tiny.onnx")
    (folder / "results").mkdir()
    for split, count in counts.items():
        for row in range(count):
            stem = f"veri_data_{split}_img_{row}"
            stack = np.fromfile(folder / f"input/{split}/img/{stem}.bin", np.float32)
            points = folder / f"input/{split}/vkeypt/veri_data_{split}_vkeypt_{row}.bin"
            inputs = {
                "image": stack.reshape(1, *spec.stack_shape),
                "keypoints": np.fromfile(points, np.float32)[None],
            }
            for number, value in enumerate(model.predict(inputs).values()):
                value.tofile(folder / "results" / f"{stem}_{number}.bin")
    return SimpleNamespace(folder=folder, spec=spec, counts=counts, model=model)


@pytest.fixture
def results(made, tmp_path):
    """A copy of the result files to break."""
    return shutil.copytree(made.folder / "results", tmp_path / "results")


def test_seed_layout_and_sizes(made, smoke_root):
    assert made.counts["query"] < made.counts["gallery"]
    for split, layout in (("query", "query"), ("gallery", "test")):
        files = sorted((made.folder / "input" / split / "img").iterdir())
        assert len(files) == len(load_split(smoke_root, layout)) == made.counts[split]
        assert {f.stat().st_size for f in files} == {16 * 32 * 32 * 4}
        points = made.folder / "input" / split / "vkeypt" / f"veri_data_{split}_vkeypt_3.bin"
        assert points.stat().st_size == 108 * 4
        labels = json.loads((made.folder / "label" / f"{split}_label.json").read_text())
        frame = load_split(smoke_root, layout).frame
        assert labels["3"]["vid"] == [frame["pid"][3]]
        assert labels["3"]["camid"] == [frame["camid"][3]]
        assert labels["3"]["name"] == frame["name"][3]
    label = json.loads((made.folder / "label" / "label.json").read_text())
    assert label["num_train_vcolors"] == 11 and label["vtype2label"]["14"] == 13


def test_result_equals_the_direct_evaluation(made, smoke_root, tmp_path, capsys):
    direct = compare(made.model, open_evaluation(smoke_root, made.model.model))
    arguments = ["--result_dir", str(made.folder / "results")]
    arguments += ["--label_dir", str(made.folder / "label"), "--input_dir", str(made.folder)]
    assert main(["postprocess", *arguments]) == 0
    assert capsys.readouterr().out.strip() == direct.format_table().strip()
    result = evaluate_results_into_run(
        made.folder / "results", made.folder / "label", tmp_path / "run"
    )
    np.testing.assert_allclose(result.gallery.features, direct.gallery.features, atol=1e-5)
    np.testing.assert_array_equal(result.query.sizes, direct.query.sizes)
    np.testing.assert_allclose(result.query.keypoints, direct.query.keypoints)
    assert result.gallery.color_logits.shape[1] == 11
    assert RetrievalResult.load(tmp_path / "run").protocol == direct.protocol


def test_missing_and_broken_results_are_named(made, results):
    (results / "veri_data_query_img_3_0.bin").unlink()
    (results / "veri_data_query_img_4_1.bin").write_bytes(b"1234")
    np.full(12, np.nan, np.float32).tofile(results / "veri_data_query_img_5_3.bin")
    with pytest.raises(DataError) as caught:
        evaluate_results(results, made.folder / "label")
    text = str(caught.value)
    assert "veri_data_query_img_3_0.bin (id_logits) cannot be read" in text
    assert "veri_data_query_img_4_1.bin (color_logits) has 4 bytes, expected 44" in text
    assert "veri_data_query_img_5_3.bin (embedding) holds values that are not finite" in text


def test_empty_folders(made, tmp_path):
    files = 4 * made.counts["query"]
    with pytest.raises(DataError, match=rf"{files} in all.*run the inference again"):
        evaluate_results(tmp_path, made.folder / "label")
    with pytest.raises(DataError, match=r"model\.json does not exist; run `mtn preprocess`"):
        evaluate_results(made.folder / "results", tmp_path)


def test_no_partial_run_folder(made, tmp_path):
    with pytest.raises(DataError):
        evaluate_results_into_run(tmp_path, made.folder / "label", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_inputs_of_an_earlier_call(made, smoke_root, tools, tiny_export):
    folders = (made.folder / "input", made.folder / "label")
    assert check_inputs(made.spec, smoke_root, *folders) == made.counts
    other = tools.make_spec(checkpoint="1" * 64)
    with pytest.raises(DataError, match=r"made for checkpoint 000000000000.*preprocess again"):
        check_inputs(other, smoke_root, *folders)


def test_reuse_notices_missing_files(made, smoke_root, tmp_path):
    inputs = shutil.copytree(made.folder / "input", tmp_path / "input")
    (inputs / "gallery" / "vkeypt" / "veri_data_gallery_vkeypt_0.bin").unlink()
    count = made.counts["gallery"]
    with pytest.raises(DataError, match=f"holds {count - 1} files, expected {count}"):
        check_inputs(made.spec, smoke_root, inputs, made.folder / "label")


def test_flags_of_another_model(made, smoke_root, tmp_path, capsys):
    arguments = ["--root", str(smoke_root), "--mindir_path", str(made.folder / "tiny.onnx")]
    arguments += ["--result_dir", str(tmp_path / "i"), "--label_dir", str(tmp_path / "l")]
    assert main(["preprocess", *arguments, "--heatmapaware", "True"]) == 2
    assert "--heatmapaware False, but --heatmapaware True" in capsys.readouterr().err
    assert not (tmp_path / "i").exists()


def test_folders_are_replaced_only_when_asked_and_ours(made, smoke_root, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "only_copy.tex").write_text("x")
    with pytest.raises(RunFolderError, match="not empty"):
        write_inputs(made.spec, smoke_root, tmp_path / "thesis", tmp_path / "l")
    with pytest.raises(RunFolderError, match="did not write"):
        write_inputs(made.spec, smoke_root, tmp_path / "thesis", tmp_path / "l", overwrite=True)
    assert (tmp_path / "thesis" / "only_copy.tex").is_file()


def test_too_small_a_disk(made, smoke_root, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9 - 5000, 5000))
    count = sum(made.counts.values())
    with pytest.raises(DataError, match=rf"{count} images need 0\.\d+ GB .*larger disk"):
        write_inputs(made.spec, smoke_root, tmp_path / "i", tmp_path / "l")
    assert list(tmp_path.iterdir()) == []


def test_broken_image_leaves_nothing(made, smoke_root, tmp_path):
    root = shutil.copytree(smoke_root, tmp_path / "root")
    victim = load_split(root, "test").image_path(50)
    victim.write_bytes(victim.read_bytes()[:100])
    with pytest.raises(DataError, match=victim.name):
        write_inputs(made.spec, root, tmp_path / "i", tmp_path / "l")
    assert {p.name for p in tmp_path.iterdir()} == {"root"}


def test_output_order_is_that_of_the_program():
    assert OUTPUT_NAMES == ("id_logits", "color_logits", "type_logits", "embedding")
