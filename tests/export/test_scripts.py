"""Shell scripts of export and inference: usage, arguments and exit codes; properties 29, 31, 32."""

import os
import subprocess

import pytest

INFER = ["m.mindir", "data", "y", "CPU", "0", "n", "y"]
EVAL = ["data", "m.onnx", "0", "s"]


@pytest.fixture
def run(repository, tmp_path):
    """Run a script with a stand-in for Python that records its arguments and exits as told."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho "$@" >> "{tmp_path}/calls"\nexit ${{FAKE_EXIT:-0}}\n')
    python.chmod(0o755)

    def call(script, *arguments, **environment):
        done = subprocess.run(
            ["bash", str(repository / "scripts" / script), *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHON": str(python), **environment},
            check=False,
        )
        calls = tmp_path / "calls"
        done.calls = calls.read_text().splitlines() if calls.is_file() else []
        return done

    return call


def replaced(arguments, at, value):
    return [*arguments[:at], value, *arguments[at + 1 :]]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        INFER[:5],
        [*INFER, "more"],
        replaced(INFER, 2, "yes"),
        replaced(INFER, 3, "GPU"),
        replaced(INFER, 4, "first"),
        replaced(INFER, 5, "True"),
        replaced(INFER, 6, ""),
    ],
)
def test_infer_usage(run, tmp_path, arguments):
    done = run("run_infer_310.sh", *arguments)
    assert done.returncode == 2
    assert "usage: bash scripts/run_infer_310.sh MINDIR_PATH DATASET_PATH" in done.stderr
    assert done.calls == [] and not (tmp_path / "infer_310").exists()


@pytest.mark.parametrize("code", [1, 7, 130])
def test_infer_passes_the_exit_code_on(run, code):
    done = run("run_infer_310.sh", *INFER, FAKE_EXIT=str(code))
    assert done.returncode == code
    assert f"ended with exit code {code}" in done.stderr


@pytest.mark.parametrize("arguments", [INFER, [*INFER[:4], *INFER[5:]]])
def test_infer_with_seven_arguments_and_six(run, arguments):
    done = run("run_infer_310.sh", *arguments, FAKE_EXIT="9")
    assert done.returncode == 9
    (call,) = done.calls
    assert "preprocess.py --root data --mindir_path m.mindir" in call
    assert "--heatmapaware False --segmentaware True --overwrite" in call


def test_infer_with_the_inputs_of_before(run):
    (call,) = run("run_infer_310.sh", *replaced(INFER, 2, "n"), FAKE_EXIT="9").calls
    assert call.endswith("--reuse")


@pytest.mark.parametrize("device", ["gpu", "cpu"])
@pytest.mark.parametrize(
    ("maps", "heatmaps", "segments"),
    [("h", True, False), ("s", False, True), ("hs", True, True), ("n", False, False)],
)
def test_onnx_eval_arguments(run, device, maps, heatmaps, segments):
    done = run(f"run_onnx_eval_{device}.sh", "data", "m.onnx", "3", maps, FAKE_EXIT="5")
    assert done.returncode == 5
    (call,) = done.calls
    assert call.endswith(
        f"eval_onnx.py --root data --onnx_path m.onnx --device_target {device.upper()} "
        f"--device_id 3 --heatmapaware {heatmaps} --segmentaware {segments}"
    )


def test_onnx_eval_log_and_run_folder(run, tmp_path):
    done = run("run_onnx_eval_cpu.sh", *EVAL, RUN_DIR="my_run", EXTRA_ARGS="--batch_size 4")
    assert done.returncode == 0
    assert done.calls[0].endswith("--segmentaware True --batch_size 4 --out my_run")
    assert (tmp_path / "eval_onnx_cpu.log").is_file()


@pytest.mark.parametrize("device", ["gpu", "cpu"])
@pytest.mark.parametrize(
    "arguments", [[], EVAL[:3], [*EVAL, "x"], replaced(EVAL, 2, "a"), replaced(EVAL, 3, "k")]
)
def test_onnx_eval_usage(run, device, arguments):
    done = run(f"run_onnx_eval_{device}.sh", *arguments)
    assert done.returncode == 2 and done.calls == []
    assert "error: " in done.stderr
    assert f"usage: bash scripts/run_onnx_eval_{device}.sh DATASET_NAME ONNX_PATH" in done.stderr


def test_build_usage(repository):
    command = ["bash", str(repository / "ascend_310_infer" / "build.sh"), "--fast"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "Usage: bash ascend_310_infer/build.sh" in done.stderr


class TestFetch:
    """scripts/fetch_mindspore_lite.sh without a network."""

    SCRIPT = "fetch_mindspore_lite.sh"

    def test_own_installation_wins(self, run, tmp_path):
        for folder in ("include/api", "lib"):
            (tmp_path / "lite" / folder).mkdir(parents=True)
        (tmp_path / "lite/include/api/model.h").touch()
        done = run(self.SCRIPT, LITE_HOME=str(tmp_path / "lite"))
        assert (done.returncode, done.stdout.strip()) == (0, str(tmp_path / "lite"))
        assert done.calls == []

    def test_own_installation_that_is_none(self, run, tmp_path):
        done = run(self.SCRIPT, LITE_HOME=str(tmp_path))
        assert done.returncode == 1 and done.calls == []
        assert f"LITE_HOME={tmp_path} holds no MindSpore Lite" in done.stderr

    def test_not_here_and_not_to_be_downloaded(self, run, tmp_path):
        environment = {"LITE_HOME": "", "MTN_LITE_CACHE": str(tmp_path / "cache")}
        done = run(self.SCRIPT, "--no-download", **environment)
        assert done.returncode == 3 and done.calls == []
        assert "run: bash scripts/fetch_mindspore_lite.sh" in done.stderr

    def test_download_with_another_checksum(self, run, tmp_path):
        (tmp_path / "python").write_text(
            "#!/bin/sh\n"
            'while [ $# -gt 1 ]; do [ "$1" = --dest ] && dest=$2; shift; done\n'
            "echo tampered > $dest/mindspore_lite-2.0.0-x.whl\n"
        )
        environment = {"LITE_HOME": "", "MTN_LITE_CACHE": str(tmp_path / "cache")}
        done = run(self.SCRIPT, **environment)
        assert done.returncode == 1
        assert "nothing was installed" in done.stderr
        assert list((tmp_path / "cache").iterdir()) == []

    def test_failing_download(self, run, tmp_path):
        environment = {"LITE_HOME": "", "MTN_LITE_CACHE": str(tmp_path / "cache")}
        done = run(self.SCRIPT, FAKE_EXIT="4", **environment)
        assert done.returncode == 4
        assert list((tmp_path / "cache").iterdir()) == []

    def test_usage(self, run):
        done = run(self.SCRIPT, "--now")
        assert done.returncode == 2 and "Usage:" in done.stderr


def test_no_script_names_a_package_host(repository):
    """The package index is the user's configuration, never ours."""
    for path in (repository / "scripts").glob("*.sh"):
        text = path.read_text()
        assert "://" not in text and "--index-url" not in text, path.name
