"""Trials of checkpoints and of weight files: another kind, damaged, or at odds with themselves."""

import json
import os
import shutil

import mindspore as ms
import numpy as np
import pytest
from trial import Trial, check, own, replace

from mtn_core.models.checkpoint import META_NAME, load_checkpoint, save_checkpoint

LAST = "r/smoke/ckpt/last.ckpt"
EVAL = "eval --root d/base --out x/e --ckpt_path"
EXPORT = "export --file_format ONNX --out x/export --ckpt_path"
RESUME = (
    "train --root d/base --recipe smoke --epochs 1 --set data.ids_per_batch=8 "
    "data.images_per_id=2 train.eval_every=0 --out r/smoke --resume"
)
NO_CHECKPOINT = "cannot be read as a checkpoint: it is cut short, damaged, or another kind of file"


def changed(change=None, to="ck.ckpt", **meta):
    """The last checkpoint after ``change(meta, weights, state)`` and with other meta data."""

    def before(workspace):
        saved = load_checkpoint(workspace / LAST)
        values = dict(saved.meta), dict(saved.raw_weights), dict(saved.state)
        if change:
            change(*values)
        found, weights, state = values
        own(workspace / "r" / "smoke")
        save_checkpoint(workspace / to, weights, found | meta, state)

    return before


def with_meta(text):
    def before(workspace):
        data = np.frombuffer(text.encode(), np.uint8).copy()
        entries = {"x": np.zeros(1, np.float32), META_NAME: data}
        saved = [{"name": name, "data": ms.Tensor(value)} for name, value in entries.items()]
        ms.save_checkpoint(saved, str(workspace / "ck.ckpt"))

    return before


def bytes_of(change, source=LAST):
    return lambda workspace: replace(
        workspace / "ck.ckpt", change((workspace / source).read_bytes())
    )


def model(**values):
    return changed(lambda meta, weights, state: meta["model"].update(values))


def first_weight(change):
    def put(meta, weights, state):
        name = next(iter(weights))
        weights[name] = change(weights[name])

    return changed(put)


def nan_state(meta, weights, state):
    for name, value in state.items():
        if value.dtype.kind == "f":
            state[name] = np.full_like(value, np.nan)


def other_log(workspace):
    (own(workspace / "r" / "smoke") / "train.csv").write_bytes(b"\xff\xfe\x00")


