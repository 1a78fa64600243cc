"""Trials of exported models and of the two ends of 310 inference."""

import json
import os
import shutil

import numpy as np
import pytest
from trial import Trial, check, own, replace

NAN = float("nan")
EXPORT = "r/smoke/export"
ONNX, MINDIR = "MultiTask_export_segment.onnx", "MultiTask_export_segment.mindir"
RESULT = "veri_data_query_img_3_3.bin"
INPUT = "in/query/img/veri_data_query_img_3.bin"
EVAL = "eval-onnx --root d/base --out x/on --onnx_path "
PREPROCESS = (
    f"preprocess --root d/base --result_dir x/pp/in --label_dir x/pp/lab --mindir_path x/e/{MINDIR}"
)
REUSE = PREPROCESS.replace("x/pp/", "p/") + " --reuse"
POSTPROCESS = "postprocess --result_dir x/res --label_dir p/lab"
TO_LITE = f"to-lite --mindir_path x/e/{MINDIR} --out x/l.mindir --converter "
EXPORT_AGAIN = "export --ckpt_path r/smoke/ckpt/last.ckpt "


def put(*keys, value):
    """A change of JSON values: the one under ``keys``."""

    def change(values):
        for key in keys[:-1]:
            values = values[key]
        values[keys[-1]] = value

    return change


def drop(*keys):
    """A change that takes a key away."""

    def change(values):
        for key in keys[:-1]:
            values = values[key]
        del values[keys[-1]]

    return change


def rewrite(path, change):
    """Put text, or the changed values of a JSON file, in the place of the file."""
    if callable(change):
        values = json.loads(path.read_text())
        change(values)
        change = json.dumps(values)
    replace(path, change)


def export(workspace):
    """The export ``x/e``, whose files are links: replace them, do not write into them."""
    return shutil.copytree(workspace / EXPORT, workspace / "x/e", copy_function=os.link)


def exported(damage):
    """A fault in the export ``x/e``."""
    return lambda workspace: damage(export(workspace))


def model_json(change):
    return exported(lambda folder: rewrite(folder / "model.json", change))


def onnx(content):
    """Nothing but ``x/ONNX`` with this content, or what a function of the workspace gives."""

    def fault(workspace):
        data = content(workspace) if callable(content) else content
        replace(workspace / "x" / ONNX, data)

    return fault


def inputs(damage):
    """The export ``x/e``, and a fault in the inputs ``p``."""

    def fault(workspace):
        export(workspace)
        damage(own(workspace / "p"))

    return fault


def results(damage=lambda folder: None, labels=None, model=None):
    """What the 310 program would write, in ``x/res``; faults in it or in what ``p/lab`` holds."""

    def fault(workspace):
        folder = workspace / "x" / "res"
        folder.mkdir()
        rng = np.random.default_rng(0)
        for split, count in (("query", 58), ("gallery", 120)):
            for row in range(count):
                for number, width in enumerate((24, 10, 9, 1024)):
                    values = rng.normal(size=width).astype(np.float32)
                    values.tofile(folder / f"veri_data_{split}_img_{row}_{number}.bin")
        damage(folder)
        for name, change in (("query_label.json", labels), ("model.json", model)):
            if change is not None:
                rewrite(own(workspace / "p") / "lab" / name, change)

    return fault


def label(key, value):
    return results(labels=put("3", key, value=value))


def instead(make):
    """Another kind of file in the place of one."""
    return lambda path: (path.unlink(), make(path))


def file(name):
    return lambda workspace: (workspace / name).write_text("mine")


def bytes_of(name, end=None):
    return lambda workspace: (workspace / name).read_bytes()[:end]


def embedding(*shape):
    return put("outputs", "embedding", "shape", value=shape)


