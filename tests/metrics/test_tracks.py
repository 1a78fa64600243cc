import numpy as np
import pytest

from mtn_core.errors import DataError
from mtn_core.metrics import distance
from mtn_core.metrics.retrieval import evaluate
from mtn_core.metrics.tracks import evaluate_tracks, find_tracks, mean_embeddings


def test_tracks_end_with_vehicle_camera_and_gap():
    names = ["2_c1_000100_0.jpg", "2_c1_000300_1.jpg", "2_c1_000501_0.jpg"]
    names += ["2_c2_000100_0.jpg", "3_c1_000100_0.jpg", "2_c1_000105_2.jpg"]
    tracks = find_tracks([2, 2, 2, 2, 3, 2], [1, 1, 1, 2, 1, 1], names)
    assert tracks.index.tolist() == [0, 0, 1, 2, 3, 0]
    assert tracks.pids.tolist() == [2, 2, 2, 3]
    assert tracks.camids.tolist() == [1, 1, 2, 1]


def test_without_frame_numbers_a_camera_is_one_track():
    tracks = find_tracks([2, 2, 2], [1, 1, 2], ["a.jpg", "2_c1_000100_0.jpg", "b.jpg"])
    assert tracks.index.tolist() == [0, 0, 1]
    assert len(find_tracks([2, 2, 2], [1, 1, 2])) == 2


@pytest.mark.parametrize("exact_work", [0, 1e12])
@pytest.mark.parametrize("how", ["nearest", "mean", "weighted"])
def test_against_plain_loops(monkeypatch, exact_work, how):
    monkeypatch.setattr(distance, "EXACT_WORK", exact_work)
    monkeypatch.setattr(distance, "BLOCK_ROWS", 4)
    monkeypatch.setattr(distance, "BLOCK_BYTES", 1)
    rng = np.random.default_rng(0)
    query, gallery = rng.standard_normal((11, 5)), rng.standard_normal((70, 5))
    q_pids, g_pids = rng.integers(0, 5, 11), rng.integers(0, 5, 70)
    q_camids, g_camids = rng.integers(1, 4, 11), rng.integers(1, 4, 70)
    tracks = find_tracks(g_pids, g_camids)
    members = [np.flatnonzero(tracks.index == t) for t in range(len(tracks))]
    result = evaluate_tracks(query, gallery, q_pids, q_camids, tracks, how=how)
    if how == "mean":
        wanted = np.stack([gallery[m].mean(axis=0) for m in members])
        np.testing.assert_allclose(mean_embeddings(gallery, tracks), wanted)
        distances = np.linalg.norm(query[:, None] - wanted, axis=2)
    elif how == "weighted":
        wanted = np.stack([_weighted_mean(gallery[m]) for m in members])
        np.testing.assert_allclose(mean_embeddings(gallery, tracks, alpha=3), wanted)
        distances = np.linalg.norm(query[:, None] - wanted, axis=2)
    else:
        images = np.linalg.norm(query[:, None] - gallery, axis=2)
        distances = np.stack([images[:, m].min(axis=1) for m in members], axis=1)
    # any order of distances is that of points on a line, one query at a time
    for i in range(11):
        line = evaluate(
            np.zeros((1, 1)), distances[i][:, None], q_pids[i : i + 1], tracks.pids,
            q_camids[i : i + 1], tracks.camids,
        )  # fmt: skip
        np.testing.assert_allclose(result.ap[i], line.ap[0])
        assert result.num_ignored[i] == line.num_ignored[0]
    assert result.num_gallery == len(tracks)


def _weighted_mean(images):
    mean = images.mean(axis=0)
    cosines = [image @ mean / np.linalg.norm(image) / np.linalg.norm(mean) for image in images]
    return np.average(images, axis=0, weights=np.maximum(cosines, 0) ** 3)


def test_a_frame_of_something_else_weighs_less():
    gallery = np.array([[1.0, 0], [1, 0.1], [0, 0.9], [0, 0], [3, 4], [1, 0], [-1, 0]])
    tracks = find_tracks([1, 1, 1, 2, 3, 4, 4], [1] * 7)
    plain, weighted = (mean_embeddings(gallery, tracks, alpha=alpha) for alpha in (0, 3))
    slope = [means[0, 1] / means[0, 0] for means in (plain, weighted)]
    assert slope[1] < slope[0]
    assert weighted[1:].tolist() == [[0, 0], [3, 4], [0, 0]]  # nothing to weigh by: plain means


def test_the_querys_own_track_is_ignored():
    gallery = np.array([[0.0], [0.1], [5]])
    tracks = find_tracks([1, 1, 1], [1, 1, 2])
    result = evaluate_tracks(np.zeros((1, 1)), gallery, [1], [1], tracks)
    assert (result.num_ignored[0], result.num_matches[0]) == (1, 1)
    assert result.first_match_distance[0] == 5


def test_number_of_tracks_of_the_real_gallery(shared_data):
    text = (shared_data / "veri_labels" / "test_label.xml").read_text("ascii", "replace")
    names = [part.split('"')[0] for part in text.split('imageName="')[1:]]
    fields = np.array([[int(n.split("_")[0]), int(n.split("_")[1][1:])] for n in names])
    assert len(find_tracks(fields[:, 0], fields[:, 1], names)) == 2023


def test_bad_input():
    tracks = find_tracks([1, 2], [1, 1])
    with pytest.raises(DataError, match="nearest, mean, weighted; got 'median'"):
        evaluate_tracks(np.ones((1, 2)), np.ones((2, 2)), [1], [1], tracks, how="median")
    with pytest.raises(DataError, match="gallery of 3 images; got 2"):
        evaluate_tracks(np.ones((1, 2)), np.ones((3, 2)), [1], [1], tracks)
