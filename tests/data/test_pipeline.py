"""Batches of both loaders (properties 1 to 10 of the known defects where they meet)."""

import dataclasses
import os
import threading

import cv2
import numpy as np
import pytest

from mtn_core.config import Config, DataConfig, ModelConfig
from mtn_core.data.pipeline import EvalLoader, TrainLoader, preview_batch
from mtn_core.data.source import open_source
from mtn_core.data.split import load_split
from mtn_core.errors import DataError
from mtn_core.vehicle import KEYPOINT_FLIP, SEGMENT_FLIP

DATA = DataConfig(ids_per_batch=3, images_per_id=2, erasing=0.3, color_jitter=0.2)
MAPS = ModelConfig(image_size=64, heatmaps=True, segments=True)
PLAIN = ModelConfig(image_size=96)
SHAPES = {
    "image": ((64, 64, 3), np.uint8),
    "heatmaps": ((36, 64, 64), np.uint8),
    "segments": ((13, 64, 64), np.uint8),
    "keypoints": ((108,), np.float32),
    "pid_index": ((), np.int32),
    "color_index": ((), np.int32),
    "type_index": ((), np.int32),
    "index": ((), np.int32),
}


@pytest.fixture
def train(tiny_root):
    return load_split(tiny_root, "train")


def opened(split, model=PLAIN):
    return open_source(split, heatmaps=model.heatmaps, segments=model.segments)


def train_batches(split, epoch=0, start=0, model=MAPS, data=DATA, **options):
    source = opened(split, model)
    with TrainLoader(source, config=data, model=model, seed=4, **options) as loader:
        loader.set_epoch(epoch, start)
        return list(loader)


def assert_same(first, second):
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def eval_batches(split, model=MAPS, batch_size=4, **options):
    with EvalLoader(opened(split, model), model=model, batch_size=batch_size, **options) as loader:
        return list(loader)


def test_shapes_and_types(train):
    for batch in train_batches(train):
        for name, (shape, dtype) in SHAPES.items():
            assert batch[name].shape == (6, *shape), name
            assert batch[name].dtype == dtype, name
            assert batch[name].flags.c_contiguous, name


def test_maps_are_read_only_where_the_model_uses_them(train, monkeypatch):
    import mtn_core.data.source as source

    read = []
    real = source.read_maps
    monkeypatch.setattr(source, "read_maps", lambda f, n, out: read.append(n) or real(f, n, out))
    batch = train_batches(train, model=PLAIN)[0]
    assert "heatmaps" not in batch
    assert "segments" not in batch
    assert not read
    assert batch["image"].shape == (6, 96, 96, 3)
    eval_batches(train, ModelConfig(image_size=32, segments=True))
    assert set(read) == {13}


@pytest.mark.parametrize("maps", ["heatmaps", "segments"])
def test_a_source_opened_without_the_models_maps_is_refused(train, maps):
    model = ModelConfig(image_size=64, **{maps: True})
    for create in (
        lambda source: TrainLoader(source, config=DATA, model=model, seed=0),
        lambda source: EvalLoader(source, model=model, batch_size=4),
    ):
        with pytest.raises(DataError, match=f"needs {maps}; open the source with {maps}=True"):
            create(opened(train))


def test_only_uint8_at_native_map_size_leaves_the_host(train):
    """36 heatmaps blown up to float32 at 256x256 would be 10 MB a sample."""
    batch = train_batches(train, model=ModelConfig(heatmaps=True))[0]
    per_sample = sum(array[0].nbytes for array in batch.values())
    assert per_sample <= 256 * 256 * 3 + 36 * 64 * 64 + 108 * 4 + 32


def test_a_batch_holds_exactly_p_ids_of_k_images(train):
    """Property 2, at the end of the pipeline: nothing shuffles the groups apart."""
    pids = train.frame["pid"].to_numpy()
    for batch in train_batches(train):
        groups = pids[batch["index"]].reshape(3, 2)
        assert (groups[:, 0] == groups[:, 1]).all()
        assert len(set(groups[:, 0])) == 3
        np.testing.assert_array_equal(
            batch["pid_index"], np.searchsorted(np.unique(pids), pids)[batch["index"]]
        )


def test_every_image_comes_in_an_epoch_and_epochs_differ(train):
    first, second = train_batches(train, 0), train_batches(train, 1)
    assert {int(i) for b in first for i in b["index"]} == set(range(18))
    assert any((a["index"] != b["index"]).any() for a, b in zip(first, second, strict=True))