TRIALS = [
    Trial(
        150,
        "folder",
        f"{EVAL} dir.ckpt",
        r"checkpoint dir\.ckpt is a folder; give a \.ckpt file in it",
        lambda w: (w / "dir.ckpt").mkdir(),
    ),
    Trial(
        154,
        "PoseEstNet",
        f"{EVAL} ck.ckpt",
        r"ck\.ckpt holds a PoseEstNet, not a MultiTaskNet",
        changed(kind="pose", model={"width": 4}),
    ),
    Trial(
        158,
        "meta data that is no JSON",
        f"{EVAL} ck.ckpt",
        r"ck\.ckpt has meta data that is not JSON",
        with_meta("{kind:"),
    ),
    Trial(
        159,
        "meta data that is a list",
        f"{EVAL} ck.ckpt",
        r"ck\.ckpt has meta data that cannot be used: expected an object, got list",
        with_meta("[1]"),
    ),
    Trial(
        160,
        "image size 100",
        f"{EVAL} ck.ckpt",
        r"ck\.ckpt holds a network .*'image_size': must be a multiple of 32, got 100; try 96$",
        model(image_size=100),
    ),
    Trial(
        162,
        "key of a newer version",
        f"{EVAL} ck.ckpt",
        r"ck\.ckpt holds a network that this version cannot build: unknown .* 'surprise'",
        model(surprise=1),
    ),
    Trial(
        164,
        "weights with nan",
        f"{EVAL} ck.ckpt",
        r"ck\.ckpt has weights that are nan or infinite: backbone\.conv0\.weight",
        first_weight(lambda value: np.full_like(value, np.nan)),
    ),
    Trial(
        166,
        "2 ids for 24 classes",
        f"{EXPORT} ck.ckpt",
        r"ck\.ckpt contradicts itself: 2 training ids for a network of 24",
        changed(pids=[1, 2]),
    ),
    Trial(
        172,
        "folder named .safetensors",
        "convert --pth_path d.safetensors --out x/c.ckpt --overwrite",
        r"weight file d\.safetensors is a folder; give a file in it",
        lambda w: (w / "d.safetensors").mkdir(),
    ),
    # Beside them: no file, or another kind of file.
    Trial(
        None,
        "link to nowhere",
        f"{EVAL} ck.ckpt",
        r"ck\.ckpt is a link that leads nowhere",
        lambda w: (w / "ck.ckpt").symlink_to("absent"),
    ),
    Trial(
        None,
        "named pipe",
        f"{EVAL} ck.ckpt",
        r"ck\.ckpt is not a regular file",
        lambda w: os.mkfifo(w / "ck.ckpt"),
    ),
    Trial(
        None,
        "named pipe for weights",
        "convert --pth_path p.pth --out x/c.ckpt",
        r"weight file p\.pth is not a regular file",
        lambda w: os.mkfifo(w / "p.pth"),
    ),
    Trial(
        None,
        "link to itself for ONNX",
        "eval-onnx --root d/base --out x/o --onnx_path l.onnx",
        r"ONNX file l\.onnx is a link that leads nowhere",
        lambda w: (w / "l.onnx").symlink_to("l.onnx"),
    ),
    Trial(None, "empty", f"{EVAL} ck.ckpt", NO_CHECKPOINT, bytes_of(lambda data: b"")),
    Trial(None, "cut", f"{EVAL} ck.ckpt", NO_CHECKPOINT, bytes_of(lambda data: data[:-20])),
    Trial(None, "twice", f"{EVAL} ck.ckpt", NO_CHECKPOINT, bytes_of(lambda data: data * 2)),
    Trial(
        None,
        "200 bytes zero",
        f"{EVAL} ck.ckpt",
        NO_CHECKPOINT,
        bytes_of(lambda data: data[:9000] + bytes(200) + data[9200:]),
    ),
    Trial(
        None,
        "embeddings",
        f"{EVAL} ck.ckpt",
        NO_CHECKPOINT,
        bytes_of(bytes, "r/smoke/embeddings_query.npz"),
    ),
    Trial(
        None,
        "ONNX file with another name",
        f"{EVAL} ck.ckpt",
        NO_CHECKPOINT,
        bytes_of(bytes, "r/smoke/export/MultiTask_export_segment.onnx"),
    ),
    Trial(
        None,
        "ONNX file",
        f"{EVAL} r/smoke/export/MultiTask_export_segment.onnx",
        r"is not named \.ckpt",
    ),
    # Beside them: meta data and weights.
    Trial(None, "depth", f"{EVAL} ck.ckpt", "meta data that is not JSON", with_meta("[" * 10**5)),
    Trial(
        None,
        "epoch nan",
        f"{EVAL} ck.ckpt",
        "'epoch': must be a finite number",
        with_meta(json.dumps({"epoch": float("nan")})),
    ),
    Trial(
        None,
        "seed 2**40, before the evaluation that needs it",
        f"{EVAL} ck.ckpt --baselines",
        r"ck\.ckpt has meta data that cannot be used: configuration key 'seed'",
        with_meta(json.dumps({"seed": 2**40})),
    ),
    Trial(
        None,
        "ids that are words",
        f"{EVAL} ck.ckpt",
        r"'pids\.0': must be a valid integer; got 'a'.* and 19 more",
        with_meta(json.dumps({"pids": ["a"] * 24})),
    ),
    Trial(
        None,
        "one id 24 times",
        f"{EXPORT} ck.ckpt",
        "contradicts itself: 1 training ids for a network of 24",
        changed(pids=[7] * 24),
    ),
    Trial(
        None,
        "kind with a line break",
        f"{EVAL} ck.ckpt",
        r"ck\.ckpt holds res; net, not a MultiTaskNet",
        changed(kind="res\nnet"),
    ),
    Trial(
        None,
        "a weight too few",
        f"{EVAL} ck.ckpt",
        r"ck\.ckpt does not fit the network: missing: backbone\.conv0\.weight\. Check --heat",
        changed(lambda meta, weights, state: weights.pop(next(iter(weights)))),
    ),
    Trial(
        None,
        "whole numbers for weights",
        f"{EVAL} ck.ckpt",
        r"ck\.ckpt has weights that are no floating-point numbers: backbone\.conv0\.weight",
        first_weight(lambda value: value.astype(np.int32)),
    ),
    Trial(
        None,
        "search with another network",
        "search --run r/smoke --image d/base/veri/image_query/0003_c003_00013131_0.jpg "
        "--ckpt_path ck.ckpt",
        r"ck\.ckpt does not fit the network: other shape",
        model(segments=False),
    ),
    # Beside them: what a training is to go on from.
    Trial(
        None,
        "after epoch 99 of 1",
        RESUME,
        r"last\.ckpt contradicts itself: step 16 after 99 epochs of 16 steps",
        changed(to=LAST, epoch=99),
    ),
    Trial(
        None,
        "step 10**30",
        RESUME,
        "contradicts itself: step 10+ after 0 epochs",
        changed(to=LAST, epoch=0, step=10**30),
    ),
    Trial(
        None,
        "of another kind",
        RESUME,
        r"last\.ckpt holds another network: 'pose', not 'multitask'",
        changed(to=LAST, kind="pose"),
    ),
    Trial(
        None,
        "optimiser with nan",
        RESUME,
        "the training state is nan or infinite: optimizer",
        changed(nan_state, to=LAST),
    ),
    Trial(None, "log that is none", RESUME, r"train\.csv is not the log of a training", other_log),
    Trial(
        None,
        "log that is gone",
        RESUME,
        r"train\.csv is gone; it begins anew at step 17",
        lambda w: (own(w / "r" / "smoke") / "train.csv").unlink(),
        code=0,
        writes=("r/smoke/train.csv", "r/smoke/validation.csv"),
    ),
    Trial(
        None,
        "checkpoints that are gone",
        RESUME,
        r"nothing to resume from in r/smoke/ckpt: checkpoint .*last\.ckpt does not exist",
        lambda w: shutil.rmtree(own(w / "r" / "smoke") / "ckpt"),
    ),
]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), r"not enough memory \(no more is to be had\)"),
        (
            MemoryError("Unable to allocate 38.1 GiB"),
            r"memory \(Unable to allocate 38\.1 GiB\); take",
        ),
    ],
)
def test_a_network_too_large_for_the_machine(error, said, workspace, monkeypatch, capfd, caplog):
    def allocate(*arguments, **settings):
        raise error

    monkeypatch.setattr("mtn_core.models.multitask.MultiTaskNet.__init__", allocate)
    check(Trial(None, "memory", f"{EVAL} {LAST}", said), workspace, capfd, caplog)


@pytest.mark.parametrize("trial", TRIALS, ids=str)
def test_trial(trial, workspace, capfd, caplog):
    check(trial, workspace, capfd, caplog)
