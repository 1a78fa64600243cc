"""Writing of maps: whole or not at all, restartable, the same in folders and in packs."""

import json
import shutil

import numpy as np
import pytest

from mtn_core.config import ModelConfig
from mtn_core.data.check import check_dataset
from mtn_core.data.labels import load_labels
from mtn_core.data.layout import label_path
from mtn_core.data.pipeline import EvalLoader
from mtn_core.data.pose_maps import draw_heatmaps, draw_segments
from mtn_core.data.source import open_source, read_maps
from mtn_core.data.split import load_split
from mtn_core.errors import DataError, RunFolderError
from mtn_core.pose.map_store import MapStore
from mtn_core.pose.maps import MapOptions, link_root, write_pose_maps


class Painter:
    """Stands for a network: draws the pose that it is told, one crop after the other."""

    image_size, heatmap_size = 64, 64

    def __init__(self, keypoints, sizes, fail_after=None):
        self.maps = draw_heatmaps(keypoints, sizes) / np.float32(255)
        self.fail_after = fail_after
        self.num_images = 0

    def __call__(self, image):
        # The crop's mean colour says which one it is.
        rows = np.round(image.mean((1, 2, 3))).astype(int) // 4 - 1
        self.num_images += (rows >= 0).sum()
        if self.fail_after is not None and self.num_images > self.fail_after:
            raise KeyboardInterrupt
        return self.maps[np.maximum(rows, 0)]


@pytest.fixture
def data(tmp_path):
    """Twelve grey crops of different brightness, and a pose for each."""
    import cv2

    rng = np.random.default_rng(0)
    folder = tmp_path / "in" / "veri" / "image_query"
    folder.mkdir(parents=True)
    names = [f"{i:04d}_c00{1 + i % 3}_{i:08d}_0.jpg" for i in range(12)]
    sizes = rng.integers(60, 90, (12, 2))
    rows = []
    for i, name in enumerate(names):
        grey = np.full((sizes[i, 1], sizes[i, 0], 3), 4 * (i + 1), np.uint8)
        cv2.imwrite(str(folder / name), grey)
        rows.append(f"{name},{i},-1,{1 + i % 9}," + ",".join(["0"] * 108))
    (tmp_path / "in" / "veri" / "label_query.csv").write_text("\n".join(rows) + "\n")
    keypoints = rng.uniform(0.1, 0.9, (12, 36, 3))
    keypoints[..., :2] *= sizes[:, None]
    return tmp_path / "in", keypoints, sizes


def run(root, painter, sha="model", options=None, **more):
    lines = []
    outcomes = write_pose_maps(
        root,
        painter,
        sha,
        options,
        splits=("query",),
        batch_size=4,
        progress=False,
        echo=lines.append,
        **more,
    )
    return outcomes[0], lines


def test_maps_and_labels_hold_the_prediction(data):
    root, keypoints, sizes = data
    before = label_path(root, "query").read_bytes()
    outcome, _ = run(root, Painter(keypoints, sizes))
    assert (outcome.num_images, outcome.num_predicted) == (12, 12)
    frame, found = load_labels(label_path(root, "query"))
    assert frame["type_id"].tolist() == [1 + i % 9 for i in range(12)]
    assert (frame["color_id"] == -1).all()
    step = sizes.max() / 64
    assert np.abs(found[..., :2] - keypoints[..., :2]).max() < 0.35 * step
    assert np.abs(found[..., 2] - keypoints[..., 2]).max() < 0.07
    split = load_split(root, "query")
    expected = draw_heatmaps(keypoints, sizes)
    segments = draw_segments(found, sizes)
    for row in range(12):
        maps = read_maps(split.heatmap_dir(row), 36)
        assert np.abs(maps.astype(int) - expected[row]).max() < 16  # JPEG
        # Labels are rounded, which moves an edge over a pixel's centre now and then.
        difference = np.abs(read_maps(split.segment_dir(row), 13).astype(int) - segments[row])
        assert (difference > 64).mean() < 0.002
    kept = label_path(root, "query").with_name("label_query.before_trans.csv")
    assert kept.read_bytes() == before
    report = check_dataset(root, heatmaps=True, segments=True, splits=("query",))
    assert report.ok, report.to_text()
    assert not list((root / "veri").glob(".trans*"))