def test_classes_follow_sorted_ids(train):
    """Property 7."""
    with TrainLoader(opened(train), config=DATA, model=PLAIN, seed=0) as loader:
        assert loader.pid_index == {pid: pid - 1 for pid in range(1, 7)}
    batch = train_batches(train)[0]
    rows = batch["index"]
    np.testing.assert_array_equal(
        batch["color_index"], train.frame["color_id"].to_numpy()[rows] - 1
    )
    np.testing.assert_array_equal(batch["type_index"], train.frame["type_id"].to_numpy()[rows] - 1)


def test_unknown_classes_are_minus_one(tiny_root):
    path = tiny_root / "veri" / "label_train.csv"
    lines = [line.split(",") for line in path.read_text().splitlines()]
    for cells in lines:
        cells[2] = cells[3] = "-1"
    path.write_text("\n".join(",".join(cells) for cells in lines) + "\n")
    batch = train_batches(load_split(tiny_root, "train"))[0]
    assert (batch["color_index"] == -1).all()
    assert (batch["type_index"] == -1).all()


def test_reading_again_gives_the_same(train):
    """Property 1: nothing drifts from epoch to epoch, evaluation is repeatable bit for bit."""
    keypoints = train.keypoints.copy()
    assert_same(train_batches(train, 2), train_batches(train, 2))
    with EvalLoader(opened(train, MAPS), model=MAPS, batch_size=4) as loader:
        assert_same(list(loader), list(loader))
    np.testing.assert_array_equal(train.keypoints, keypoints)


def test_workers_do_not_change_the_batches(train, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(5)), raising=False)
    alone = train_batches(train, 1, num_workers=1)
    assert_same(alone, train_batches(train, 1, num_workers=5))


def test_more_workers_than_processors_are_no_error(train):
    """Property 10."""
    assert_same(train_batches(train), train_batches(train, num_workers=10_000))
    config = DATA.model_copy(update={"num_workers": 999})
    assert_same(train_batches(train), train_batches(train, data=config))


def test_a_resumed_epoch_goes_on_as_it_was(train):
    whole = train_batches(train, 1)
    assert_same(whole[2:], train_batches(train, 1, start=2))
    assert train_batches(train, 1, start=len(whole)) == []
    with (
        TrainLoader(opened(train), config=DATA, model=PLAIN, seed=0) as loader,
        pytest.raises(DataError, match="`start_step` must be 0"),
    ):
        loader.set_epoch(0, len(loader) + 1)
    with (
        TrainLoader(opened(train), config=DATA, model=PLAIN, seed=0) as loader,
        pytest.raises(DataError, match="got -1"),
    ):
        loader.set_epoch(0, -1)


def test_ranks_get_other_ids_and_other_augmentation(train):
    data = DATA.model_copy(update={"ids_per_batch": 2})
    ranks = [train_batches(train, data=data, rank=r, rank_size=2) for r in range(2)]
    assert len(ranks[0]) == len(ranks[1])
    for a, b in zip(*ranks, strict=True):
        assert not set(a["pid_index"].tolist()) & set(b["pid_index"].tolist())
        assert len(set(a["pid_index"].tolist())) == 2


def test_augmentation_differs_by_sample_step_and_epoch(tiny_root):
    """The same image in other places is augmented otherwise."""
    split = load_split(tiny_root, "train")
    data = DATA.model_copy(update={"translation": 1.0, "erasing": 0.0, "color_jitter": 0.5})
    seen = {}
    for epoch in range(3):
        for batch in train_batches(split, epoch, data=data):
            for row, image in zip(batch["index"].tolist(), batch["image"], strict=True):
                seen.setdefault(row, set()).add(image.tobytes())
    assert np.mean([len(s) for s in seen.values()]) > 2.5


def test_augmentation_follows_from_seed_epoch_step_and_position(train):
    def drawn(seed, epoch, step, position):
        with TrainLoader(opened(train), config=DATA, model=PLAIN, seed=seed) as loader:
            loader.set_epoch(epoch)
            return loader.augmentation(step, position).lightness

    assert drawn(4, 1, 2, 3) == drawn(4, 1, 2, 3)
    others = [(5, 1, 2, 3), (4, 0, 2, 3), (4, 1, 0, 3), (4, 1, 2, 0)]
    assert len({drawn(*place) for place in [(4, 1, 2, 3), *others]}) == 5


def test_a_second_rank_is_augmented_as_the_second_half_of_one_batch(train):
    def drawn(rank, position):
        options = {"config": DATA, "model": PLAIN, "seed": 4, "rank": rank, "rank_size": 2}
        with TrainLoader(opened(train), **options) as loader:
            return loader.augmentation(1, position)

    assert DATA.ids_per_batch * DATA.images_per_id == 6
    assert [drawn(1, n) for n in range(2)] == [drawn(0, n) for n in (6, 7)]


