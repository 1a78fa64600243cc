"""Trials of saved results: reports, searches and pages."""

import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest
from trial import Trial, check, replace

IMAGE = "d/base/veri/image_query/0003_c003_00013131_0.jpg"
REPORT = "report x/run --out x/r.html"
SEARCH = f"search --run x/run --image {IMAGE} --top 2"
AGAIN = "evaluate again"
ANOTHER = r"is not the file that the evaluation wrote .*evaluate again"


def run(workspace, name="run"):
    """A run ``x/NAME``, whose files are links: replace them, do not write into them."""
    ignored = shutil.ignore_patterns("export")
    target = workspace / "x" / name
    return shutil.copytree(workspace / "r/smoke", target, copy_function=os.link, ignore=ignored)


def damaged(damage):
    """A fault in the run ``x/run``."""
    return lambda workspace: damage(run(workspace))


def text(name, content):
    return damaged(lambda folder: replace(folder / name, content))


def inside(name, content):
    """The same, of a run that is there."""
    return lambda workspace: replace(workspace / "x/run" / name, content)


def cut(name, end):
    return damaged(lambda folder: replace(folder / name, (folder / name).read_bytes()[:end]))


def instead(name, make):
    """Another kind of file in the place of one."""

    def damage(folder):
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        make(path)

    return damaged(damage)


def saved(change=None, **values):
    """Changes of ``results.json``."""

    def damage(folder):
        content = json.loads((folder / "results.json").read_text()) | values
        if change is not None:
            change(content)
        replace(folder / "results.json", json.dumps(content))

    return damaged(damage)


def arrays(split, **changes):
    """Changes of a split's embeddings, by array."""

    def damage(folder):
        path = folder / f"embeddings_{split}.npz"
        with np.load(path) as file:
            content = dict(file)
        path.unlink()
        np.savez(path, **content | {name: f(content[name]) for name, f in changes.items()})

    return damaged(damage)


def row(number, value):
    """A change of one row of an array."""

    def change(values):
        values[number] = value
        return values

    return change


def rows(change, name="per_query"):
    """A change of a Parquet table."""

    def damage(folder):
        path = folder / f"{name}.parquet"
        table = change(pd.read_parquet(path))
        path.unlink()
        table.to_parquet(path)

    return damaged(damage)


def column(**values):
    return rows(lambda table: table.assign(**values))


def old(fault):
    """The same fault in a run of a version that kept no hashes."""

    def without_hashes(workspace):
        fault(workspace)
        path = workspace / "x/run/results.json"
        content = json.loads(path.read_text())
        content.pop("sha256", None)
        replace(path, json.dumps(content))

    return without_hashes


def other_checkpoint(workspace):
    """The run, and ``x/other.ckpt`` with its network but not its weights."""
    from mtn_core.models.checkpoint import load_checkpoint, save_checkpoint

    run(workspace)
    checkpoint = load_checkpoint(workspace / "r/smoke/ckpt/last.ckpt")
    weights = {name: 2 * value for name, value in checkpoint.weights.items()}
    save_checkpoint(workspace / "x/other.ckpt", weights, checkpoint.meta)


def swap_embeddings(folder):
    query, gallery = (folder / f"embeddings_{n}.npz" for n in ("query", "gallery"))
    query.rename(folder / "other.npz")
    gallery.rename(query)
    (folder / "other.npz").rename(gallery)


def both(*faults):
    return lambda workspace: [fault(workspace) for fault in faults]


def file(name, content=""):
    return lambda workspace: (workspace / name).write_text(content)