def test_a_second_call_has_nothing_to_do_and_another_model_starts_afresh(data):
    root, keypoints, sizes = data
    run(root, Painter(keypoints, sizes))
    labels = label_path(root, "query").read_bytes()
    painter = Painter(keypoints, sizes)
    outcome, lines = run(root, painter)
    assert outcome.num_predicted == 0 == painter.num_images
    assert lines == ["query: 12 images, done before"]
    other = keypoints[::-1] / sizes[::-1, None, :1] * sizes[:, None, :1]
    outcome, _ = run(root, Painter(other, sizes), sha="another model")
    assert outcome.num_predicted == 12
    assert label_path(root, "query").read_bytes() != labels
    # The labels that the first call replaced stay; the first call's own are not kept.
    kept = sorted(p.name for p in (root / "veri").glob("*.before_trans*"))
    assert kept == ["label_query.before_trans.csv"]
    outcome, _ = run(root, Painter(other, sizes), sha="another model", options=MapOptions(True))
    assert outcome.num_predicted == 12


def test_an_interrupted_call_is_taken_up(data):
    root, keypoints, sizes = data
    with pytest.raises(KeyboardInterrupt):
        run(root, Painter(keypoints, sizes, fail_after=8))
    veri = root / "veri"
    assert not (veri / "heatmap_query").exists()
    assert not (veri / "segment_query").exists()
    assert (load_split(root, "query").keypoints == 0).all()
    painter = Painter(keypoints, sizes)
    outcome, lines = run(root, painter)
    # Of two whole batches the first was recorded; the second had not been waited for.
    assert lines[0] in (
        "query: going on after 4 of 12 images",
        "query: going on after 8 of 12 images",
    )
    assert outcome.num_predicted == painter.num_images < 12
    whole = {p.name: p.read_bytes() for p in sorted(veri.rglob("*.*")) if p.is_file()}
    # The same as without an interruption.
    again = root.parent / "again"
    run(link_root(root, again, ()) if again.exists() else root, Painter(keypoints, sizes), "x")
    other = {p.name: p.read_bytes() for p in sorted(veri.rglob("*.*")) if p.is_file()}
    del whole["trans_query.json"], other["trans_query.json"]
    assert whole == other


def test_an_interrupted_call_of_another_model_is_thrown_away(data):
    root, keypoints, sizes = data
    with pytest.raises(KeyboardInterrupt):
        run(root, Painter(keypoints, sizes, fail_after=8))
    painter = Painter(keypoints, sizes)
    outcome, lines = run(root, painter, sha="another model")
    assert lines[0].startswith("query: an interrupted call used another model or other options")
    assert outcome.num_predicted == painter.num_images == 12


@pytest.mark.parametrize("step", ["_place_folders", "write_labels"])
def test_an_interruption_while_placing_is_finished_by_the_next_call(data, monkeypatch, step):
    root, keypoints, sizes = data
    import mtn_core.pose.map_store as module

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    target = module if step == "write_labels" else MapStore
    with monkeypatch.context() as patch:
        patch.setattr(target, step, stop)
        with pytest.raises(KeyboardInterrupt):
            run(root, Painter(keypoints, sizes))
    assert not (root / "veri" / "heatmap_query").exists()
    painter = Painter(keypoints, sizes)
    run(root, painter)
    assert painter.num_images == 0
    assert check_dataset(root, heatmaps=True, segments=True, splits=("query",)).ok
    kept = label_path(root, "query").with_name("label_query.before_trans.csv")
    assert (load_labels(kept)[1] == 0).all()


def test_check_finds_unfinished_work(data):
    root, keypoints, sizes = data
    with pytest.raises(KeyboardInterrupt):
        run(root, Painter(keypoints, sizes, fail_after=8))
    report = check_dataset(root, splits=("query",))
    assert not report.ok
    assert "mtn trans" in report.to_text() and ".trans_query" in report.to_text()
    shutil.rmtree(root / "veri" / ".trans_query")
    assert check_dataset(root, splits=("query",)).ok


def test_maps_of_other_origin_are_not_replaced_unasked(data):
    root, keypoints, sizes = data
    foreign = root / "veri" / "heatmap_query" / "0000"
    foreign.mkdir(parents=True)
    (foreign / "00.jpg").write_bytes(b"drawn by someone")
    with pytest.raises(RunFolderError, match=r"did not write are there.*--overwrite"):
        run(root, Painter(keypoints, sizes))
    assert (foreign / "00.jpg").read_bytes() == b"drawn by someone"
    run(root, Painter(keypoints, sizes), overwrite=True)
    assert check_dataset(root, heatmaps=True, splits=("query",)).ok


