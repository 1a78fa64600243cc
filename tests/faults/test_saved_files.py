"""Saved files that do not fit each other, or are broken: named, never a traceback."""

import contextlib
import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mtn_core.cli import main
from mtn_core.config import config_from_dict, load_config, to_yaml, validate
from mtn_core.data.labels import read_labels
from mtn_core.errors import MtnError
from mtn_core.models.checkpoint import Facts
from mtn_core.report.sources import load_run
from mtn_core.results import RetrievalResult
from mtn_core.runs import RunFolder
from mtn_core.strict_yaml import parse_yaml


@pytest.fixture
def run(run_dir, tmp_path):
    return RunFolder(shutil.copytree(run_dir, tmp_path / "damaged"))


def cut_rows(run):
    pd.read_parquet(run.per_query).head(3).to_parquet(run.per_query)


def drop_column(run):
    pd.read_parquet(run.per_query).drop(columns="ap").to_parquet(run.per_query)


def other_ids(run):
    with np.load(run.query_embeddings) as file:
        arrays = dict(file)
    np.savez(run.query_embeddings, **{**arrays, "pids": arrays["pids"][::-1]})


def fewer_features(run):
    with np.load(run.gallery_embeddings) as file:
        arrays = dict(file)
    np.savez(run.gallery_embeddings, **{**arrays, "features": arrays["features"][:5]})


def nan_features(run):
    with np.load(run.query_embeddings) as file:
        arrays = dict(file)
    arrays["features"][3] = np.nan
    np.savez(run.query_embeddings, **arrays)


def pickled(run):
    np.savez(run.query_embeddings, names=np.array([{"a": 1}], dtype=object))


def set_json(**values):
    def change(run):
        run.results.write_text(json.dumps(json.loads(run.results.read_text()) | values))

    return change


FAULTS = [
    (cut_rows, r"per_query\.parquet has 3 rows, results\.json speaks of 73 queries"),
    (drop_column, r"per_query\.parquet lacks the columns ap"),
    (other_ids, r"embeddings_query\.npz is not what was evaluated"),
    (fewer_features, r"embeddings_gallery\.npz is not usable: `features`"),
    (nan_features, r"embeddings_query\.npz is not usable: .*row 3"),
    (pickled, r"embeddings_query\.npz is not a file of embeddings"),
    (lambda run: run.query_embeddings.write_bytes(b""), r"embeddings_query\.npz is not a file of"),
    (lambda run: run.per_query.write_bytes(b"PAR1"), r"per_query\.parquet cannot be read"),
    (lambda run: run.per_query.unlink(), r"per_query\.parquet does not exist"),
    (lambda run: (run.tables / "by_camera.parquet").unlink(), r"tables lacks by_camera\.parquet"),
    (
        lambda run: (run.tables / "intervals.parquet").write_bytes(b"PAR1"),
        r"intervals\.parquet cannot be read",
    ),
    (set_json(mAP="high"), "'mAP'"),
    (set_json(cmc={}), "'cmc'"),
    (set_json(num_query=-1), "'num_query'"),
    (set_json(num_gallery=None), "'num_gallery'"),
    (set_json(protocol=[]), "'protocol'"),
    (set_json(protocol={"metric": "manhattan", "max_rank": 5}), "'protocol.metric'"),
    (set_json(provenance="x"), "'provenance'"),
    (lambda run: run.results.write_text(""), r"results\.json cannot be read"),
    (lambda run: run.results.write_text("[]"), r"results\.json must hold an object; got list"),
]


@pytest.mark.parametrize(("change", "message"), FAULTS)
def test_a_report_names_file_and_run(run, tmp_path, capsys, change, message):
    change(run)
    out = tmp_path / "r.html"
    assert main(["report", str(run.path), "--out", str(out)]) == 1
    printed = capsys.readouterr().err
    assert len(printed.strip().splitlines()) == 1
    assert "damaged" in printed and "bug" not in printed, printed
    assert re.search(message, printed), printed
    assert not out.exists()


def damage(data):
    """Text or bytes with some bytes flipped, cut, doubled or put in."""
    size = len(data)

    @st.composite
    def damaged(draw):
        content = bytearray(data)
        for _ in range(draw(st.integers(1, 4))):
            at = draw(st.integers(0, max(len(content) - 1, 0)))
            kind = draw(st.sampled_from(["flip", "cut", "insert", "double"]))
            if kind == "flip" and content:
                content[at] ^= draw(st.integers(1, 255))
            elif kind == "cut":
                del content[at:]
            elif kind == "insert":
                content[at:at] = draw(st.sampled_from([b'"', b",", b"\n", b"\x00", b"[", b"nan"]))
            else:
                content[at:at] = content[at : at + draw(st.integers(0, 40))]
        return bytes(content)

    return damaged() if size else st.just(b"")


FUZZ = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
ROW = "0002_c002_00030600_0.jpg,2,4,1," + ",".join(["10.5"] * 108) + "\n"
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


@FUZZ
@given(damage((ROW + ROW.replace("0002_", "0003_")).encode()))
def test_label_files(tmp_path, content):
    (tmp_path / "label.csv").write_bytes(content)
    try:
        read_labels(tmp_path / "label.csv")
    except MtnError as error:
        assert "label.csv" in str(error)


@FUZZ
@given(damage(to_yaml(load_config("strong")).encode()))
def test_recipes(content):
    try:
        values = parse_yaml(content.decode("utf-8", "replace"), "it")
        config_from_dict(values if isinstance(values, dict) else {})
    except MtnError:
        pass


@FUZZ
@given(st.sampled_from(sorted(Facts.model_fields)), JSON_VALUES)
def test_meta_data_of_checkpoints(key, value):
    with contextlib.suppress(MtnError):
        validate(Facts, {key: value}, "it")


@FUZZ
@given(st.data())
def test_results_with_other_values(run_dir, tmp_path_factory, data):
    good = json.loads(RunFolder(run_dir).results.read_text())
    key = data.draw(st.sampled_from(sorted(good)))
    folder = tmp_path_factory.mktemp("fuzz")
    shutil.copy(RunFolder(run_dir).per_query, folder)
    RunFolder(folder).results.write_text(json.dumps(good | {key: data.draw(JSON_VALUES)}))
    try:
        RetrievalResult.load(folder).format_table()
    except MtnError as error:
        assert str(folder) in str(error)


@settings(FUZZ, max_examples=40)
@given(st.data())
def test_files_of_a_run_with_other_bytes(run_dir, tmp_path_factory, data):
    folder = shutil.copytree(run_dir, tmp_path_factory.mktemp("fuzz") / "run")
    names = ("results.json", "per_query.parquet", "config.yaml", "train.csv", "baselines.json")
    path = folder / data.draw(st.sampled_from((*names, "embeddings_query.npz", "environment.json")))
    path.write_bytes(data.draw(damage(path.read_bytes())))
    with contextlib.suppress(MtnError):
        load_run(folder)