def test_class_ids_reach_up_to_the_models_number_of_classes(train):
    frame = train.frame.assign(color_id=[4, *[1] * 17], type_id=[1, 3, *[-1] * 16])
    split = dataclasses.replace(train, frame=frame)
    model = ModelConfig(image_size=32, num_colors=4, num_types=3)
    batch = eval_batches(split, model, batch_size=18)[0]
    assert batch["color_index"].tolist() == [3, *[0] * 17]
    assert batch["type_index"].tolist() == [0, 2, *[-1] * 16]
    for column, count in (("color", {"num_colors": 3}), ("type", {"num_types": 2})):
        name = frame["name"][0 if column == "color" else 1]
        expected = rf"{column}_id above \d.*: {name}; correct .* or set model\.num_{column}s"
        with pytest.raises(DataError, match=expected):
            eval_batches(split, model.model_copy(update=count))


def test_the_smallest_batch_of_an_evaluation(tiny_root):
    split = load_split(tiny_root, "query")
    batches = eval_batches(split, PLAIN, batch_size=1)
    assert [batch["index"].tolist() for batch in batches] == [[0], [1], [2]]
    with pytest.raises(DataError, match="must be 1 or more; got 0"):
        eval_batches(split, PLAIN, batch_size=0)


def test_flips_reach_keypoints_and_maps(train):
    """Property 5, at the end of the pipeline."""
    never, always = (
        DataConfig(ids_per_batch=3, images_per_id=2, flip=p, translation=0) for p in (0, 1)
    )
    for a, b in zip(
        train_batches(train, data=never), train_batches(train, data=always), strict=True
    ):
        np.testing.assert_array_equal(a["index"], b["index"])
        np.testing.assert_array_equal(b["image"], a["image"][:, :, ::-1])
        np.testing.assert_array_equal(b["heatmaps"], a["heatmaps"][:, KEYPOINT_FLIP, :, ::-1])
        np.testing.assert_array_equal(b["segments"], a["segments"][:, SEGMENT_FLIP, :, ::-1])
        before = a["keypoints"].reshape(-1, 36, 3)[:, KEYPOINT_FLIP]
        after = b["keypoints"].reshape(-1, 36, 3)
        np.testing.assert_allclose(after[..., 0], -before[..., 0], atol=1e-6)
        np.testing.assert_array_equal(after[..., 1:], before[..., 1:])


def test_translated_keypoints_lose_their_confidence(train):
    """Property 6, at the end of the pipeline."""
    data = DataConfig(ids_per_batch=3, images_per_id=2, flip=0, translation=1)
    lost = 0
    for batch in train_batches(train, data=data):
        x, y, confidence = np.moveaxis(batch["keypoints"].reshape(-1, 36, 3) + 0.5, 2, 0)
        outside = (x < 0) | (x > 1) | (y < 0) | (y > 1)
        assert (confidence[outside] == 0).all()
        assert (confidence[~outside] > 0).all()
        lost += outside.sum()
    assert lost > 0


def test_evaluation_sees_the_plain_image(tiny_root):
    split = load_split(tiny_root, "query")
    batch = eval_batches(split, ModelConfig(image_size=64))[0]
    image = cv2.imread(str(split.image_path(1)))[..., ::-1]
    expected = cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(batch["image"][1], expected)
    height, width = image.shape[:2]
    points = split.keypoints[1]
    vector = batch["keypoints"][1].reshape(36, 3)
    np.testing.assert_allclose(vector[:, 0], points[:, 0] / width - 0.5, atol=1e-6)
    np.testing.assert_allclose(vector[:, 1], points[:, 1] / height - 0.5, atol=1e-6)
    np.testing.assert_allclose(vector[:, 2], points[:, 2] - 0.5, atol=1e-6)


def test_maps_are_those_on_disk_and_doubtful_segments_are_black(tiny_root):
    split = load_split(tiny_root, "test")
    batches = eval_batches(split)
    used = 0
    from mtn_core.data.transforms import used_segments

    for batch in batches:
        for position, row in enumerate(batch["index"].tolist()):
            if row < 0:
                continue
            for k in (0, 17, 35):
                file = split.heatmap_dir(row) / f"{k:02d}.jpg"
                expected = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
                np.testing.assert_array_equal(batch["heatmaps"][position, k], expected)
            flags = used_segments(split.keypoints[row])
            assert not batch["segments"][position][~flags].any()
            for k in np.flatnonzero(flags):
                file = split.segment_dir(row) / f"{k:02d}.jpg"
                expected = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
                np.testing.assert_array_equal(batch["segments"][position, k], expected)
                used += 1
    assert used > 0


