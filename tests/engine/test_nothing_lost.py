"""Work that cannot succeed leaves what was there, and every source is opened once."""

import contextlib
import itertools
import shutil

import pytest

from mtn_core.cli import main
from mtn_core.data import source as source_module
from mtn_core.models import checkpoint as checkpoint_module
from mtn_core.runs import RunFolder

TINY = ["--recipe", "smoke", "--set", "model.image_size=32", "data.images_per_id=2"]


def contents(folder):
    files = [p for p in folder.rglob("*") if p.is_file()]
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


@contextlib.contextmanager
def counting():
    """How often a split was opened, and a checkpoint read."""
    counts = {"sources": 0, "checkpoints": 0}
    check, load = source_module.check_needed_files, checkpoint_module.ms.load_checkpoint

    def counted_check(*arguments, **settings):
        counts["sources"] += 1
        return check(*arguments, **settings)

    def counted_load(*arguments, **settings):
        counts["checkpoints"] += 1
        return load(*arguments, **settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source_module, "check_needed_files", counted_check)
        patch.setattr(checkpoint_module.ms, "load_checkpoint", counted_load)
        yield counts


@pytest.fixture(scope="module")
def trained(smoke_root, tmp_path_factory):
    """A run with everything that train, eval and a report leave."""
    out = tmp_path_factory.mktemp("runs") / "first"
    root = ["--root", str(smoke_root)]
    with counting() as counts:
        assert main(["train", *root, "--out", str(out), *TINY, "--epochs", "2"]) == 0
    assert counts == {"sources": 3, "checkpoints": 0}, "each is opened once, whatever the epochs"
    evaluation = ["--ckpt_path", str(RunFolder(out).best_checkpoint), "--out", str(out)]
    assert main(["eval", *root, *evaluation, "--baselines"]) == 0
    assert main(["report", str(out), "--out", str(out / "report.html"), "--attention"]) == 0
    return out


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def test_the_run_folder_knows_every_name(trained):
    assert {p.name for p in trained.iterdir()} >= {"attention.npz", "baselines.json", "report.html"}
    assert [p.name for p in trained.iterdir() if not RunFolder.knows(p.name)] == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--set", "data.ids_per_batch=1000"], "a batch needs 1000 ids"),
        (["--pre_ckpt_path", "nosuch.ckpt"], "nosuch.ckpt does not exist"),
        (["--seed", str(2**40)], "'train.seed'"),
        (["--root", "/nonexistent"], "/nonexistent/veri is missing"),
        (["--eval_root", "/nonexistent"], "/nonexistent/veri is missing"),
        (["--set", "model.image_size=100"], "multiple of 32"),
        (["--set", "data.weights=[1,2,3]"], "data.weights"),
        (["--epochs", str(10**9)], "'train.epochs'"),
        (["--set", "model.image_size=1048576"], "'model.image_size'"),
        (["--set", "loss.margin=.inf"], "'loss.margin'"),
        (["--heatmapaware", "--root", "ROOT", "--root", "ROOT"], "--root is given twice"),
    ],
)
def test_a_training_that_cannot_begin(run, smoke_root, change, message, capsys):
    before = contents(run)
    change = [str(smoke_root) if c == "ROOT" else c for c in change]
    root = [] if "--root" in change else ["--root", str(smoke_root)]
    arguments = ["train", *root, "--out", str(run), "--overwrite", *TINY, *change]
    # What is not there is a failure, what cannot be meant is wrong usage.
    absent = any(word in message for word in ("nonexistent", "nosuch", "a batch needs"))
    assert main(arguments) == (1 if absent else 2)
    assert message in capsys.readouterr().err
    assert contents(run) == before


