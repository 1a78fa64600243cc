"""CUDA 11 from wheels: before the import, for a GPU alone, never over a user's own folder.

The tests with NVIDIA's real wheels have a driver with seven functions that do nothing, built here:
MindSpore's plugin loads, every symbol is found, and CUDA answers that the driver is too old.
"""

import concurrent.futures
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from mtn_core import cli, cuda
from mtn_core.errors import DeviceError

DRIVER_FUNCTIONS = (
    *("cuDeviceGetAttribute", "cuGetErrorName", "cuLaunchKernel", "cuModuleGetFunction"),
    *("cuModuleLoadDataEx", "cuModuleUnload", "cuStreamSynchronize"),
)
open_libraries = cuda._open_libraries


@pytest.fixture
def wheels(tmp_path, monkeypatch):
    """Wheels of empty files, a process without MindSpore, and a cache of its own."""
    site = tmp_path / "site"
    for library, (distribution, folder) in cuda.LIBRARIES.items():
        file = site / "nvidia" / folder / "lib" / library
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        info = site / f"{distribution.replace('-', '_')}-11.0.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Name: {distribution}\nVersion: 11.0\n")
        with (info / "RECORD").open("a") as record:
            record.write(f"{file.relative_to(site)},,\n")
    (site / "nvidia" / "cudnn" / "lib" / "libcudnn.so.9").touch()  # of another wheel
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.delitem(sys.modules, "mindspore", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in (cuda.HOME_VARIABLE, cuda.OWN_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(cuda, "_open_libraries", Path.is_dir)
    monkeypatch.setattr(cuda, "other_libraries", list)
    return site


@pytest.mark.parametrize("target", [None, "CPU", "Ascend"])
def test_other_devices_are_left_alone(wheels, target):
    environ = {}
    assert not cuda.use_cuda(target, environ)
    assert environ == {}


@pytest.mark.parametrize("environ", [{}, {"LD_LIBRARY_PATH": "/mine", "MTN_DEVICE_TARGET": "GPU"}])
def test_a_folder_that_looks_like_cuda_is_made(wheels, environ):
    before = environ.get("LD_LIBRARY_PATH")
    assert cuda.use_cuda(None if "MTN_DEVICE_TARGET" in environ else "GPU", environ)
    home = Path(environ["CUDA_HOME"])
    assert environ["MTN_CUDA_HOME"] == str(home)
    assert environ["LD_LIBRARY_PATH"].split(":") == [f"{home}/lib64", *filter(None, [before])]
    said = subprocess.run([home / "bin" / "nvcc", "--version"], capture_output=True, text=True)
    assert "release 11.6," in said.stdout
    names = {file.name: file.resolve() for file in (home / "lib64").iterdir()}
    assert names.keys() == {*cuda.LIBRARIES, "libcudart.so.11.6.55"}
    assert names["libcudart.so.11.6.55"] == names["libcudart.so.11.0"]
    assert all(file.is_relative_to(wheels) for file in names.values())


def test_a_second_call_and_a_child_find_the_same_folder(wheels):
    environ = {}
    assert cuda.use_cuda("GPU", environ)
    first = dict(environ)
    assert cuda.use_cuda("GPU", environ)
    assert environ == first
    shutil.rmtree(environ["CUDA_HOME"])
    assert cuda.use_cuda("GPU", environ)
    assert environ["CUDA_HOME"] == first["CUDA_HOME"]
    assert Path(environ["CUDA_HOME"], "lib64", "libcublas.so.11").exists()


def test_a_users_cuda_home_wins(wheels, tmp_path):
    environ = {"CUDA_HOME": str(tmp_path)}
    assert not cuda.use_cuda("GPU", environ)
    assert environ == {"CUDA_HOME": str(tmp_path)}
    assert f"CUDA_HOME={tmp_path} is yours and left alone" in cuda.explain(environ)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "nvcc").touch()
    assert "does not find libcudart.so.11.0" in cuda.explain(environ)


def test_it_is_too_late_after_the_import(wheels, monkeypatch):
    monkeypatch.setitem(sys.modules, "mindspore", object())
    environ = {}
    assert not cuda.use_cuda("GPU", environ)
    assert environ == {}
    assert "mindspore was imported before the GPU was asked for" in cuda.explain(environ)


def test_a_gpu_that_is_asked_for_too_late_is_an_error(monkeypatch):
    from mtn_core.device import setup_device

    for name in (cuda.HOME_VARIABLE, cuda.OWN_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(cuda, "_why_no_libraries", lambda environ: "")
    monkeypatch.setattr(cuda, "make_home", lambda: Path())
    monkeypatch.setattr(cuda, "_open_libraries", Path.is_dir)
    with pytest.raises(DeviceError, match=r"imported before the GPU .* set MTN_DEVICE_TARGET=GPU"):
        setup_device("GPU")


def test_missing_wheels_are_named_with_the_command_that_brings_them(wheels, monkeypatch):
    (wheels / "nvidia" / "cufft" / "lib" / "libcufft.so.10").unlink()
    monkeypatch.setitem(cuda.LIBRARIES, "libcurand.so.10", ("nvidia-none-cu11", "curand"))
    assert not cuda.use_cuda("GPU", {})
    said = cuda.explain({})
    assert "not installed (nvidia-cufft-cu11, nvidia-none-cu11)" in said
    assert "bash scripts/install.sh gpu" in said


def test_libraries_that_do_not_open(wheels, monkeypatch):
    monkeypatch.setattr(cuda, "_open_libraries", open_libraries)
    environ = {}
    assert not cuda.use_cuda("GPU", environ)
    assert environ == {}
    assert "CUDA's libraries do not open" in cuda.explain(environ)


def test_another_machine(wheels, monkeypatch):
    monkeypatch.setattr(cuda.platform, "machine", lambda: "aarch64")
    assert not cuda.use_cuda("GPU", {})
    assert "x86-64 Linux alone, this is Linux on aarch64" in cuda.explain({})


def test_a_mindspore_without_the_plugin(wheels, monkeypatch):
    monkeypatch.setattr(cuda, "_PLUGIN", "mindspore/lib/plugin/libmindspore_gpu.so.13")
    assert not cuda.use_cuda("GPU", {})
    assert "carries no plugin for CUDA 11.6" in cuda.explain({})


@pytest.mark.parametrize("damage", ["bin/nvcc", "lib64/libcublas.so.11"])
def test_a_damaged_folder_is_made_anew(wheels, damage):
    home = cuda.make_home()
    (home / damage).unlink()
    assert cuda.make_home() == home
    assert (home / damage).exists()
    assert [p.name for p in home.parent.iterdir()] == [home.name]


def test_processes_that_come_together_share_one_folder(wheels):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        homes = set(pool.map(lambda _: cuda.make_home(), range(16)))
    (home,) = homes
    assert [p.name for p in home.parent.iterdir()] == [home.name]
    assert (home / "bin" / "nvcc").exists()


def test_a_folder_in_the_environment_of_the_wheels(wheels, monkeypatch):
    monkeypatch.setattr(sys, "prefix", str(wheels))
    assert cuda.make_home().is_relative_to(wheels / "share" / "mtn_core")


def test_without_a_cache_it_lies_among_temporary_files(wheels, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    home = cuda.make_home()
    assert home.parent == tmp_path / f"mtn_core-{os.getuid()}"
    assert home.parent.stat().st_mode & 0o077 == 0
    # A folder there that belongs to somebody else is not used.
    shutil.rmtree(home.parent)
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert cuda.make_home() is None
    assert "set XDG_CACHE_HOME" in cuda.explain({})


def test_a_file_system_from_which_nothing_runs_is_passed_over(wheels, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).startswith(str(tmp_path)))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert cuda.make_home() is None


def test_what_cuda_said_is_found_in_mindspores_lines():
    error = RuntimeError(
        "\n---\n- Cuda error:\n---\nThe cudaGetLastError[35], CUDA driver version is insufficient "
        "for CUDA runtime version\n---\n- C++ Call Stack:\n"
    )
    said = cuda.explain_error(error)
    assert said.startswith("CUDA driver version is insufficient for CUDA runtime version (CUDA")
    assert "error 35); install NVIDIA driver 450.80.02 or later" in said
    error = RuntimeError("failed, ret[101], invalid device ordinal. Please make sure [0, 1), x")
    assert cuda.explain_error(error) == "invalid device ordinal (CUDA error 101)"
    assert cuda.explain_error(RuntimeError("something else")) == ""


def test_commands_that_run_onnx_or_start_notebooks_do_not_load_it(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(cli, "use_cuda", asked.append)
    root, gpu = ["--root", str(tmp_path)], ["--device_target", "GPU"]
    model, out = ["--onnx_path", "none.onnx"], ["--out", str(tmp_path / "out")]
    assert cli.main(["eval-onnx", *root, *model, *out, *gpu]) == 1
    assert cli.main(["trans", *root, *model, *out, *gpu]) == 1
    workbook = ["--profile", "veri", "--notebooks", str(tmp_path)]
    assert cli.main(["workbook", *workbook, *root, *gpu]) == 1
    assert asked == []
    assert cli.main(["eval", *root, "--ckpt_path", "none.ckpt", *out, *gpu]) == 1
    assert asked == ["GPU"]


@pytest.fixture(scope="session")
def compile_library(tmp_path_factory):
    """Builds a library from C functions that return 1."""
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")

    def build(name, functions):
        folder = tmp_path_factory.mktemp("library")
        source = "".join(f"int {name}(void) {{ return 1; }}\n" for name in functions)
        (folder / "source.c").write_text(source)
        command = ["cc", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", name, "source.c"]
        subprocess.run(command, cwd=folder, check=True)
        return folder

    return build


def _real_wheels():
    return all(cuda._wheel_folders().values())


@pytest.fixture
def environment(compile_library, tmp_path):
    """A process that would find the driver of seven functions, and nobody's CUDA."""
    if not _real_wheels():
        pytest.skip("needs `bash scripts/install.sh gpu`")
    environ = {k: v for k, v in os.environ.items() if k not in ("CUDA_HOME", "MTN_CUDA_HOME")}
    driver = compile_library("libcuda.so.1", DRIVER_FUNCTIONS)
    # LD_BIND_NOW: a symbol that is missing fails when a library is loaded, not when it is called.
    return environ | {"LD_LIBRARY_PATH": str(driver), "LD_BIND_NOW": "1", "GLOG_v": "3"}


def run(*arguments, **options):
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **options)


def test_the_cuda_of_another_program_is_seen(compile_library, tmp_path):
    library = compile_library("libcurand.so.10", ["curandCreate"]) / "libcurand.so.10"
    program = f"""
import ctypes
from mtn_core import cuda
assert cuda.other_libraries() == []
ctypes.CDLL({str(library)!r})
assert cuda.other_libraries() == [{str(library)!r}]
cuda._why_no_libraries = lambda environ: ""
assert not cuda.use_cuda("GPU", {{}})
print(cuda.explain({{}}))
"""
    done = run("-c", program)
    assert "holds the CUDA libraries of another program" in done.stdout, done.stderr


@pytest.mark.slow
def test_the_package_does_it_when_it_is_imported(environment):
    program = "import mtn_core.cuda as cuda; print(cuda.is_active(), len(cuda.other_libraries()))"
    done = run("-c", program, env=environment | {"MTN_DEVICE_TARGET": "GPU"})
    assert done.stdout == "True 0\n", done.stderr
    done = run("-c", program, env=environment)
    assert done.stdout == "False 0\n", done.stderr


@pytest.mark.slow
def test_the_first_operation_asks_the_driver(environment):
    program = """
from mtn_core.cuda import explain, is_active, other_libraries, use_cuda
assert use_cuda("GPU") and is_active() and explain() == "" and other_libraries() == []
import mindspore as ms
assert ms.hal.is_available("GPU")
ms.set_device("GPU")
try:
    ms.ops.add(ms.Tensor([1.0]), ms.Tensor([2.0])).asnumpy()
except RuntimeError as error:
    print(error)
"""
    done = run("-c", program, env=environment)
    assert "[35], CUDA driver version is insufficient" in done.stdout, done.stderr


@pytest.mark.slow
def test_a_command_says_what_is_missing_in_one_line(environment, smoke_root, tmp_path):
    command = ["-m", "mtn_core", "train", "--root", smoke_root, "--out", tmp_path / "run"]
    command += ["--recipe", "smoke", "--device_target", "GPU"]
    done = run(*command, env=environment)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "(CUDA error 35); install NVIDIA driver" in line
    assert "`mtn doctor --device_target GPU`" in line
    if shutil.which("nvidia-smi") is None:
        done = run(*command, env=environment | {"LD_LIBRARY_PATH": ""})
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert "there is no NVIDIA driver (libcuda.so.1" in line
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_notebooks_and_workers_get_it_too(environment, smoke_root, tmp_path, repository):
    command = ["-m", "mtn_core", "workbook", "--profile", "smoke", "--only", "03"]
    command += ["--root", smoke_root, "--device_target", "GPU"]
    command += ["--notebooks", repository / "notebooks"]
    done = run(*command, env=environment, cwd=tmp_path)
    assert done.returncode == 1
    assert "(CUDA error 35)" in done.stderr
    command = ["-m", "mtn_core", "launch", "--workers", "2", "--log_dir", tmp_path / "logs", "--"]
    command += ["train", "--distribute", "--root", smoke_root, "--out", tmp_path / "run"]
    command += ["--recipe", "smoke", "--device_target", "GPU"]
    done = run(*command, env=environment, cwd=tmp_path)
    assert done.returncode
    # The first to fail ends the other, which may not have come that far.
    logs = (tmp_path / "logs").glob("worker_*.log")
    assert any("(CUDA error 35)" in log.read_text() for log in logs)


@pytest.mark.slow
@pytest.mark.gpu
@pytest.mark.timeout(1500)
def test_training_on_a_real_gpu(smoke_root, tmp_path):
    if not Path("/dev/nvidiactl").exists():
        pytest.skip("needs a GPU")
    if not _real_wheels():
        pytest.skip("needs `bash scripts/install.sh gpu`")
    command = ["-m", "mtn_core", "train", "--root", smoke_root, "--out", tmp_path / "run"]
    command += ["--recipe", "smoke", "--device_target", "GPU", "--epochs", "1"]
    done = run(*command)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "run" / "ckpt" / "last.ckpt").is_file()
