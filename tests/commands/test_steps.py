"""What a command says at its end: the next step, or what an interrupt has left."""

import os
import shlex
import shutil
import subprocess
import sys
import types

import pytest

from mtn_core.cli import main
from mtn_core.commands import data, workbook
from mtn_core.commands.arguments import kept_training
from mtn_core.commands.parser import create_parser


def next_of(said):
    lines = [line for line in said.splitlines() if line.startswith("next: ")]
    return lines[0].removeprefix("next: ") if lines else None


def test_a_chain_of_next_steps_parses_and_stays_off_stdout(smoke_root, run_dir, tmp_path, capsys):
    root = tmp_path / "my data"
    root.symlink_to(smoke_root)
    assert main(["check", "--root", str(root), "--fast"]) == 0
    printed = capsys.readouterr()
    assert "next:" not in printed.out
    words = shlex.split(next_of(printed.err))
    args = create_parser().parse_args(words[1:])
    assert args.command == "train" and args.root == [root]
    assert main(["report", str(run_dir), "--out", str(tmp_path / "r.html")]) == 0
    assert next_of(capsys.readouterr().err) == f"open {tmp_path / 'r.html'} in a browser"


def test_what_failed_has_no_next_step(tmp_path, capsys):
    assert main(["check", "--root", str(tmp_path)]) == 1
    assert next_of(capsys.readouterr().err) is None


def test_only_the_first_process_of_a_job_says_it(smoke_root, monkeypatch, capsys):
    monkeypatch.setenv("RANK_ID", "1")
    assert main(["check", "--root", str(smoke_root), "--fast"]) == 0
    assert next_of(capsys.readouterr().err) is None


@pytest.mark.parametrize("best", [True, False])
def test_after_a_training_its_best_weights_are_evaluated(best, tmp_path):
    from mtn_core.runs import RunFolder

    run = RunFolder(tmp_path / "run")
    run.checkpoints.mkdir(parents=True)
    path = run.best_checkpoint if best else run.last_checkpoint
    path.touch()
    args = create_parser().parse_args(["train", "--root", "d", "--out", str(run.path)])
    words = shlex.split(args.next_step(args))
    assert create_parser().parse_args(words[1:]).ckpt_path == path


def interrupted(monkeypatch, capsys, module, handler, words):
    def stop(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, handler, stop)
    assert main(words) == 130
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_an_interrupt_says_what_is_kept_and_how_to_go_on(monkeypatch, capsys):
    line = interrupted(monkeypatch, capsys, data, "run_check", ["check", "--root", "d"])
    assert line == "interrupted: mtn check was stopped before its end; nothing was changed"
    line = interrupted(monkeypatch, capsys, data, "run_synth", ["synth", "--root", "d"])
    assert "nothing is half-written; run it again" in line
    words = ["workbook", "--profile", "demo"]
    line = interrupted(monkeypatch, capsys, workbook, "run_workbook_command", words)
    assert "notebooks that passed are kept in runs/demo; the same command with --resume" in line
    line = interrupted(
        monkeypatch, capsys, workbook, "run_workbook_command", [*words, "--overwrite"]
    )
    assert "with --resume in place of --overwrite goes on" in line


@pytest.mark.parametrize(
    ("age", "flags", "said"),
    [
        (-5, "", "the same command with --resume goes on"),
        (-5, "--overwrite", "with --resume in place of --overwrite goes on"),
        (60, "--overwrite", "nothing of it is kept"),  # the checkpoint is the earlier run's
        (60, "--resume", "the same command goes on"),
        (None, "", "nothing of it is kept"),
    ],
)
def test_a_training_that_was_interrupted(age, flags, said, tmp_path):
    last = tmp_path / "ckpt" / "last.ckpt"
    args = types.SimpleNamespace(
        out=tmp_path, started=1e9, resume="resume" in flags, overwrite="overwrite" in flags
    )
    if age is not None:
        last.parent.mkdir()
        last.touch()
        os.utime(last, (1e9 - age, 1e9 - age))
    assert said in kept_training(args)


def test_a_pipe_is_not_said_to_be_absent(run_dir, tmp_path, capsys):
    os.mkfifo(tmp_path / "crop.jpg")
    words = ["search", "--run", str(run_dir), "--image", str(tmp_path / "crop.jpg")]
    assert main(words) == 1
    assert f"{tmp_path / 'crop.jpg'} cannot be read: it is a named pipe" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_is_a_script(shell, capsys):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "draw-pose" in script and "val_ids" in script


def test_bash_completes_commands_flags_and_files(tmp_path):
    script = tmp_path / "mtn.bash"
    done = subprocess.run(
        [sys.executable, "-m", "mtn_core", "completion", "bash"], capture_output=True, text=True
    )
    script.write_text(done.stdout)
    (tmp_path / "weights.ckpt").touch()
    ask = """
    source {script}; cd {folder}
    COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMP_TYPE=9
    $(complete -p mtn | sed 's/.*-F \\([^ ]*\\) .*/\\1/'); echo "${{COMPREPLY[@]}}"
    """
    for words, expected in (
        ("mtn tra", {"train", "train-pose", "track2", "trans"}),
        ("mtn train --dev", {"--device_target", "--device_id"}),
        ("mtn train --device_target G", {"GPU"}),
        ("mtn eval --ckpt_path we", {"weights.ckpt"}),
    ):
        paths = {"script": shlex.quote(str(script)), "folder": shlex.quote(str(tmp_path))}
        bash = ask.format(**paths, words=words)
        done = subprocess.run([shutil.which("bash"), "-c", bash], capture_output=True, text=True)
        assert expected <= set(done.stdout.split()), (words, done.stdout, done.stderr)
