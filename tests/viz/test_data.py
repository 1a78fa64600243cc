import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

mpl.use("Agg")
import matplotlib.pyplot as plt

from mtn_core.data import inspection
from mtn_core.data.pipeline import EvalLoader
from mtn_core.vehicle import COLOR_NAMES, KEYPOINT_NAMES, TYPE_NAMES
from mtn_core.viewpoint import VIEWPOINT_NAMES
from mtn_core.viz import data as figures
from mtn_core.viz import samples


@pytest.fixture(scope="module")
def splits(smoke_root):
    return inspection.load_splits(smoke_root)


@pytest.fixture(scope="module")
def images(splits):
    return inspection.describe_images(splits)


@pytest.fixture
def ax():
    fig, ax = plt.subplots()
    yield ax
    fig.canvas.draw()
    plt.close(fig)


def without_keypoints(images):
    return images.assign(confidence=0.0, azimuth=np.nan, viewpoint="unknown")


def test_coverage_shows_every_cell(ax, splits):
    counts = inspection.coverage(splits["train"].frame)
    assert figures.plot_coverage(ax, counts, title="train") is ax
    drawn = ax.images[0].get_array()
    np.testing.assert_array_equal(drawn.filled(0), counts.to_numpy())
    assert ax.get_title(loc="left") or ax.get_title()
    assert f"{len(counts)} vehicles x {counts.shape[1]} cameras" in title(ax)


def title(ax):
    return ax.get_title() + ax.get_title(loc="left")


def test_coverage_of_unknown_cameras(ax):
    counts = pd.DataFrame([[1], [2]], index=[1, 2], columns=[0])
    figures.plot_coverage(ax, counts)
    assert "0: unknown" in ax.get_xlabel()


def test_crop_sizes_show_every_crop(ax, images):
    figures.plot_crop_sizes(ax, images)
    points = sum(len(c.get_offsets()) for c in ax.collections)
    assert points == len(images)
    assert "pixels" in ax.get_xlabel()


@pytest.mark.parametrize(
    ("column", "order"),
    [("color", COLOR_NAMES), ("type", TYPE_NAMES), ("viewpoint", VIEWPOINT_NAMES)],
)
def test_class_shares_add_up(ax, images, column, order):
    figures.plot_classes(ax, images, column, order)
    for container in ax.containers:
        assert sum(bar.get_height() for bar in container) == pytest.approx(100)
    assert len(ax.containers) == 3


def test_unknown_classes_have_their_own_bar(ax, images):
    figures.plot_classes(ax, images.assign(color="unknown"), "color", COLOR_NAMES)
    assert ax.get_xticklabels()[-1].get_text() == "unknown"


def test_images_per_camera(ax, images):
    figures.plot_images_per_camera(ax, images)
    pairs = images.groupby(["split", "pid", "camid"]).ngroups
    assert sum(bar.get_height() for c in ax.containers for bar in c) == pairs


@pytest.mark.parametrize("column", ["camid", "pid", "viewpoint"])
def test_confidence_by_group(ax, images, column):
    figures.plot_confidence_by(ax, images, column, most=10)
    labels = [t.get_text() for t in ax.get_xticklabels()]
    assert 1 < len(labels) <= (9 if column == "viewpoint" else 10)
    assert ax.get_ylim() == (0, 1)
    if column == "pid":
        assert "the 10 lowest of 36" in title(ax)


def test_viewpoints_add_up(images):
    fig, ax = plt.subplots(subplot_kw={"projection": "polar"})
    figures.plot_viewpoints(ax, images)
    assert sum(bar.get_height() for bar in ax.patches) == pytest.approx(100)
    plt.close(fig)


def test_keypoint_visibility(ax, splits):
    keypoints = splits["train"].keypoints
    figures.plot_keypoint_visibility(ax, keypoints, KEYPOINT_NAMES)
    heights = [bar.get_height() for c in ax.containers for bar in c]
    np.testing.assert_allclose(heights, keypoints[..., 2].clip(0, 1).mean(axis=0), rtol=1e-5)


def test_data_without_keypoints_says_so(images, splits):
    bare = without_keypoints(images)
    zero = np.zeros_like(splits["query"].keypoints)
    for draw in (
        lambda ax: figures.plot_confidence_by(ax, bare, "camid"),
        lambda ax: figures.plot_viewpoints(ax, bare),
        lambda ax: figures.plot_keypoint_visibility(ax, zero, KEYPOINT_NAMES),
    ):
        fig, ax = plt.subplots()
        draw(ax)
        assert ax.texts[0].get_text() == "this data has no keypoints"
        plt.close(fig)


def test_chosen_rows_are_of_different_ids(splits):
    rows = samples.choose_rows(splits["train"], 24)
    assert splits["train"].frame["pid"].iloc[rows].nunique() == 24
    assert len(samples.choose_rows(splits["query"], 10_000)) == len(splits["query"])


def test_a_sheet_holds_every_crop_with_its_caption(ax, splits):
    rows = samples.choose_rows(splits["train"], 10)
    assert samples.draw_sheet(ax, splits["train"], rows, columns=4) is ax
    assert len(ax.images) == 10
    captions = " ".join(t.get_text() for t in ax.texts)
    for row in rows:
        assert f"vehicle {splits['train'].frame['pid'][row]}," in captions
    assert len(ax.collections) == 20, "keypoints of both sides of each crop"


@pytest.mark.parametrize("maps", [None, "heatmaps", "segments"])
def test_a_batch_is_drawn_with_its_maps(ax, splits, maps):
    from mtn_core.config import ModelConfig
    from mtn_core.data.source import open_source

    model = ModelConfig(image_size=64, heatmaps=True, segments=True)
    source = open_source(splits["test"], heatmaps=True, segments=True)
    with EvalLoader(source, model=model, batch_size=8) as loader:
        batch = next(iter(loader))
    samples.draw_batch(ax, batch, 2, maps=maps, most_ids=3)
    assert len(ax.images) == 6
    drawn = np.asarray(ax.images[0].get_array())
    assert (drawn == batch["image"][0]).all() == (maps is None)
    assert "3 of 4 vehicles x 2 images" in title(ax)


def test_maps_over_one_image(ax, splits):
    from mtn_core.data.images import read_image
    from mtn_core.data.source import read_maps

    split = splits["query"]
    image = read_image(split.image_path(0))
    samples.draw_maps(ax, image, read_maps(split.segment_dir(0), 13), segments=True, title="x")
    assert len(ax.images) == 2


def test_pairs_are_drawn_side_by_side(ax, splits):
    names = splits["train"].frame["name"], splits["test"].frame["name"]
    pair = {"split_a": "train", "name_a": names[0][0], "pid_a": 1}
    pair |= {"split_b": "test", "name_b": names[1][0], "pid_b": 2, "correlation": 0.98}
    samples.draw_pairs(ax, pd.DataFrame([pair]), splits)
    assert len(ax.images) == 2
    assert any("r = 0.980" in t.get_text() for t in ax.texts)


def test_no_pairs_says_so(ax, splits):
    samples.draw_pairs(ax, pd.DataFrame(columns=["split_a"]), splits)
    assert ax.texts[0].get_text() == "no near-duplicates across splits"
