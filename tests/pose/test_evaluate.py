"""Pose results in a run folder: they appear whole, beside what they belong to, or not at all."""

import shutil

import numpy as np
import pytest
import yaml

from mtn_core.errors import DataError, RunFolderError
from mtn_core.pose.config import PoseConfig, PoseEvalConfig
from mtn_core.pose.evaluate import evaluate_pose, evaluate_pose_into_run
from mtn_core.pose.result import PoseResult
from mtn_core.pose.sources import load_pose_annotations, load_pose_split
from mtn_core.runs import RunFolder

OPTIONS = PoseEvalConfig(batch_size=8)
RESULTS = {"results.json", "pose_predictions.npz", "per_keypoint.csv", "per_image.csv"}
CONTEXT = {"config.yaml", "environment.json"}


class Guess:
    """Stands for a network: finds every keypoint at one place."""

    image_size, heatmap_size = 64, 16

    def __init__(self, place=5, fail=False):
        self.place, self.fail = place, fail

    def __call__(self, image):
        if self.fail:
            raise DataError("the network failed")
        heatmaps = np.zeros((len(image), 36, 16, 16), np.float32)
        heatmaps[:, :, self.place, self.place] = 1
        return heatmaps


@pytest.fixture
def images(tiny_root):
    return load_pose_split(tiny_root, "test")


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"stands for the file")
    return path


def names_in(folder):
    return {path.name for path in folder.iterdir()}


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_results_are_those_of_the_evaluation_and_are_read_back(images, model, tmp_path):
    out = tmp_path / "run"
    result = evaluate_pose_into_run(Guess(), model, images, out, OPTIONS)
    expected = evaluate_pose(Guess(), images, OPTIONS, progress=False)
    np.testing.assert_array_equal(result.keypoints, expected.keypoints)
    assert names_in(out) == RESULTS | CONTEXT
    loaded = PoseResult.load(out)
    assert loaded.names == tuple(map(str, images.paths))
    assert loaded.thresholds == OPTIONS.thresholds
    assert loaded.provenance == result.provenance
    assert loaded.provenance["checkpoint"] == "model.onnx"
    for name in ("keypoints", "labels", "sizes"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(result, name))


def test_the_run_says_where_its_data_and_its_model_lie(
    images, model, tiny_root, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    evaluate_pose_into_run(Guess(), model.relative_to(tmp_path), images, "run", OPTIONS)
    config, context = RunFolder("run").read_config(PoseConfig)
    assert config.eval == OPTIONS
    assert context["command"] == "eval-pose"
    assert context["root"] == str(tiny_root.resolve())
    assert context["checkpoint"] == str(model.resolve())
    assert RunFolder("run").data_roots() == [tiny_root.resolve()]


def test_annotations_are_named_by_their_file(images, model, tmp_path):
    keypoints = images.keypoints[:3].copy()
    rows = []
    for i in range(3):
        height, width = images.read(i).shape[:2]
        cells = [f"{x:.2f},{y:.2f},{int(c >= 0.5)}" for x, y, c in keypoints[i]]
        rows.append(",".join([images.names[i], str(width), str(height), *cells]))
    csv = tmp_path / "annot.csv"
    csv.write_text("\n".join(rows) + "\n")
    annotated = load_pose_annotations(csv, images.paths[0].parent)
    assert annotated.place == csv
    evaluate_pose_into_run(Guess(), model, annotated, tmp_path / "run", OPTIONS)
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["root"] == str(csv)


def test_a_set_knows_its_root(images, tiny_root):
    assert images.place == tiny_root
    assert str(tiny_root) in images.label


def test_an_evaluation_that_fails_leaves_no_folder(images, model, tmp_path):
    with pytest.raises(DataError, match="the network failed"):
        evaluate_pose_into_run(Guess(fail=True), model, images, tmp_path / "run", OPTIONS)
    assert not (tmp_path / "run").exists()


def test_earlier_results_stay_until_new_ones_are_whole(images, model, tmp_path):
    out = tmp_path / "run"
    first = evaluate_pose_into_run(Guess(5), model, images, out, OPTIONS)
    before = contents(out)
    with pytest.raises(RunFolderError, match="--overwrite"):
        evaluate_pose_into_run(Guess(8), model, images, out, OPTIONS)
    with pytest.raises(DataError, match="the network failed"):
        evaluate_pose_into_run(Guess(fail=True), model, images, out, OPTIONS, overwrite=True)
    assert contents(out) == before
    assert names_in(out) == RESULTS | CONTEXT
    second = evaluate_pose_into_run(Guess(8), model, images, out, OPTIONS, overwrite=True)
    assert names_in(out) == RESULTS | CONTEXT
    assert not np.array_equal(first.keypoints, second.keypoints)
    np.testing.assert_array_equal(PoseResult.load(out).keypoints, second.keypoints)


def test_a_trained_run_keeps_its_training(trained, images, tmp_path):
    out = shutil.copytree(trained, tmp_path / "run")
    before = contents(out)
    checkpoints = names_in(out / "ckpt")
    model = out / "ckpt" / "best.ckpt"
    with pytest.raises(DataError, match="the network failed"):
        evaluate_pose_into_run(Guess(fail=True), model, images, out, OPTIONS)
    assert contents(out) == before
    evaluate_pose_into_run(Guess(), model, images, out, OPTIONS)
    after = contents(out)
    assert after.keys() - before.keys() == RESULTS
    assert {name: after[name] for name in before} == before
    assert names_in(out / "ckpt") == checkpoints
    with pytest.raises(RunFolderError, match="already holds results"):
        evaluate_pose_into_run(Guess(), model, images, out, OPTIONS)


def test_a_run_of_other_weights_is_not_replaced_unasked(trained, images, model, tmp_path):
    out = shutil.copytree(trained, tmp_path / "run")
    before = contents(out)
    with pytest.raises(RunFolderError, match="already holds a run"):
        evaluate_pose_into_run(Guess(), model, images, out, OPTIONS)
    assert contents(out) == before


def test_a_folder_without_pose_results(tmp_path):
    with pytest.raises(RunFolderError, match="has no pose results; `mtn eval-pose` writes them"):
        PoseResult.load(tmp_path)


@pytest.mark.parametrize("name", ["results.json", "pose_predictions.npz"])
def test_damaged_results_are_an_error(images, model, tmp_path, name):
    out = tmp_path / "run"
    evaluate_pose_into_run(Guess(), model, images, out, OPTIONS)
    (out / name).write_bytes(b"{")
    with pytest.raises((RunFolderError, DataError), match=name):
        PoseResult.load(out)
