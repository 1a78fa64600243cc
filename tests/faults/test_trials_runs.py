"""Trials of run folders: what may be written over, by whom, and where a path leads."""

import shutil
import signal
import subprocess
import sys

import pytest
from trial import Trial, check, own, replace, root_without_maps

from mtn_core.cli import main
from mtn_core.models.checkpoint import load_checkpoint, save_checkpoint
from mtn_core.runs import RunFolder

LAST = "r/smoke/ckpt/last.ckpt"
ONNX = "r/smoke/export/MultiTask_export_segment.onnx"
IMAGE = "d/base/veri/image_query/0003_c003_00013131_0.jpg"
TRAIN = "train --root d/base --recipe smoke --out"
OVER = f"{TRAIN} r/smoke --overwrite"
EVAL = f"eval --root d/base --ckpt_path {LAST} --out"
SETTINGS = "--epochs 1 --set data.ids_per_batch=8 data.images_per_id=2 train.eval_every=0"
RESUME = f"{TRAIN} r/smoke {SETTINGS} --resume"
LONG, DEEP = "a" * 300, "/".join(["b" * 200] * 25)


def own_run(workspace):
    return own(workspace / "r" / "smoke")


def foreign(workspace):
    """Besides a run that may be damaged: a checkpoint of another one."""
    own_run(workspace)
    saved = load_checkpoint(workspace / LAST)
    meta = saved.meta | {"config_sha256": "00" * 32}
    save_checkpoint(workspace / "foreign.ckpt", saved.raw_weights, meta, saved.state)


def nameless(workspace):
    own_run(workspace)
    saved = load_checkpoint(workspace / LAST)
    save_checkpoint(workspace / "nameless.ckpt", saved.raw_weights, {})


def config(text):
    return lambda workspace: replace(own_run(workspace) / "config.yaml", text)


def permuted(workspace):
    """The same labels for other vehicles."""
    own_run(workspace)
    root = root_without_maps(workspace, "permuted") / "veri"
    (root / "segment_train").symlink_to((workspace / "d/base/veri/segment_train").resolve())
    rows = [line.split(",") for line in (root / "label_train.csv").read_text().splitlines()]
    ids = sorted({row[1] for row in rows})
    other = dict(zip(ids, reversed(ids), strict=True))
    text = "\n".join(",".join([row[0], other[row[1]], *row[2:]]) for row in rows)
    replace(root / "label_train.csv", text + "\n")


def lock(text):
    return lambda workspace: replace(own_run(workspace) / ".lock", text)


def link(name, target):
    return lambda workspace: (workspace / name).symlink_to(target)