PER_QUERY, QUERY = r"x/run/per_query\.parquet ", r"x/run/embeddings_query\.npz "
REPORTS = [
    (229, "table cut short", cut("tables/intervals.parquet", 500), r"intervals\.parquet cannot"),
    (
        230,
        "table gone",
        damaged(lambda folder: (folder / "tables/by_camera.parquet").unlink()),
        r"x/run/tables lacks by_camera\.parquet; evaluate again",
    ),
    (232, "embeddings of no bytes", text("embeddings_query.npz", ""), QUERY + "is not a file of"),
    (235, "nan", arrays("query", features=row(3, np.nan)), QUERY + ".*row 3"),
    (
        236,
        "width",
        old(arrays("query", features=lambda f: f[:, :9])),
        r"x/run: .* 9 and 1024 values",
    ),
    (237, "lengths", arrays("query", pids=lambda p: p[:5]), QUERY + r".*`pids`.*\(5,\)"),
    (
        240,
        "other ids",
        arrays("query", pids=lambda p: p[::-1]),
        QUERY + "is not what was evaluated",
    ),
    (246, "no metric", saved(lambda v: v["protocol"].pop("metric")), r"'protocol\.metric' is miss"),
    (247, "no columns", rows(lambda t: t.drop(columns=["ap"])), PER_QUERY + "lacks the columns ap"),
    (248, "3 of 58 rows", rows(lambda t: t.head(3)), PER_QUERY + "has 3 rows, .* of 58 queries"),
    (None, "mAP of 7", saved(mAP=7), r"'mAP': .*less than or equal to 1; got 7; evaluate"),
    (None, "mAP of another evaluation", saved(mAP=0.5), "differ in mAP"),
    (None, "mAP that is true", saved(mAP=True), "'mAP'"),
    (
        None,
        "mAP gone",
        saved(lambda v: v.pop("mAP")),
        r"json cannot be read: .*'mAP' is missing; e",
    ),
    (None, "mAP inf", saved(mAP=float("inf")), "'mAP'"),
    (None, "no CMC", saved(cmc=[]), "'cmc'"),
    (None, "CMC of one rank", saved(cmc=[0.25]), "has 1 values in 'cmc', expected 50"),
    (None, "CMC of ones", saved(cmc=[1.0] * 50), "differ in cmc"),
    (None, "100 queries without match", saved(num_query_without_match=100), "says 100 queries"),
    (None, "gallery of 3", saved(num_gallery=3), "gallery rows beyond the 3"),
    (None, "number as text", saved(num_query="58"), "'num_query'"),
    (None, "number of 31 digits", saved(num_query=10**30), "has 58 rows"),
    (None, "hash that is a number", saved(checkpoint_sha256=5), "'checkpoint_sha256'"),
    (None, "BOM", text("results.json", b"\xef\xbb\xbf{}"), r"results\.json cannot be read"),
    (None, "UTF-16", text("results.json", "{}".encode("utf-16")), r"results\.json cannot be read"),
    (None, "100,000 brackets", text("results.json", "[" * 10**5), r"results\.json cannot be read"),
    (None, "a folder for results.json", instead("results.json", os.mkdir), "has no results.json"),
    (None, "a pipe for results.json", instead("results.json", os.mkfifo), "has no results.json"),
    (
        None,
        "queries turned round",
        old(rows(lambda t: t[::-1])),
        "names other images than the embedd",
    ),
    (None, "text for ap", column(ap="x"), PER_QUERY + "must hold numbers in ap"),
    (None, "no ids", column(pid=None), PER_QUERY + "must hold numbers in pid"),
    (None, "row 10**6 of the gallery", column(top1_row=10**6), "gallery rows beyond the 120"),
    (None, "row -9 of the gallery", column(first_match_row=-9), "gallery rows beyond the 120"),
    (None, "other viewpoints", column(viewpoint="front"), PER_QUERY + ANOTHER),
    (
        None,
        "CSV for Parquet",
        text("per_query.parquet", "name,pid\n"),
        PER_QUERY + "cannot be read",
    ),
    (None, "a folder for Parquet", instead("per_query.parquet", os.mkdir), PER_QUERY),
    (
        None,
        "a table in the place of another",
        damaged(
            lambda f: replace(
                f / "tables/intervals.parquet", (f / "tables/by_camera.parquet").read_bytes()
            )
        ),
        r"intervals\.parquet " + ANOTHER,
    ),
    (
        None,
        "a table without rows",
        rows(lambda t: t.head(0), "tables/by_color"),
        r"by_color\.parquet " + ANOTHER,
    ),
    (None, "embeddings changed places", damaged(swap_embeddings), QUERY + "is not what was"),
    (None, "embeddings cut short", cut("embeddings_query.npz", 10**5), QUERY + "is not a file"),
    (None, "whole features", arrays("query", features=lambda f: f.astype(int)), QUERY + ANOTHER),
    (None, "text features", arrays("query", features=lambda f: f.astype(str)), QUERY + ANOTHER),
    (None, "width 0", arrays("query", features=lambda f: f[:, :0]), "0 and 1024|" + ANOTHER),
    (None, "ids 0.5 apart", arrays("query", pids=lambda p: p + 0.5), QUERY + ANOTHER),
    (None, "sizes below 0", arrays("gallery", sizes=lambda s: -s), ANOTHER),
    (None, "text for attention maps", text("attention.npz", "x"), r"attention\.npz is not a file"),
]
# What a report can do without is left out, and the command and the page say so.
WARNED = [
    (
        "binary config.yaml, a list of baselines, words for losses",
        both(
            run,
            inside("config.yaml", b"\xff\xfe\x00"),
            inside("baselines.json", "[1]"),
            inside("train.csv", "step,loss\n1,high\n"),
        ),
        r"(?s)config\.yaml cannot be read.*baselines\.json must hold an object"
        r".*train\.csv cannot be read: expected numbers in 'loss'",
    ),
    (
        "root of nothing, odd environment and baselines, words for steps",
        both(
            run,
            inside("config.yaml", "root: [null]\n"),
            inside("environment.json", '{"packages": 3, "device": [], "git_commit": {}}'),
            inside("baselines.json", '{"a": 1e400, "b": true, "untrained": {"mAP": 0.1}}'),
            inside("train.csv", "step,loss\na,1\n"),
        ),
        r"(?s)no mAP from 0 to 1 of a, b.*expected numbers in 'step'",
    ),
    ("no tables: they are made anew", instead("tables", lambda path: None), "report: x/r.html"),
]
SEARCHES = [
    (
        267,
        "pickled names",
        old(arrays("gallery", names=lambda n: n.astype(object))),
        "is not a file of",
    ),
    (269, "nan", old(arrays("gallery", features=row(0, np.nan))), r"gallery\.npz.* row 0"),
    (
        272,
        "5 of 122 features",
        arrays("gallery", features=lambda f: f[:5]),
        r"gallery\.npz .*again",
    ),
    (
        278,
        "no bytes",
        old(text("embeddings_gallery.npz", "")),
        r"gallery\.npz is not a file of embeddings",
    ),
    (279, "a list for the protocol", saved(protocol=[]), r"x/run/results\.json .*'protocol'"),
    (None, "names of 3", old(arrays("gallery", names=lambda n: n[:3])), r"gallery\.npz .*\(3,\)"),
    (None, "other features", arrays("gallery", features=lambda f: -f), r"gallery\.npz " + ANOTHER),
    (None, "no results.json to trust", text("results.json", "{"), r"x/run/results\.json cannot be"),
]
OUTPUTS = [
    Trial(
        276,
        "search with the weights of another run",
        SEARCH + " --ckpt_path x/other.ckpt",
        r"x/other\.ckpt is of checkpoint \w{12}, but the embeddings of x/run were made by",
        other_checkpoint,
    ),
    Trial(None, "report of a file", "report x/f --out x/r.html", r"x/f", file("x/f")),
    Trial(None, "report of an empty folder", "report x --out x/r.html", r"x has no results\.json"),
    Trial(
        None,
        "report of one run twice",
        "report r/smoke r/../r/smoke --out x/r.html",
        "more than",
        code=2,
    ),
    Trial(None, "report into a folder", "report r/smoke --out x", "x is a folder"),
    Trial(
        None, "report below a file", "report r/smoke --out x/f/r.html", "x/f is a file", file("x/f")
    ),
    Trial(
        None, "report over a label", REPORT[:-8] + "d/base/veri/label_query.csv", "label file", run
    ),
    Trial(None, "lists of 0", REPORT + " --lists 0", "", run, 2),
    Trial(None, "search for a folder", SEARCH.replace(IMAGE, "x"), "x", run),
    Trial(
        None,
        "search for text",
        SEARCH.replace(IMAGE, "x/f.jpg"),
        r"x/f\.jpg",
        both(run, file("x/f.jpg")),
    ),
    Trial(
        None,
        "search for a pipe",
        SEARCH.replace(IMAGE, "x/f.jpg"),
        r"x/f\.jpg",
        both(run, lambda w: os.mkfifo(w / "x/f.jpg")),
    ),
    Trial(
        None,
        "search for nothing",
        SEARCH.replace(IMAGE, "x/no.jpg"),
        r"x/no\.jpg does not exist",
        run,
    ),
    Trial(None, "search, page without a name", SEARCH + " --format html", "--out", run, code=2),
    Trial(None, "search over an image", SEARCH + f" --out {IMAGE}", "is an image", run),
    Trial(None, "search over the run", SEARCH + " --out x/run/results.json", "file of a run", run),
    Trial(
        None,
        "search with an ONNX file",
        SEARCH + " --ckpt_path r/smoke/export/model.json",
        "ckpt",
        run,
    ),
    Trial(
        None,
        "search in a run without embeddings",
        SEARCH.replace("x/run", "x"),
        "embeddings_gallery",
    ),
]
TRIALS = [
    *(Trial(n, f"report, {what}", REPORT, said, fault) for n, what, fault, said in REPORTS),
    *(
        Trial(None, f"report, {what}", REPORT, said, fault, 0, ("x/r.html",))
        for what, fault, said in WARNED
    ),
    *(Trial(n, f"search, {what}", SEARCH, said, fault) for n, what, fault, said in SEARCHES),
    *OUTPUTS,
]


@pytest.mark.parametrize("trial", TRIALS, ids=str)
def test_trial(trial, workspace, capfd, caplog):
    check(trial, workspace, capfd, caplog)
