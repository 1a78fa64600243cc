"""Resuming on data that is not the data of before."""

import shutil

import numpy as np
import pytest

from mtn_core.cli import main
from mtn_core.config import ModelConfig
from mtn_core.data.labels import load_labels, write_labels
from mtn_core.data.layout import label_path
from mtn_core.data.split import load_split
from mtn_core.predict.evaluate import open_evaluation


def permute_ids(frame, keypoints):
    frame["pid"] = frame["pid"].to_numpy()[::-1]


def swap_names(frame, keypoints):
    frame["name"] = np.roll(frame["name"], 1)


def recolour(frame, keypoints):
    frame.loc[3, "color_id"] = frame["color_id"][3] % 10 + 1


def move_a_point(frame, keypoints):
    keypoints[5, 7, 0] += 1


CHANGES = {
    "vehicle ids": permute_ids,
    "image names": swap_names,
    "colours and types": recolour,
    "keypoints": move_a_point,
}


def change_labels(root, change):
    path = label_path(root, "train")
    frame, keypoints = load_labels(path)
    keypoints = keypoints.copy()
    change(frame, keypoints)
    write_labels(path, frame, keypoints)


@pytest.mark.parametrize("what", CHANGES)
def test_fingerprints_tell_what_changed(smoke_root, tmp_path, what):
    root = shutil.copytree(smoke_root / "veri", tmp_path / "veri").parent
    before = load_split(root, "train").fingerprints
    change_labels(root, CHANGES[what])
    after = load_split(root, "train").fingerprints
    assert what in {name for name, value in before.items() if after[name] != value}


@pytest.mark.slow
def test_resume_on_permuted_ids_is_refused(smoke_root, tmp_path, capsys):
    root = shutil.copytree(smoke_root / "veri", tmp_path / "veri").parent
    arguments = ["train", "--root", str(root), "--out", str(tmp_path / "run"), "--recipe", "smoke"]
    arguments += ["--epochs", "1", "--set", "model.image_size=32", "train.eval_every=0"]
    assert main(arguments) == 0
    change_labels(root, permute_ids)
    assert main([*arguments, "--resume"]) == 1
    assert "was trained on other data: the vehicle ids of the" in capsys.readouterr().err


def test_vehicles_that_are_trained_on_and_tested_are_named(smoke_root, tmp_path, caplog):
    root = shutil.copytree(smoke_root / "veri", tmp_path / "veri").parent
    open_evaluation(root, ModelConfig(image_size=32))
    assert not caplog.text
    for part in ("image", "heatmap", "segment"):
        shutil.rmtree(root / "veri" / f"{part}_test")
        shutil.copytree(root / "veri" / f"{part}_train", root / "veri" / f"{part}_test")
    shutil.copy(label_path(root, "train"), label_path(root, "test"))
    open_evaluation(root, ModelConfig(image_size=32))
    assert "24 vehicles and 245 images of the test" in caplog.text