TRIALS = [
    Trial(
        126,
        "more ids than there are",
        f"{OVER} --set data.ids_per_batch=1000",
        "24 or less",
        own_run,
    ),
    Trial(
        127,
        "weights that are not there",
        f"{OVER} --pre_ckpt_path nosuch.ckpt",
        r"nosuch\.ckpt does not exist",
        own_run,
    ),
    Trial(
        128, "seed 2**40", f"{OVER} --seed {2**40}", "'train.seed': must be less", own_run, code=2
    ),
    Trial(
        130,
        "checkpoint of no network, no data",
        "eval --root /nonexistent --out r/smoke --ckpt_path nameless.ckpt --overwrite",
        r"nameless\.ckpt does not say which network it belongs to",
        nameless,
    ),
    Trial(
        131,
        "another run's checkpoint, no data",
        "eval --root /nonexistent --out r/smoke --ckpt_path foreign.ckpt --overwrite",
        "folder /nonexistent/veri is missing; --root must be the folder that holds veri/",
        foreign,
    ),
    Trial(
        132,
        "another run's checkpoint, contradicting flag",
        "eval --root d/base --out r/smoke --ckpt_path foreign.ckpt --overwrite "
        "--segmentaware False",
        r"foreign\.ckpt was trained with --segmentaware True, but --segmentaware False",
        foreign,
        code=2,
    ),
    Trial(
        136,
        "eval-onnx, no data",
        f"eval-onnx --root /nonexistent --out r/smoke --onnx_path {ONNX} --overwrite",
        "folder /nonexistent/veri is missing",
        own_run,
    ),
    Trial(
        139,
        "report over results",
        "report r/smoke --out r/smoke/results.json",
        r"results\.json is a file of a run and is not written over; choose another --out",
        own_run,
    ),
    Trial(
        140,
        "answers over config.yaml",
        f"search --run r/smoke --image {IMAGE} --out r/smoke/config.yaml",
        r"config\.yaml is a file of a run and is not written over",
        own_run,
    ),
    Trial(
        141,
        "report over a folder",
        "report r/smoke --out r/smoke",
        "r/smoke is a folder; --out takes the name of a file",
        own_run,
    ),
    Trial(
        144,
        "first evaluation that fails leaves nothing to be refused",
        f"eval --root /nonexistent --ckpt_path {LAST} --out x/again",
        "folder /nonexistent/veri is missing",
    ),
    Trial(
        256,
        "config.yaml is broken",
        f"{EVAL} r/smoke --overwrite",
        r"r/smoke/config\.yaml cannot be read: .* is not valid YAML",
        config("a: [\n  b: {"),
    ),
    Trial(
        257,
        "config.yaml is empty",
        f"{EVAL} r/smoke --overwrite",
        r"r/smoke/config\.yaml must hold a mapping of sections; got nothing",
        config(""),
    ),
    Trial(
        258,
        "resume with an empty config.yaml",
        RESUME,
        r"r/smoke/config\.yaml must hold a mapping of sections; got nothing",
        config(""),
    ),
    Trial(
        282,
        "resume on other vehicles",
        RESUME.replace("d/base", "d/permuted"),
        r"last\.ckpt was trained on other data: the vehicle ids of the training split changed",
        permuted,
    ),
    Trial(
        426,
        "name of 300 letters",
        f"report r/smoke --out x/{LONG}.html",
        r"^error: x/a{50,60}\.\.\.a+\.html: File name too long$",
    ),
    Trial(
        427,
        "path of 5000 letters",
        f"{EVAL} x/{DEEP}",
        r"^error: x/b.{100,160}: File name too long$",
    ),
    # Beside them: links, files and folders in the way.
    Trial(
        None,
        "run folder is a link to itself",
        f"{EVAL} x/t",
        "x/t is a link that leads nowhere; remove it",
        link("x/t", "t"),
    ),
    Trial(
        None,
        "export folder is a link to nowhere",
        f"export --ckpt_path {LAST} --out x/t",
        "x/t is a link that leads nowhere; give a folder",
        link("x/t", "nowhere"),
    ),
    Trial(
        None,
        "data folder is a link to nowhere",
        "synth --root x/t",
        "x/t is not a folder, so x/t/veri cannot be written",
        link("x/t", "nowhere"),
    ),
    Trial(
        None,
        "run of a report is a link to itself",
        "report loop --out x/r.html",
        "loop is a link that leads to itself",
        link("loop", "loop"),
    ),
    Trial(
        None,
        "logs of a job are a link to itself",
        "launch --workers 2 --log_dir loop -- train --distribute --root d/base --out x/t",
        "loop is a link that leads to itself",
        link("loop", "loop"),
    ),
    Trial(
        None,
        "run folder below a file",
        f"{EVAL} x/file/run",
        "x/file/run: Not a directory",
        lambda w: (w / "x" / "file").write_text("precious"),
    ),
    Trial(None, "export over a checkpoint", f"export --ckpt_path {LAST} --out {LAST}", "is a file"),
    # Beside them: --overwrite where it cannot be meant.
    Trial(None, "resume and overwrite", f"{RESUME} --overwrite", "give one$", own_run, code=2),
    Trial(
        None,
        "resume with other settings",
        RESUME.replace("--epochs 1", "--epochs 3"),
        "resume with the same recipe and settings; train.epochs: the run has 1, asked for 3$",
        own_run,
        code=2,
    ),
    Trial(
        None,
        "resume where nothing is",
        RESUME.replace("r/smoke", "x/new"),
        r"x/new is not a run folder: it has no config\.yaml",
    ),
    Trial(
        None,
        "report over a checkpoint of the run",
        f"report r/smoke --out {LAST} --overwrite",
        r"last\.ckpt is a file of a run and is not written over",
        own_run,
    ),
    Trial(
        None,
        "answers over a table of the run",
        f"search --run r/smoke --image {IMAGE} --out r/smoke/tables/by_type.parquet --overwrite",
        r"by_type\.parquet is a file of a run and is not written over",
        own_run,
    ),
    Trial(
        None,
        "report over somebody's model",
        "report r/smoke --out my.onnx --overwrite",
        r"my\.onnx is a model and is not written over",
        lambda w: shutil.copy(w / ONNX, w / "my.onnx"),
    ),
    Trial(
        None,
        "answers over the picture that is searched for",
        "search --run r/smoke --image i.jpg --format html --out i.jpg --overwrite",
        r"i\.jpg is an image and is not written over",
        lambda w: shutil.copy(w / IMAGE, w / "i.jpg"),
    ),
    Trial(
        None,
        "to-lite over its own source",
        f"to-lite --mindir_path {ONNX} --converter /bin/true "
        "--out r/smoke/export/MultiTask_export_segment.mindir",
        r"MultiTask_export_segment\.mindir is a file of the export that is converted",
        own_run,
        code=2,
    ),
    Trial(
        None,
        "inputs of the 310 over a run",
        f"preprocess --root d/base --mindir_path {ONNX} --result_dir r/smoke --label_dir x/l "
        "--overwrite",
        "r/smoke holds something that preprocessing did not write",
        own_run,
    ),
    # Beside them: locks that nobody on this machine holds.
    Trial(
        None,
        "lock of another machine",
        f"{EVAL} r/smoke --overwrite",
        r"being written by process 77 of farhost; .*delete r/smoke/\.lock if that process is gone",
        lock("77\nfarhost\n"),
    ),
    Trial(
        None,
        "lock without a number",
        f"{EVAL} r/smoke --overwrite",
        r"being written by a process that did not leave its number; ",
        lock(""),
    ),
    Trial(
        None,
        "lock is a folder",
        f"{EVAL} r/smoke --overwrite",
        r"r/smoke/\.lock: Is a directory",
        lambda w: (own_run(w) / ".lock").mkdir(),
    ),
]