ONNX_FILES = [
    (189, "no bytes", onnx(""), r"is empty.*`mtn export`"),
    (None, "text", onnx("hello\n"), r"is not a readable ONNX file.*`mtn export`"),
    (None, "zero bytes", onnx(bytes(5000)), r"is not a readable ONNX file"),
    (None, "cut short", onnx(bytes_of(f"{EXPORT}/{ONNX}", 10**6)), r"is not a readable ONNX file"),
    (None, "a renamed MINDIR", onnx(bytes_of(f"{EXPORT}/{MINDIR}")), r"format \(Missing opset"),
    (None, "a pipe", lambda w: os.mkfifo(w / "x" / ONNX), r"is not a regular file"),
    (None, "a link to itself", lambda w: (w / "x" / ONNX).symlink_to(ONNX), r"leads nowhere"),
]
MODEL_JSONS = [
    (210, "without the embedding", drop("outputs", "embedding"), r"outputs: expected .*embedding"),
    (None, "embedding of 10**12 values", embedding("N", 10**12), r"embedding\.shape: .*1 to 10+"),
    (None, "embedding of -4 values", embedding("N", -4), r"embedding\.shape"),
    (None, "embedding of 'wide' values", embedding("N", "wide"), r"embedding\.shape"),
    (None, "embedding without a shape", embedding(), r"embedding\.shape"),
    (None, "without the image", drop("inputs", "image"), r"inputs: expected image, keypoints"),
    (
        None,
        "3 channels of 16",
        put("inputs", "image", "shape", value=["N", 3, 64, 64]),
        r"inputs\.image\.shape: expected \('N', 16, 64, 64\); got \('N', 3, 64, 64\)",
    ),
    (None, "a network of 96 pixels", put("network", "image_size", value=96), r"image\.shape"),
    (None, "36 keypoint values", put("inputs", "keypoints", "shape", value=["N", 36]), "keypoints"),
    (None, "a deviation of 0", put("image_std", value=[0, 1, 1]), r"image_std"),
    (None, "a mean that is nan", put("image_mean", value=[NAN] * 3), r"image_mean"),
    (None, "maps of no pixels", put("map_size", value=0), r"map_size"),
    (None, "an unknown distance", put("metric", value="manhattan"), r"metric"),
    (None, "other ids than their hash", put("pids", value=[1]), r"pids_sha256"),
    (None, "another version", put("format", value="mtn-model/2"), r"format"),
    (None, "bytes that are no text", b"\xff\xfe\x00", r"Invalid JSON"),
    (None, "100,000 brackets", "[" * 100_000, r"Invalid JSON"),
    (None, "no files", put("files", value={}), r"it names none; give one of"),
]
LABELS = [
    (376, "row without vid", results(labels=drop("3", "vid")), r"row 3, vid"),
    (None, "vid in words", label("vid", ["four"]), r"row 3, vid"),
    (None, "vid as text", label("vid", ["4"]), r"row 3, vid"),
    (None, "vid 4.7", label("vid", [4.7]), r"row 3, vid"),
    (None, "vid true", label("vid", [True]), r"row 3, vid"),
    (None, "vid null", label("vid", None), r"row 3, vid"),
    (None, "no vid in the list", label("vid", []), r"row 3, vid"),
    (None, "two vids in the list", label("vid", [3, 4]), r"row 3, vid"),
    (None, "vid of 31 digits", label("vid", [10**30]), r"row 3, vid"),
    (None, "camera -1", label("camid", [-1]), r"row 3, camid"),
    (None, "colour -7", label("vcolor", [-7]), r"row 3, vcolor"),
    (None, "row that is a number", results(labels=put("3", value=7)), r"row 3: "),
    (None, "name that is a number", label("name", 7), r"row 3, name"),
    (None, "width without height", label("size", [30]), r"row 3, size"),
    (None, "two keypoint values", label("keypoints", [1, 2]), r"row 3, keypoints"),
    (None, "keypoints that are nan", label("keypoints", [NAN] * 108), r"row 3, keypoints"),
    (None, "row 3 missing", results(labels=drop("3")), r"must have rows 0, 1, 2"),
    (None, "no rows", results(labels="{}"), r"must have rows .*none"),
    (None, "one image twice", results(labels=lambda v: v.update({"3": v["4"]})), r"twice: 0"),
    (None, "a list", results(labels="[]"), r"cannot be read as labels"),
    (None, "bytes that are no text", results(labels=b"\xff\xfe"), r"cannot be read as labels"),
    (None, "100,000 brackets", results(labels="[" * 100_000), r"cannot be read as labels"),
]
RESULTS = [
    (None, "a pipe", instead(os.mkfifo), r"\(embedding\) is not a regular file"),
    (None, "a folder", instead(os.mkdir), r"\(embedding\) is not a regular file"),
    (None, "nan", lambda f: f.write_bytes(np.full(1024, NAN, np.float32)), r"not finite"),
    (None, "more images", lambda f: f.with_name("veri_data_query_img_58_0.bin").touch(), r"more"),
]
REUSED = [
    (None, "input without bytes", lambda p: p.write_bytes(b""), r"img lacks files of \d+ bytes"),
    (None, "renamed input", lambda p: p.rename(p.with_name("it.bin")), r"img_3\.bin; preprocess"),
]


