"""The command line as a user meets it: help, usage errors, exit codes, messages."""

import subprocess
import sys

import pytest

from mtn_core.cli import create_parser, main
from mtn_core.config import recipe_names


def run(*arguments, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "mtn_core", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
    )


def commands():
    actions = [a for a in create_parser()._actions if hasattr(a, "choices") and a.choices]
    return set(next(a.choices for a in actions if a.dest == "command"))


def test_every_command_of_the_design_is_there():
    assert commands() >= {
        "synth",
        "check",
        "prepare-veri",
        "prepare",
        "draw-pose",
        "pack",
        "convert",
        "train",
        "eval",
        "export",
        "eval-onnx",
        "train-pose",
        "eval-pose",
        "trans",
        "preprocess",
        "postprocess",
        "search",
        "report",
        "workbook",
        "doctor",
    }


@pytest.mark.parametrize("command", sorted(commands()))
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert "usage: mtn" in capsys.readouterr().out


def test_help_does_not_load_mindspore():
    program = "import sys; from mtn_core.cli import main\ntry:\n    main(['train', '--help'])\n"
    program += "except SystemExit:\n    sys.exit('mindspore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True).returncode == 0


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["trian"],
        ["train", "--root", "x", "--out", "y", "--heatmap_aware", "True"],
        ["train", "--root", "x", "--out", "y", "--heatmapaware", "perhaps"],
        ["train", "--root", "x", "--out", "y", "--device_target", "TPU"],
        ["eval", "--root", "x"],
    ],
)
def test_wrong_usage_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage: mtn" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "expected"),
    [([], None), (["--heatmapaware"], True), (["--heatmapaware", "True"], True)],
)
def test_the_seeds_flags_work_alone_and_with_a_value(text, expected):
    args = create_parser().parse_args(["train", "--root", "x", "--out", "y", *text])
    assert args.heatmapaware is expected
    args = create_parser().parse_args(
        ["train", "--root", "x", "--out", "y", "--segmentaware", "False"]
    )
    assert args.segmentaware is False


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--recipe", "sede"], "did you mean 'seed'"),
        (["--set", "optim.learning_rat=1"], "did you mean 'optim.learning_rate'"),
        (["--set", "optim.learning_rate"], "expects key=value"),
        (["--set", "model.image_size=100"], "multiple of 32"),
        (["--set", "data.flip=2"], "data.flip"),
        (["--pre_trained", "True"], "needs --pre_ckpt_path"),
    ],
)
def test_configuration_errors_name_the_remedy(extra, message, capsys, tmp_path):
    code = main(["train", "--root", str(tmp_path), "--out", str(tmp_path / "run"), *extra])
    assert code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_missing_data_is_exit_1_without_a_traceback(tmp_path):
    done = run("train", "--root", str(tmp_path), "--out", str(tmp_path / "run"))
    assert done.returncode == 1
    assert "error: folder" in done.stderr
    assert "mtn synth" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("target", ["GPU", "Ascend"])
def test_a_missing_device_is_an_error_and_never_the_cpu(target, smoke_root, tmp_path):
    done = run(
        "train",
        "--root",
        str(smoke_root),
        "--out",
        str(tmp_path / "run"),
        "--recipe",
        "smoke",
        "--device_target",
        target,
    )
    assert done.returncode == 1
    assert f"{target} device 0 was asked for and is not available" in done.stderr
    assert "--device_target CPU" in done.stderr
    assert not (tmp_path / "run").exists()


def test_distribute_without_a_launcher_says_how(smoke_root, tmp_path):
    done = run(
        "train", "--root", str(smoke_root), "--out", str(tmp_path / "run"), "--distribute", "True"
    )
    assert done.returncode == 1
    assert "msrun" in done.stderr


def test_shipped_recipes_load_and_the_seeds_values_are_the_documents():
    from mtn_core.config import load_config

    assert {"seed", "smoke", "demo"} <= set(recipe_names())
    seed = load_config("seed")
    assert (seed.train.epochs, seed.data.batch_size, seed.model.image_size) == (10, 32, 256)
    assert (seed.optim.learning_rate, seed.optim.learning_rate_ascend) == (3e-4, 5e-4)
    assert seed.optim.weight_decay == 5e-4
    assert seed.loss.label_smoothing == 0.1
    bot = load_config("bot")  # Luo et al., CVPRW 2019, section 3
    assert (bot.data.ids_per_batch, bot.data.images_per_id, bot.data.erasing) == (16, 4, 0.5)
    assert (bot.optim.learning_rate, bot.optim.step_epochs, bot.train.epochs) == (
        3.5e-4,
        (40, 70),
        120,
    )
    assert bot.loss.center_weight == 5e-4 and bot.model.in_channels == 3
    weights = seed.loss
    assert (weights.id_weight, weights.triplet_weight) == (1, 1)
    assert (weights.color_weight, weights.type_weight) == (0.125, 0.125)
    assert weights.margin == 0.3
