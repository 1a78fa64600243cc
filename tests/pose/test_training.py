"""PoseEstNet in the one training loop: it learns, resumes bit-equal, and runs on two processes."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from mtn_core.device import setup_device
from mtn_core.errors import CheckpointError, ConfigError, DataError, RunFolderError
from mtn_core.models.checkpoint import load_checkpoint
from mtn_core.pose.metrics import measure_errors
from mtn_core.pose.predict import load_predictor, predict_keypoints
from mtn_core.pose.sources import load_pose_split
from mtn_core.pose.task import PoseTask, train_pose


def train(root, out, config, **more):
    return train_pose(
        config,
        [load_pose_split(root, "train")],
        out,
        setup_device("CPU"),
        evaluation=load_pose_split(root, "test"),
        **more,
    )


def last_predictor(run):
    return load_predictor(load_checkpoint(run / "ckpt" / "last.ckpt"))


def test_the_run_folder_is_that_of_mtn_train(trained):
    names = {p.name for p in trained.iterdir()}
    assert {"config.yaml", "environment.json", "train.csv", "validation.csv", "ckpt"} <= names
    assert {p.name for p in (trained / "ckpt").iterdir()} >= {"last.ckpt", "best.ckpt"}
    log = pd.read_csv(trained / "train.csv")
    assert log["step"].tolist() == [1, 2, 3, 4, 5, 6]
    assert {"loss_visible", "loss_hidden", "lr", "data_wait_ms"} <= set(log.columns)
    config = (trained / "config.yaml").read_text()
    assert "command: train-pose" in config and "hidden_weight: 0.2" in config
    meta = load_checkpoint(trained / "ckpt" / "last.ckpt").meta
    assert meta["kind"] == "pose" and meta["model"]["width"] == 8


def test_it_learns_a_few_images_by_heart(tiny_root, tmp_path, config_for):
    config = config_for(train__epochs=50, train__eval_every=0, optim__learning_rate=4e-3)
    train(tiny_root, tmp_path / "run", config)
    log = pd.read_csv(tmp_path / "run" / "train.csv")
    assert log["loss_visible"].tail(5).mean() < 0.5 * log["loss_visible"].head(5).mean()
    images = load_pose_split(tiny_root, "train")
    found = predict_keypoints(
        load_predictor(load_checkpoint(tmp_path / "run" / "ckpt" / "last.ckpt")), images
    )
    errors = measure_errors(found.keypoints, images.keypoints, found.sizes)
    assert errors.pck(0.1) > 0.6


def test_resume_equals_an_uninterrupted_training(trained, tiny_root, tmp_path, config_for):
    def stop(epoch):
        raise KeyboardInterrupt

    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(tiny_root, out, config_for(), on_epoch=stop)
    train(tiny_root, out, config_for(), resume=True)
    expected = load_checkpoint(trained / "ckpt" / "last.ckpt")
    found = load_checkpoint(out / "ckpt" / "last.ckpt")
    assert expected.weights.keys() == found.weights.keys()
    for name, values in expected.weights.items():
        assert np.array_equal(values, found.weights[name]), name
    first, second = (pd.read_csv(run / "train.csv") for run in (trained, out))
    assert first["loss"].tolist() == second["loss"].tolist()


def test_resume_with_other_settings_is_refused(trained, tiny_root, config_for):
    with pytest.raises(ConfigError, match=r"loss.sigma: the run has 1.0, asked for 3.0"):
        train(tiny_root, trained, config_for(loss__sigma=3.0), resume=True)


def test_a_folder_with_a_run_is_refused(trained, tiny_root, config_for):
    with pytest.raises(RunFolderError, match="already holds a run"):
        train(tiny_root, trained, config_for())


def test_weights_of_another_width_are_refused(trained, tiny_root, tmp_path, config_for):
    with pytest.raises(CheckpointError, match=r"another width.*\n.*other.*shape"):
        train(
            tiny_root,
            tmp_path / "run",
            config_for(model__width=16),
            pre_ckpt_path=trained / "ckpt" / "last.ckpt",
        )
    assert not (tmp_path / "run").exists()


def test_training_starts_from_given_weights(trained, tiny_root, config_for):
    path = trained / "ckpt" / "last.ckpt"
    task = PoseTask(
        config_for(), [load_pose_split(tiny_root, "train")], None, setup_device("CPU"), path
    )
    weights = load_checkpoint(path).weights
    for name, parameter in task.network.parameters_dict().items():
        assert np.array_equal(parameter.asnumpy(), weights[name]), name


def test_a_broken_image_is_named(tiny_root, tmp_path, config_for):
    from mtn_core.pose.maps import link_root

    root = link_root(tiny_root, tmp_path / "data", ("train", "test"))
    image = sorted((root / "veri" / "image_train").iterdir())[3]
    data = image.read_bytes()
    image.unlink()  # a link: its other names must stay whole
    image.write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=rf"{image.name} is a truncated JPEG"):
        train(root, tmp_path / "run", config_for())


def test_nothing_to_train_on(tmp_path, config_for):
    with pytest.raises(DataError, match="no training images"):
        train_pose(config_for(), [], tmp_path / "run", setup_device("CPU"))


def test_the_network_must_be_one_for_vehicles(tiny_root, tmp_path, config_for):
    with pytest.raises(ConfigError, match=r"model\.num_keypoints must be 36"):
        train(tiny_root, tmp_path / "run", config_for(model__num_keypoints=17))


def test_evaluation_is_repeatable_and_padding_does_not_count(trained, tiny_root):
    predictor = last_predictor(trained)
    images = load_pose_split(tiny_root, "test")
    first = predict_keypoints(predictor, images, batch_size=8)
    again = predict_keypoints(predictor, images, batch_size=8)
    assert len(first) == 14
    assert np.array_equal(first.keypoints, again.keypoints)
    assert first.sizes.tolist() == [list(images.read(i).shape[1::-1]) for i in range(14)]
    other = predict_keypoints(predictor, images, batch_size=14)
    assert np.abs(first.keypoints - other.keypoints).max() < 1e-3


@pytest.mark.slow
def test_two_processes_train_and_evaluate_as_one(tiny_root, tmp_path):
    """Through msrun: rank 0 writes, the sharded evaluation equals the single one."""
    command = [
        *(sys.executable, "-m", "mtn_core", "launch", "--workers", "2"),
        *("--log_dir", str(tmp_path / "logs"), "--"),
        *("train-pose", "--distribute", "True", "--root", str(tiny_root)),
        *("--out", str(tmp_path / "run"), "--recipe", "pose_smoke", "--epochs", "1"),
        *("--set", "data.batch_size=6", "train.eval_every=1"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)
    logs = "\n".join(p.read_text()[-3000:] for p in (tmp_path / "logs").glob("worker_*.log"))
    assert done.returncode == 0, done.stderr + logs
    log = pd.read_csv(tmp_path / "run" / "train.csv")
    assert log["step"].tolist() == [1, 2]  # 24 images in 2 batches of 6 on 2 ranks
    score = pd.read_csv(tmp_path / "run" / "validation.csv")["pck@0.1"].iloc[-1]
    images = load_pose_split(tiny_root, "test")
    found = predict_keypoints(
        load_predictor(load_checkpoint(tmp_path / "run" / "ckpt" / "last.ckpt")), images
    )
    errors = measure_errors(found.keypoints, images.keypoints, found.sizes)
    assert score == pytest.approx(errors.pck(0.1), abs=1e-6)