def table(command, rows, source, wrap=lambda damage: damage):
    return [
        Trial(
            number, f"{command.split()[0]}, {what}", command, f"{source}.*(?:{said})", wrap(fault)
        )
        for number, what, fault, said in rows
    ]


TRIALS = [
    *table(EVAL + f"x/{ONNX}", ONNX_FILES, ONNX),
    *table(PREPROCESS, MODEL_JSONS, r"x/e/model\.json", model_json),
    *table(POSTPROCESS, LABELS, r"p/lab/query_label\.json"),
    *table(POSTPROCESS, RESULTS, "x/res", lambda d: results(lambda f: d(f / RESULT))),
    *table(REUSE, REUSED, "p/in", lambda d: inputs(lambda p: d(p / INPUT))),
    Trial(
        192,
        "folder for an ONNX file",
        EVAL + "x/dir.onnx",
        r"x/dir\.onnx is a folder; give the \.onnx file",
        lambda workspace: (workspace / "x/dir.onnx").mkdir(),
    ),
    Trial(
        196, "MINDIR for an ONNX file", EVAL + f"{EXPORT}/{MINDIR}", r"mindir is not named \.onnx"
    ),
    Trial(
        None, "model.json for an ONNX file", EVAL + f"{EXPORT}/model.json", r"is not named \.onnx"
    ),
    Trial(
        None,
        "broken model.json beside the ONNX file",
        EVAL + f"x/e/{ONNX}",
        r"x/e/model\.json does not describe",
        model_json(""),
    ),
    Trial(
        None,
        "results of an ONNX file into its training run",
        EVAL.replace("x/on", "r/smoke") + f"{EXPORT}/{ONNX}",
        r"r/smoke already holds results.*--overwrite",
    ),
    Trial(
        None,
        "results over a file",
        EVAL.replace("x/on", "x/f") + f"{EXPORT}/{ONNX}",
        r"x/f is a file",
        file("x/f"),
    ),
    Trial(
        None,
        "ONNX on Ascend",
        EVAL + f"{EXPORT}/{ONNX} --device_target Ascend",
        r"install\.sh ascend",
    ),
    Trial(
        None,
        "the whole file of 7 bytes",
        PREPROCESS,
        rf"{MINDIR} has 7 bytes, .* says \d+.*copy it again",
        exported(lambda folder: replace(folder / MINDIR, "mindir\n")),
    ),
    Trial(
        None,
        "folder for a MINDIR",
        PREPROCESS.replace(MINDIR, ""),
        r"x/e is a folder; give the model file",
        export,
    ),
    Trial(
        None,
        "checkpoint for a MINDIR",
        PREPROCESS.replace(f"x/e/{MINDIR}", "r/smoke/ckpt/last.ckpt"),
        r"ckpt/model\.json is missing.*`mtn export`",
    ),
    Trial(
        None,
        "labels and inputs in one folder",
        PREPROCESS.replace("x/pp/lab", "x/pp/in"),
        r"--result_dir x/pp/in and --label_dir x/pp/in must be two folders",
        export,
    ),
    Trial(
        None,
        "inputs within the labels",
        PREPROCESS.replace("x/pp/in", "x/pp/lab/../lab/in"),
        r"neither within the other",
        export,
    ),
    Trial(
        None,
        "inputs over a data set",
        PREPROCESS.replace("x/pp/in", "d/base/veri") + " --overwrite",
        r"d/base/veri holds something that preprocessing did not write",
        export,
    ),
    Trial(
        None,
        "labels over a run",
        PREPROCESS.replace("x/pp/lab", "r/smoke") + " --overwrite",
        r"r/smoke holds something that preprocessing did not write",
        export,
    ),
    Trial(
        None, "inputs there", PREPROCESS.replace("x/pp", "p"), r"p/in is not empty.*--over", export
    ),
    Trial(
        None,
        "no inputs to reuse",
        REUSE.replace(" p/", " x/no/"),
        r"x/no/lab/model\.json does not exist; run `mtn preprocess`",
        export,
    ),
    Trial(
        213, "no results", POSTPROCESS.replace("x/res", "x/no"), r"x/no is not a folder of results"
    ),
    Trial(
        377,
        "postprocess, embedding of 10**12 values",
        POSTPROCESS,
        r"p/lab/model\.json .*embedding\.shape",
        results(model=embedding("N", 10**12)),
    ),
    Trial(
        None,
        "results of another number of colours",
        POSTPROCESS,
        r"has 40 bytes, expected 44",
        results(
            model=lambda v: (
                v["network"].update(num_colors=11),
                v["outputs"]["color_logits"].update(shape=["N", 11]),
            )
        ),
    ),
    Trial(
        None,
        "last label missing",
        POSTPROCESS,
        r"results of more than the 57 query images of the labels",
        results(labels=drop("57")),
    ),
    Trial(
        None,
        "results into another run",
        POSTPROCESS + " --out r/smoke",
        r"r/smoke already holds a run",
        results(),
    ),
    Trial(
        None,
        "export over a file",
        EXPORT_AGAIN + "--out x/f --file_format ONNX",
        r"x/f is a file",
        file("x/f"),
    ),
    Trial(None, "export there", EXPORT_AGAIN + f"--out {EXPORT}", r"holds an export.*--overwrite"),
    Trial(
        None,
        "export of an ONNX file",
        f"export --ckpt_path {EXPORT}/{ONNX} --out x/o",
        r"is not named \.ckpt",
    ),
    Trial(None, "int8 without images", EXPORT_AGAIN + "--out x/o --int8", r"give --root", code=2),
    Trial(
        None, "AIR on a CPU", EXPORT_AGAIN + "--out x/o --file_format AIR", r"only be written there"
    ),
    Trial(
        None,
        "no converter",
        TO_LITE + "x/none",
        r"the converter x/none does not exist",
        export,
        code=2,
    ),
    Trial(
        None,
        "folder for a converter",
        TO_LITE + "x",
        r"the converter x is a folder",
        export,
        code=2,
    ),
    Trial(
        None,
        "text for a converter",
        TO_LITE + "x/c",
        r"x/c cannot be run \(Exec format error\)",
        lambda w: (export(w), file("x/c")(w), (w / "x/c").chmod(0o755)),
        code=2,
    ),
    Trial(
        None,
        "converter that fails, over an earlier file",
        TO_LITE + "/bin/false",
        r"false did not convert .*\(exit code 1\): it said nothing",
        lambda workspace: (export(workspace), file("x/l.mindir")(workspace)),
    ),
    Trial(
        None,
        "converter that writes nothing",
        TO_LITE + "/bin/true",
        r"true did not convert .*\(exit code 0\)",
        export,
    ),
    Trial(
        None,
        "conversion over its own source",
        TO_LITE.replace("x/l.mindir", f"x/../x/e/{MINDIR}") + "/bin/true",
        r"is a file of the export that is converted; choose another --out",
        export,
        code=2,
    ),
]


@pytest.mark.parametrize("trial", TRIALS, ids=str)
def test_trial(trial, workspace, capfd, caplog):
    check(trial, workspace, capfd, caplog)
