"""The page on embeddings of another program: what it shows, and what it leaves out."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from mtn_core.errors import ConfigError, DataError, RunFolderError
from mtn_core.metrics.retrieval import evaluate
from mtn_core.report import write_report
from mtn_core.report.absent import describe_absent
from mtn_core.report.embeddings import find_pictures, write_embeddings_runs
from mtn_core.report.sources import load_runs
from mtn_core.results import RetrievalResult
from mtn_core.results.foreign import EmbeddingFiles


@pytest.fixture(scope="module")
def arrays():
    """Query and gallery of 8 vehicles at 4 cameras, as a loop of another program has them."""
    rng = np.random.default_rng(3)
    centres = rng.normal(size=(8, 16))
    made = {}
    for name, count in (("query", 16), ("gallery", 40)):
        pids, camids = np.arange(count) % 8, np.arange(count) // 8 % 4
        made[name] = {
            "features": (centres[pids] + rng.normal(size=(count, 16))).astype(np.float32),
            "pids": pids,
            "camids": camids,
            "names": np.array([f"img/{name}{k}.png" for k in range(count)]),
        }
    return made


@pytest.fixture(scope="module")
def write(arrays, tmp_path_factory):
    """Writes the files of a network without some arrays, its features blurred."""

    def save(*, drop=(), blur=0.0, keep=None):
        folder = tmp_path_factory.mktemp("net")
        for name, split in arrays.items():
            kept = {k: v[:keep] for k, v in split.items() if k not in drop}
            noise = np.random.default_rng(9).normal(size=kept["features"].shape)
            kept["features"] = kept["features"] + blur * noise.astype(np.float32)
            np.savez(folder / f"{name}.npz", **kept)
        return EmbeddingFiles(folder / "query.npz", folder / "gallery.npz")

    return save


@pytest.fixture(scope="module")
def bare(write, tmp_path_factory):
    """Run folder and page of embeddings with ids alone."""
    folder = tmp_path_factory.mktemp("bare")
    runs = write_embeddings_runs({"bare": write(drop=["camids", "names"])}, folder)
    return runs[0], write_report(runs, folder / "bare.html").read_text()


def test_figures_are_those_of_the_metrics_module(write, arrays, tmp_path):
    (run,) = write_embeddings_runs({"net": write()}, tmp_path, metric="cosine")
    q, g = arrays["query"], arrays["gallery"]
    ids = [s[key] for key in ("pids", "camids") for s in (q, g)]
    expected = evaluate(q["features"], g["features"], *ids, metric="cosine")
    saved = RetrievalResult.load(run)
    assert saved.mAP == pytest.approx(expected.mAP, abs=1e-12) and 0 < saved.mAP < 1
    text = write_report([run], tmp_path / "r.html").read_text()
    assert f"The network reaches a mAP of {100 * expected.mAP:.1f} %" in text
    assert "Camera of the query against" in text and "camera means taken away" in text


def test_what_the_files_lack_is_said_and_left_out(bare):
    run, text = bare
    tables = RetrievalResult.load(run).tables
    for name in ("camera", "color", "type", "viewpoint", "size", "confidence"):
        assert tables[f"by_{name}"].empty, name
    shown = re.sub(r"<(script|style)\b.*?</\1>|<details>.*?</details>", "", text, flags=re.S)
    note = re.search(r"Not in these results[^<]*", shown)[0]
    for what in ("cameras", "true colours", "judged colours", "keypoints", "sizes", "pictures"):
        assert what in note
    shown = shown.replace(note, "")
    for absent in ("Colour", "Type", "unknown", "viewpoint", "nan", "no image", "Recipe", "Seed"):
        assert not re.search(rf"\b{absent}\b", shown), absent
    assert not re.search(r"(?<!own )camera (\d|\?)", shown)
    assert "camera means taken away" not in shown and "tracks by" not in shown
    assert "not recorded" not in shown and "Incomplete" not in shown
    assert "Cameras are not given" in shown


def test_names_stand_where_pictures_would(bare):
    _, text = bare
    assert 'class="thumb named"' in text and ">gallery[" in text
    lists = json.loads(re.search(r'id="lists">(.*?)</script>', text, re.DOTALL)[1])
    assert len(lists["lists"]) == 16
    name, _, camid, thumb = next(iter(lists["gallery"].values()))
    assert name.startswith("gallery[") and camid == 0 and thumb is None


def test_a_run_that_knows_everything_lacks_nothing(run_dir):
    assert describe_absent(load_runs([run_dir])) == ""


def test_pictures_are_found_in_any_folder_and_give_sizes(write, arrays, tmp_path):
    for folder, name in (("a", "query"), ("b/deep", "gallery")):
        (tmp_path / folder).mkdir(parents=True)
        for k, path in enumerate(arrays[name]["names"]):
            picture = Image.new("RGB", (20 + 10 * k, 30), (5 * k, 90, 200))
            picture.save(tmp_path / folder / path.rpartition("/")[2])
    images = [tmp_path / "a", tmp_path / "b"]
    runs = write_embeddings_runs(
        {"net": write()}, tmp_path / "runs", crops=find_pictures(None, images)
    )
    assert RetrievalResult.load(runs[0]).query.sizes[1].tolist() == [30, 30]
    text = write_report(runs, tmp_path / "r.html").read_text()  # the run names its folders
    assert "could not be read" not in text and "By size of the crop" in text
    assert text.count("background-image:url(data:image/jpeg") == 40 + 1  # and the placeholder
    assert "pictures (names" not in text
    (tmp_path / "b" / "deep" / "gallery3.png").unlink()
    text = write_report(runs, tmp_path / "r.html", images=images).read_text()
    assert "1 crop could not be read" in text and "--images" in text


def test_pictures_outside_the_folders_are_not_read(tmp_path):
    (tmp_path / "in").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "out.png")
    crops = find_pictures(None, [tmp_path / "in"])
    assert crops.path("query", "../out.png") is None
    assert crops.path("query", str(tmp_path / "out.png")) is None
    with pytest.raises(ConfigError, match="is not a folder"):
        find_pictures(None, [tmp_path / "nowhere"])
    with pytest.raises(ConfigError, match="not both"):
        find_pictures(tmp_path, [tmp_path])


def test_two_networks_stand_side_by_side(write, tmp_path):
    runs = write_embeddings_runs({"sharp": write(), "dim": write(blur=2.0)}, tmp_path)
    sharp, dim = (RetrievalResult.load(run) for run in runs)
    assert sharp.mAP > dim.mAP
    text = write_report(runs, tmp_path / "r.html").read_text()
    points = f"{100 * (dim.mAP - sharp.mAP):+.1f}"
    assert f"mAP {points} points" in text and "Queries on which dim loses most" in text


def test_networks_on_other_queries_leave_nothing_behind(write, tmp_path):
    networks = {"all": write(), "few": write(keep=12)}
    with pytest.raises(DataError, match=r"all and few cannot stand in one report: .*the queries"):
        write_embeddings_runs(networks, tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_runs_stand_beside_embeddings_of_the_same_images(run_dir, write, tmp_path):
    files = EmbeddingFiles(run_dir / "embeddings_query.npz", run_dir / "embeddings_gallery.npz")
    runs = write_embeddings_runs({"again": files}, tmp_path / "runs", beside=[run_dir])
    assert RetrievalResult.load(runs[0]).mAP == RetrievalResult.load(run_dir).mAP
    with pytest.raises(DataError, match="good and net cannot stand in one report"):
        write_embeddings_runs({"net": write()}, tmp_path / "other", beside=[run_dir])
    assert not (tmp_path / "other").exists()


def test_results_and_trainings_are_not_replaced(write, tmp_path):
    networks = {"net": write()}
    write_embeddings_runs(networks, tmp_path)
    with pytest.raises(RunFolderError, match="already holds a run"):
        write_embeddings_runs(networks, tmp_path)
    write_embeddings_runs(networks, tmp_path, overwrite=True)
    (tmp_path / "net" / "ckpt").mkdir()
    with pytest.raises(RunFolderError, match="holds a training"):
        write_embeddings_runs(networks, tmp_path, overwrite=True)
