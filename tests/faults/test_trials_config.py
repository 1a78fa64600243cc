"""Trials of recipes, of --set, and of flags that do not go together."""

import os

import pytest
from trial import Trial, check, own, replace

from mtn_core.config import parse_overrides

TRAIN = "train --root d/base --out x/t --recipe"
SMOKE = f"{TRAIN} smoke"
EVAL = "eval --root d/base --out x/e --ckpt_path r/smoke/ckpt/last.ckpt"
ONNX = "eval-onnx --root d/base --out x/o --onnx_path r/smoke/export/MultiTask_export_segment.onnx"
BOMB = "a0: &a0 [0]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 27))


def recipe(content, name="mine.yaml"):
    return lambda workspace: replace(workspace / name, content)


def own_run(workspace):
    return own(workspace / "r" / "smoke")


def of(expected, content):
    """A recipe file that is refused, by its name and with these words."""
    return f"{TRAIN} mine.yaml", rf"^error: recipe (file )?mine\.yaml.*{expected}", recipe(content)


TRIALS = [
    Trial(
        90,
        "recipe of PoseEstNet for train",
        f"{TRAIN} pose_smoke",
        "recipe 'pose_smoke' is one of `mtn train-pose`; those of `mtn train` are bot, demo, seed",
        code=2,
    ),
    Trial(
        96,
        "seed 2**40",
        f"{SMOKE} --seed {2**40}",
        "'train.seed': must be less .* 4294967295",
        code=2,
    ),
    Trial(100, "YAML that contains itself", *of("aliases", "model: &a\n  x: *a\n"), code=2),
    Trial(
        101, "YAML bomb of 2**26 nodes", *of(r"aliases \(\*\) are not read \(line 2", BOMB), code=2
    ),
    Trial(104, "binary recipe", *of("is not UTF-8 text", b"\xff\xfe\x00"), code=2),
    Trial(
        105,
        "key twice",
        *of("the key 'data' stands twice", "data: {}\nmodel: {}\ndata: {}\n"),
        code=2,
    ),
    Trial(
        108,
        "1e9 epochs",
        f"{SMOKE} --epochs 1000000000",
        "'train.epochs': must be less than or equal to 10000; got 1000000000",
        code=2,
    ),
    Trial(
        109,
        "images of 1048576",
        f"{SMOKE} --set model.image_size=1048576",
        "'model.image_size': must be less than or equal to 2048",
        code=2,
    ),
    Trial(119, "CPU 99", f"{EVAL} --device_id 99", "no CPU device 99; use --device_id 0"),
    Trial(
        123,
        "eval with another network",
        f"{EVAL} --set model.image_size=96",
        r"model\.image_size is settled by the network that is evaluated.* takes eval\.\*",
        code=2,
    ),
    Trial(
        125,
        "1e9 ranks",
        f"{EVAL} --set eval.max_rank=1000000000",
        "'eval.max_rank': must be less than or equal to 100000",
        code=2,
    ),
    Trial(
        381,
        "1e9 ranks over a run that is there",
        f"{EVAL.replace('x/e', 'r/smoke')} --overwrite --set eval.max_rank=1000000000",
        "'eval.max_rank': must be less than or equal to 100000",
        own_run,
        code=2,
    ),
    # Beside them: files.
    Trial(None, "empty path", f"{EVAL} --out ''", "--out: expected a path, got an empty", code=2),
    Trial(
        None,
        "name that is not UTF-8",
        f"{EVAL} --out x/\udcff",
        r"--out: expected a path without control characters and in UTF-8, got 'x/\\udcff'",
        code=2,
    ),
    Trial(
        None,
        "name with a line break",
        f"{TRAIN} smoke --root 'd/\n'",
        r"--root: expected a path without control .* got 'd/\\n'",
        code=2,
    ),
    Trial(
        None,
        "folder for a recipe",
        f"{TRAIN} x.yaml",
        r"x\.yaml is a folder",
        lambda w: (w / "x.yaml").mkdir(),
        code=2,
    ),
    Trial(
        None,
        "link to itself for a recipe",
        f"{TRAIN} l.yaml",
        r"l\.yaml is a link that leads nowhere",
        lambda w: (w / "l.yaml").symlink_to("l.yaml"),
        code=2,
    ),
    Trial(
        None,
        "named pipe for a recipe",
        f"{TRAIN} pipe.yaml",
        r"pipe\.yaml is not a regular file",
        lambda w: os.mkfifo(w / "pipe.yaml"),
        code=2,
    ),
    Trial(
        None,
        "name in capitals",
        f"{TRAIN} A.YAML",
        r"recipe A\.YAML: .*'train.epochs': must be greater than or equal to 1; got 0",
        recipe("train: {epochs: 0}\n", "A.YAML"),
        code=2,
    ),
    Trial(
        None,
        "config.yaml of a run for a recipe",
        f"{TRAIN} r/smoke/config.yaml",
        r"recipe r/smoke/config\.yaml: unknown configuration key 'command'; ",
        code=2,
    ),
    Trial(
        None,
        "recipe of 2 MB",
        *of("has 2000000 bytes; at most 1000000 are read", "#" * 2_000_000),
        code=2,
    ),
    # Beside them: what stands in a file.
    Trial(None, "NUL byte", *of("not valid YAML: unacceptable character", "train:\x00"), code=2),
    Trial(None, "UTF-16", *of("is not UTF-8 text", "train: {}".encode("utf-16")), code=2),
    Trial(None, "tag of no bool", *of("tags .* are not read", "train: {epochs: !!bool x}"), code=2),
    Trial(
        None,
        "tag of no time",
        *of("tags .* are not read", "train: {epochs: !!timestamp x}"),
        code=2,
    ),
    Trial(
        None,
        "tag that runs",
        *of("tags .* are not", "a: !!python/object/apply:os.system [ls]"),
        code=2,
    ),
    Trial(None, "two documents", *of("another document", "train: {}\n---\ntrain: {}\n"), code=2),
    Trial(None, "100000 brackets", *of("nested too deeply", "a: " + "[" * 100_000), code=2),
    Trial(
        None,
        "section that is empty",
        *of("'train': must be a section.*got None", "train:\n"),
        code=2,
    ),
    Trial(
        None,
        "section that is a list",
        *of(r"'train': must be a section.*\[1\]", "train: [1]"),
        code=2,
    ),
    Trial(None, "key that is a number", *of("'1': keys must be strings", "1: 2\n"), code=2),
    Trial(
        None,
        "number of 5000 digits",
        *of("not valid YAML", f"train: {{seed: {'9' * 5000}}}"),
        code=2,
    ),
    Trial(
        None,
        "value of 3000 letters",
        *of(
            r"'train.epochs': must be a valid integer; got 'a+\.\.\.a+'",
            f"train: {{epochs: {'a' * 3000}}}",
        ),
        code=2,
    ),
    Trial(
        None,
        "300 unknown keys",
        *of("'k0'; .*'k4'; and 295 more", "".join(f"k{i}: 1\n" for i in range(300))),
        code=2,
    ),
    Trial(
        None,
        "BOM and CRLF are read",
        *of("'train.seed': .* got -1", b"\xef\xbb\xbftrain:\r\n  seed: -1\r\n"),
        code=2,
    ),
    Trial(
        None,
        "recipe of PoseEstNet in a file",
        *of(
            "unknown configuration key 'model.width'",
            "model: {width: 8}\n",
        ),
        code=2,
    ),
    # Beside them: --set and the flags.
    Trial(
        None,
        "two values for one key by two flags",
        f"{SMOKE} --seed 1 --set train.seed=2",
        r"train\.seed is given twice, as 1 and as 2; give it once",
        code=2,
    ),
    Trial(
        None,
        "maps flag against --set",
        f"{SMOKE} --segmentaware False --set model.segments=true",
        r"model\.segments is given twice, as False and as True",
        code=2,
    ),
    Trial(
        None,
        "flag against --set of train-pose",
        "train-pose --root d/base --out x/t --recipe pose_smoke --seed 1 --set train.seed=2",
        r"train\.seed is given twice",
        code=2,
    ),
    Trial(
        None,
        "two modules of three",
        "train-pose --root d/base --out x/t --recipe pose_smoke --set model.modules=[1,2]",
        "'model.modules.2' is missing",
        code=2,
    ),
    Trial(
        None, "section for a value", f"{SMOKE} --set train=1", "'train': must be a section", code=2
    ),
    Trial(
        None, "below a value", f"{SMOKE} --set train.epochs.x=1", "epochs is a value, not a", code=2
    ),
    Trial(
        None,
        "no value",
        f"{SMOKE} --set train.epochs=",
        "'train.epochs': must be a valid int",
        code=2,
    ),
    Trial(None, "dots alone", f"{SMOKE} --set ..=1", "unknown configuration key", code=2),
    Trial(
        None, "number beyond floats", f"{SMOKE} --set optim.gamma=1e999", "finite number", code=2
    ),
    Trial(
        None,
        "alias in --set",
        f"{SMOKE} --set train.seed=*a",
        r"--set train\.seed=\*a .*alias",
        code=2,
    ),
    Trial(
        None,
        "setting of the training in an evaluation",
        f"{EVAL} --set data.flip=0.3",
        r"data\.flip is settled by the network .* takes eval\.\*, data\.num_workers",
        code=2,
    ),
    Trial(
        None,
        "no workers",
        f"{EVAL} --set data.num_workers=0",
        "'data.num_workers': must be",
        code=2,
    ),
    Trial(None, "no images a batch", f"{ONNX} --batch_size 0", "expected 1 to 4096", code=2),
    Trial(None, "CPU 3 for ONNX", f"{ONNX} --device_id 3", "no CPU device 3"),
    Trial(None, "CPU -1", f"{EVAL} --device_id -1", "expected 0 or more, got -1", code=2),
    Trial(
        None,
        "recipe of train for train-pose",
        "train-pose --root d/base --out x/t --recipe smoke",
        "recipe 'smoke' is one of `mtn train`; those of `mtn train-pose` are pose",
        code=2,
    ),
]


def test_of_two_values_for_one_key_the_last_is_taken_and_said(caplog):
    assert parse_overrides(["train.seed=1", "train.seed=1", "train.seed=2"]) == {"train.seed": 2}
    assert caplog.messages == ["train.seed is given twice, as 1 and as 2; the last is taken"]


@pytest.mark.parametrize("trial", TRIALS, ids=str)
def test_trial(trial, workspace, capfd, caplog):
    check(trial, workspace, capfd, caplog)