def test_pre_trained_weights_that_do_not_fit(run, smoke_root, capsys):
    foreign = run.parent / "foreign.ckpt"
    foreign.write_bytes(b"no checkpoint")
    before = contents(run)
    arguments = ["train", "--root", str(smoke_root), "--out", str(run), "--overwrite", *TINY]
    assert main([*arguments, "--pre_ckpt_path", str(foreign)]) == 1
    assert "foreign.ckpt cannot be read" in capsys.readouterr().err
    assert contents(run) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--root", "/nonexistent"], "/nonexistent/veri is missing"),
        (["--ckpt_path", "nosuch.ckpt"], "nosuch.ckpt does not exist"),
        (["--ckpt_path", "BACKBONE"], "holds a bare DenseNet-121"),
        (["--segmentaware", "False"], "--segmentaware True, but --segmentaware False"),
        (["--set", "model.image_size=96"], "settled by the network"),
        (["--set", "eval.max_rank=1000000000"], "'eval.max_rank'"),
        (["--set", "eval.metric=manhattan"], "'eval.metric'"),
    ],
)
@pytest.mark.parametrize("own", [True, False], ids=["its own run", "another run"])
def test_an_evaluation_that_cannot_succeed(run, smoke_root, trained, own, change, message, capsys):
    backbone = run.parent / "backbone.ckpt"
    checkpoint_module.save_checkpoint(backbone, {}, {"kind": "backbone"})
    if not own:
        (run / "config.yaml").write_text("recipe: other\n")
    before = contents(run)
    words = {"--root": str(smoke_root), "--ckpt_path": str(RunFolder(trained).best_checkpoint)}
    words |= dict([change]) if change[0] in words else {}
    arguments = ["eval", "--out", str(run), "--overwrite", *itertools.chain(*words.items())]
    arguments += [] if change[0] in words else change
    code = 1 if change[0] in words else 2  # what is not there, or not what was asked for; usage
    assert main([str(backbone) if word == "BACKBONE" else word for word in arguments]) == code
    assert message in capsys.readouterr().err
    assert contents(run) == before


def test_a_run_is_not_replaced_by_work_on_its_own_weights(run, smoke_root, capsys):
    best = str(RunFolder(run).best_checkpoint)
    before = contents(run)
    arguments = ["--root", str(smoke_root), "--out", str(run), "--overwrite"]
    assert main(["train", *arguments, *TINY, "--pre_ckpt_path", best]) == 1
    assert "is one of the checkpoints of" in capsys.readouterr().err
    assert contents(run) == before
    (run / "config.yaml").write_text("recipe: other\n")
    before = contents(run)
    assert main(["eval", *arguments, "--ckpt_path", best]) == 1
    assert "is one of the checkpoints of" in capsys.readouterr().err
    assert contents(run) == before


def test_an_evaluation_that_fails_in_the_middle(run, smoke_root, tmp_path, capsys):
    broken = shutil.copytree(smoke_root, tmp_path / "data")
    next((broken / "veri" / "image_test").iterdir()).write_bytes(b"\xff\xd8 no image")
    before = contents(run)
    arguments = ["eval", "--root", str(broken), "--out", str(run), "--overwrite"]
    assert main([*arguments, "--ckpt_path", str(RunFolder(run).best_checkpoint)]) == 1
    assert "truncated JPEG" in capsys.readouterr().err
    assert contents(run) == before


def test_a_first_evaluation_that_fails_leaves_no_folder(run, tmp_path, smoke_root):
    out = tmp_path / "new"
    arguments = ["eval", "--out", str(out), "--ckpt_path", str(RunFolder(run).best_checkpoint)]
    assert main([*arguments, "--root", "/nonexistent"]) == 1
    assert not out.exists()
    assert main([*arguments, "--root", str(smoke_root)]) == 0


def test_new_results_keep_nothing_of_the_old_network(run, smoke_root):
    arguments = ["eval", "--root", str(smoke_root), "--out", str(run), "--overwrite"]
    assert main([*arguments, "--ckpt_path", str(RunFolder(run).best_checkpoint)]) == 0
    for stale in ("attention.npz", "baselines.json", "report.html"):
        assert not (run / stale).exists()
    assert (run / "train.csv").exists() and (run / "ckpt" / "best.ckpt").exists()


def test_an_evaluation_opens_each_thing_once(trained, smoke_root, tmp_path):
    arguments = ["eval", "--root", str(smoke_root), "--out", str(tmp_path / "r"), "--baselines"]
    with counting() as counts:
        assert main([*arguments, "--ckpt_path", str(RunFolder(trained).best_checkpoint)]) == 0
    assert counts == {"sources": 2, "checkpoints": 1}
