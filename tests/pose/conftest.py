"""A small data set and a small trained PoseEstNet that several test modules use."""

import pytest

SETTINGS = {
    "data.batch_size": 8,
    "data.num_workers": 1,
    "data.scale": 0,
    "data.rotation": 0,
    "data.flip": 0,
    "train.epochs": 2,
    "train.eval_every": 1,
    "optim.schedule": "constant",
}


def pose_config(**changes):
    from mtn_core.config import load_config
    from mtn_core.pose.config import PoseConfig

    settings = {**SETTINGS, **{k.replace("__", "."): v for k, v in changes.items()}}
    return load_config("pose_smoke", settings, PoseConfig)


@pytest.fixture(scope="session")
def config_for():
    return pose_config


@pytest.fixture(scope="session")
def tiny_root(smoke_root, tmp_path_factory):
    """24 training, 10 query and 14 test images of SynthVeRi smoke; read-only for the tests."""
    from mtn_core.data.labels import write_labels
    from mtn_core.data.layout import label_path, split_folder
    from mtn_core.data.prepare.placing import place_file
    from mtn_core.data.split import load_split

    root = tmp_path_factory.mktemp("tiny")
    for name, count in (("train", 24), ("query", 10), ("test", 14)):
        split = load_split(smoke_root, name)
        folder = split_folder(root, "image", name)
        folder.mkdir(parents=True)
        for row in range(count):
            place_file(split.image_path(row), folder / split.image_path(row).name)
        write_labels(label_path(root, name), split.frame.head(count), split.keypoints[:count])
    return root


@pytest.fixture(scope="session")
def trained(tiny_root, tmp_path_factory):
    """Run folder of two epochs on the tiny data set."""
    from mtn_core.device import setup_device
    from mtn_core.pose.sources import load_pose_split
    from mtn_core.pose.task import train_pose

    out = tmp_path_factory.mktemp("pose") / "run"
    train_pose(
        pose_config(),
        [load_pose_split(tiny_root, "train")],
        out,
        setup_device("CPU"),
        evaluation=load_pose_split(tiny_root, "test"),
    )
    return out