def test_the_last_batch_is_padded(tiny_root):
    split = load_split(tiny_root, "test")
    batches = eval_batches(split, batch_size=4)
    assert [b["index"].tolist() for b in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, -1, -1, -1]]
    assert {b["image"].shape for b in batches} == {(4, 64, 64, 3)}
    last = batches[-1]
    assert not last["image"][1:].any()
    assert (last["color_index"][1:] == -1).all()
    assert (last["pid_index"] == -1).all()


def test_ranks_share_an_evaluation(tiny_root):
    split = load_split(tiny_root, "test")
    per_rank = [eval_batches(split, batch_size=2, rank=r, rank_size=3) for r in range(3)]
    assert {len(b) for b in per_rank} == {2}
    rows = [int(i) for batches in per_rank for b in batches for i in b["index"] if i >= 0]
    assert sorted(rows) == list(range(9))


def test_pid_index_of_training_in_an_evaluation(train):
    with EvalLoader(opened(train), model=PLAIN, batch_size=18, pid_index={2: 0, 5: 1}) as loader:
        found = next(iter(loader))["pid_index"]
    pids = train.frame["pid"].to_numpy()
    np.testing.assert_array_equal(found, np.select([pids == 2, pids == 5], [0, 1], -1))


@pytest.mark.parametrize("what", ["image", "heatmap"])
def test_an_unreadable_file_is_named(train, what):
    """Property 9."""
    path = train.image_path(5) if what == "image" else train.heatmap_dir(5) / "11.jpg"
    path.write_bytes(b"\xff\xd8 broken")
    with pytest.raises(DataError) as error:
        train_batches(train)
    assert str(path) in str(error.value)


def test_fewer_ids_than_p(train):
    data = DataConfig(ids_per_batch=8, images_per_id=2)
    with pytest.raises(
        DataError, match=r"needs 8 ids, but the training split has 6; set data\.ids"
    ):
        TrainLoader(opened(train), config=data, model=PLAIN, seed=0)


def test_closing_leaves_no_thread(train):
    before = threading.active_count()
    loader = TrainLoader(opened(train), config=DATA, model=PLAIN, seed=0)
    iterator = iter(loader)
    next(iterator)
    assert threading.active_count() > before
    loader.close()
    assert threading.active_count() == before
    for _ in loader:
        break
    assert threading.active_count() == before


def test_a_batch_that_is_kept_is_never_overwritten(train):
    """Arrays are used again only when no one holds them or a view of them."""
    with TrainLoader(opened(train), config=DATA, model=PLAIN, seed=0) as loader:
        views, copies = [], []
        for epoch in range(4):
            loader.set_epoch(epoch)
            for batch in loader:
                views.append(batch["image"][2:4, ::2])
                copies.append(views[-1].copy())
        del batch
        for view, copy in zip(views, copies, strict=True):
            np.testing.assert_array_equal(view, copy)


def test_arrays_are_used_again(train):
    with TrainLoader(opened(train), config=DATA, model=PLAIN, seed=0, num_workers=1) as loader:
        seen = set()
        for epoch in range(6):
            loader.set_epoch(epoch)
            for batch in loader:
                seen.add(batch["image"].ctypes.data)
        assert len(seen) < 3 * len(loader)


def test_padding_is_empty_also_in_used_arrays(tiny_root):
    split = load_split(tiny_root, "test")
    with EvalLoader(opened(split, MAPS), model=MAPS, batch_size=4, num_workers=1) as loader:
        for _ in range(3):
            for batch in loader:
                padding = batch["index"] < 0
                for name in ("image", "heatmaps", "segments", "keypoints", "size"):
                    assert not batch[name][padding].any()


def test_a_new_iteration_replaces_an_unfinished_one(train):
    with TrainLoader(opened(train), config=DATA, model=PLAIN, seed=0) as loader:
        unfinished = iter(loader)
        next(unfinished)
        assert len(list(loader)) == len(loader)


def test_the_real_crops_load(shared_data):
    split = load_split(shared_data / "real_vehicles", "train")
    assert not split.has_keypoints
    batch = train_batches(split, model=PLAIN)[0]
    assert batch["image"].std() > 20
    assert (batch["color_index"] == -1).all()
    assert (batch["keypoints"].reshape(6, 36, 3)[..., 2] == -0.5).all()


def test_preview_uses_every_map_there_is_and_fits_small_splits(train):
    config = Config(data=DataConfig(ids_per_batch=50, images_per_id=2), model=PLAIN)
    batch, pids = preview_batch(train, config)
    assert {"heatmaps", "segments"} <= batch.keys()
    assert len(batch["index"]) == 12
    assert pids == [1, 2, 3, 4, 5, 6]