def test_labels_that_were_edited_since_are_kept(data):
    root, keypoints, sizes = data
    run(root, Painter(keypoints, sizes))
    path = label_path(root, "query")
    path.write_text(path.read_text().replace(",-1,1,", ",5,1,"))
    with pytest.raises(RunFolderError):  # no longer this command's own
        run(root, Painter(keypoints, sizes))
    edited = path.read_bytes()
    run(root, Painter(keypoints * 0.9, sizes), "another model", overwrite=True)
    kept = root / "veri" / "label_query.before_trans.2.csv"
    assert kept.read_bytes() == edited != path.read_bytes()
    assert (load_labels(path)[0]["color_id"] == 5).sum() == 2


def test_labels_without_their_images_are_an_error(data):
    root, keypoints, sizes = data
    next((root / "veri" / "image_query").iterdir()).unlink()
    with pytest.raises(DataError, match=r"does not match the images: 1 of 12 do not exist"):
        run(root, Painter(keypoints, sizes))


def test_another_root_leaves_the_first_alone(data, tmp_path):
    root, keypoints, sizes = data
    before = sorted(p.name for p in (root / "veri").iterdir())
    run(root, Painter(keypoints, sizes), out=tmp_path / "out")
    assert sorted(p.name for p in (root / "veri").iterdir()) == before
    assert (load_split(root, "query").keypoints == 0).all()
    assert load_split(tmp_path / "out", "query").has_keypoints
    assert check_dataset(tmp_path / "out", heatmaps=True, splits=("query",)).ok
    run(root, Painter(keypoints, sizes), out=tmp_path / "out")


def read_everything(root):
    model = ModelConfig(image_size=64, heatmaps=True, segments=True)
    source = open_source(load_split(root, "query"), heatmaps=True, segments=True)
    with EvalLoader(source, model=model, batch_size=12, num_workers=1) as loader:
        return next(iter(loader))


def test_a_pack_holds_the_same_values_as_folders(data, tmp_path):
    root, keypoints, sizes = data
    run(root, Painter(keypoints, sizes), out=tmp_path / "folders")
    run(root, Painter(keypoints, sizes), options=MapOptions(pack=True), out=tmp_path / "packed")
    veri = tmp_path / "packed" / "veri"
    assert (veri / "pack_query").is_dir() and not (veri / "heatmap_query").exists()
    folders, packed = read_everything(tmp_path / "folders"), read_everything(tmp_path / "packed")
    assert folders["heatmaps"].max() > 200 and folders["segments"].max() > 200
    for name, values in folders.items():
        assert np.array_equal(values, packed[name]), name
    painter = Painter(keypoints, sizes)
    run(root, painter, options=MapOptions(pack=True), out=tmp_path / "packed")
    assert painter.num_images == 0


def test_a_full_disk_keeps_what_was_done(data, monkeypatch):
    root, keypoints, sizes = data
    written = []
    original = MapStore.write

    def write(self, row, *maps):
        if len(written) >= 6:
            raise OSError(28, "No space left on device")
        written.append(row)
        original(self, row, *maps)

    with monkeypatch.context() as patch:
        patch.setattr(MapStore, "write", write)
        with pytest.raises(DataError, match=r"No space left.*run the command again to go on"):
            run(root, Painter(keypoints, sizes))
    assert not (root / "veri" / "heatmap_query").exists()
    outcome, _ = run(root, Painter(keypoints, sizes))
    assert outcome.num_predicted == 8
    assert check_dataset(root, heatmaps=True, segments=True, splits=("query",)).ok


def test_the_record_names_model_and_options(data):
    root, keypoints, sizes = data
    run(root, Painter(keypoints, sizes), sha="abc", options=MapOptions(refine=False))
    done = json.loads((root / "veri" / "trans_query.json").read_text())
    assert done["key"] == {
        "model_sha256": "abc",
        "flip_test": False,
        "refine": False,
        "pack": False,
    }
    assert done["images"] == 12


def test_a_pack_without_map_folders_is_enough_to_train_on(data, tmp_path):
    """What training looks for before it starts must find the pack."""
    import shutil

    from mtn_core.config import load_config
    from mtn_core.engine.multitask import open_training

    root, keypoints, sizes = data
    veri = root / "veri"
    shutil.copytree(veri / "image_query", veri / "image_train")
    shutil.copy(veri / "label_query.csv", veri / "label_train.csv")
    options = MapOptions(pack=True)
    painter = Painter(keypoints, sizes)
    write_pose_maps(
        root, painter, "model", options, splits=("train",), out=tmp_path / "packed", progress=False
    )
    assert not (tmp_path / "packed" / "veri" / "heatmap_train").exists()
    config = load_config("smoke", {"model.heatmaps": True})
    assert len(open_training([tmp_path / "packed"], config)) == 12
    with pytest.raises(DataError, match="heatmap"):
        open_training([root], config)