@pytest.mark.parametrize("trial", TRIALS, ids=str)
def test_trial(trial, workspace, capfd, caplog):
    check(trial, workspace, capfd, caplog)


HELD = """
import sys, time
from mtn_core.config import load_config
from mtn_core.runs import RunFolder
run = RunFolder(sys.argv[1])
if sys.argv[2] == "training":
    held = run.replaced_by_training(overwrite=True)
else:
    held = run.with_evaluation(keep_training=False, overwrite=True)
with held as beside:
    (beside or run).write_context(load_config("smoke"), {}, command="eval")
    print("held", flush=True)
    time.sleep(120)
"""


@pytest.fixture
def hold():
    """Has another process write into a run folder; gives the process."""
    started = []

    def start(run, stage):
        command = [sys.executable, "-c", HELD, str(run), stage]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        assert started[-1].stdout.readline() == "held\n"
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_two_at_once_in_one_folder(workspace, hold, capfd, caplog):
    """288, 298, 348: a training runs; another one, a resumed one, and others come."""
    own_run(workspace)
    other = hold(workspace / "r" / "smoke", "training")
    shutil.copytree(workspace / "r/smoke/.replaced/ckpt", workspace / "c")
    for command in (
        f"{TRAIN} r/smoke {SETTINGS}",
        OVER,
        f"eval-onnx --root d/base --onnx_path {ONNX} --out r/smoke --overwrite",
        "eval --root d/base --ckpt_path c/last.ckpt --out r/smoke --overwrite",
    ):
        said = f"r/smoke is being written by process {other.pid} of .*; wait for it, or choose"
        check(Trial(288, "two at once", command, said), workspace, capfd, caplog)


def test_resumed_twice_at_once(workspace, hold, capfd, caplog):
    """298: the second one finds a run folder that is whole, and locked."""
    run = own_run(workspace)
    with RunFolder(run).locked():
        said = "r/smoke is being written by process "
        check(Trial(298, "resumed twice", RESUME, said), workspace, capfd, caplog)


def test_one_that_ended_between_two_looks_is_not_replaced(tmp_path):
    """288: it began after the folder was found free, and ended before the folder was claimed."""
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    taken, lock = run.locked, []

    def locked():
        if len(lock) == 1:  # the first look has its lock, too
            (run.path / "results.json").write_text("of the other one")
        lock.append(1)
        return taken()

    run.locked = locked
    with (
        pytest.raises(Exception, match=r"already holds a run \(results\.json\)"),
        run.replaced_by_training(overwrite=False),
    ):
        pass
    assert (run.path / "results.json").read_text() == "of the other one"


def test_an_evaluation_after_one_that_was_killed(workspace, hold):
    """346: what it left is no run."""
    killed = hold(workspace / "x" / "ke", "evaluation")
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    left = {path.name for path in (workspace / "x" / "ke").iterdir()}
    assert left == {".lock", ".unfinished"}
    assert main(["eval-onnx", "--root", "d/base", "--onnx_path", ONNX, "--out", "x/ke"]) == 0
    found = {path.name for path in (workspace / "x" / "ke").iterdir()}
    assert "results.json" in found and not any(name.startswith(".") for name in found)
