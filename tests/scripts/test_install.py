"""scripts/install.sh: what it asks pip for, with a pip that only writes that down."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
MAIN = ["install --require-hashes -r requirements.txt", "install --no-deps --editable ."]
ASCEND = [
    "uninstall --yes onnxruntime onnxruntime-gpu",
    "install --require-hashes -r requirements-ascend.txt",
]


@pytest.fixture
def checkout(tmp_path):
    for name in (*REPOSITORY.glob("requirements*.txt"), REPOSITORY / "pyproject.toml"):
        shutil.copy(name, tmp_path)
    (tmp_path / "scripts").mkdir()
    shutil.copy(REPOSITORY / "scripts" / "install.sh", tmp_path / "scripts")
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(
        '#!/bin/sh\ncase "$*" in *mtn_core.cuda*) exit 0 ;; esac\n'
        f'if [ "$1" = -c ]; then exec {sys.executable} "$@"; fi\n'
        f'echo "$*" >>{tmp_path}/asked\n'
    )
    python.chmod(0o755)
    return tmp_path


def install(checkout, *arguments, code=0):
    """The pip commands of one call."""
    environ = {**os.environ, "PATH": f"{checkout}{os.pathsep}{os.environ['PATH']}"}
    (checkout / "asked").write_text("")
    command = ["bash", "scripts/install.sh", *arguments]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, env=environ)
    assert done.returncode == code, done.stderr
    lines = (checkout / "asked").read_text().splitlines()
    assert all(line.startswith("-m pip ") for line in lines)
    return (
        done.stderr
        if code
        else [line.removeprefix("-m pip ").partition(" --disable")[0] for line in lines]
    )


def test_a_second_call_installs_nothing(checkout):
    assert install(checkout) == MAIN
    assert install(checkout) == []
    dev = install(checkout, "dev")
    assert dev == [MAIN[0].replace(".txt", "-dev.txt"), MAIN[1]]


def test_cuda_comes_on_top(checkout):
    (checkout / "uname").write_text("#!/bin/sh\necho Linux x86_64\n")
    (checkout / "uname").chmod(0o755)
    gpu = "install --require-hashes -r requirements-gpu.txt"
    assert install(checkout, "dev", "gpu")[-1] == gpu
    assert install(checkout, "gpu", "dev") == []
    with (checkout / "requirements-gpu.txt").open("a") as lock:
        lock.write("# another\n")
    assert install(checkout, "dev", "gpu") == [gpu]


def test_onnxruntime_for_ascend_takes_the_place_of_the_other(checkout):
    assert install(checkout, "ascend") == [*MAIN, *ASCEND]
    assert install(checkout, "ascend") == []
    # A new lock brings its onnxruntime back, so the other is put in its place again.
    with (checkout / "requirements.txt").open("a") as lock:
        lock.write("# another\n")
    assert install(checkout) == ["uninstall --yes onnxruntime-cann", *MAIN, *ASCEND]
    assert install(checkout) == []


def test_wrong_usage_and_a_machine_without_the_plugin(checkout):
    assert "usage: bash scripts/install.sh" in install(checkout, "gpus", code=2)
    (checkout / "uname").write_text("#!/bin/sh\necho Linux aarch64\n")
    (checkout / "uname").chmod(0o755)
    assert "x86-64 Linux alone, this is Linux aarch64" in install(checkout, "gpu", code=1)
