"""MindSpore on NVIDIA GPUs: CUDA 11 from wheels, shown to MindSpore before it is imported.

MindSpore's wheels for x86-64 Linux carry a plugin that was built with CUDA 11.6. It is tried only
where ``CUDA_HOME`` names a folder whose ``bin/nvcc --version`` says so, and needs nine libraries
and the driver. NVIDIA's wheels (``requirements-gpu.txt``) have the libraries, but no such folder:
:func:`use_cuda` makes it from links, sets the variables, and opens the libraries.

ONNX Runtime's CUDA provider needs CUDA 13, and a ``libcurand.so.10`` of that release, so the two
never share a process.
"""

import contextlib
import ctypes
import hashlib
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, MutableMapping
from importlib import metadata
from pathlib import Path

from mtn_core.environment import DEVICE_VARIABLE
from mtn_core.errors import first_offenders

HOME_VARIABLE = "CUDA_HOME"
# The folder that this package made: what tells it from a user's own, in child processes too.
OWN_VARIABLE = "MTN_CUDA_HOME"
RELEASE = "11.6"
DRIVER = "libcuda.so.1"
OLDEST_DRIVER = "450.80.02"
# Library: distribution and its folder; those that others need come first.
LIBRARIES = {
    "libcudart.so.11.0": ("nvidia-cuda-runtime-cu11", "cuda_runtime"),
    "libnvrtc.so.11.2": ("nvidia-cuda-nvrtc-cu11", "cuda_nvrtc"),
    "libcublasLt.so.11": ("nvidia-cublas-cu11", "cublas"),
    "libcublas.so.11": ("nvidia-cublas-cu11", "cublas"),
    "libcurand.so.10": ("nvidia-curand-cu11", "curand"),
    "libcufft.so.10": ("nvidia-cufft-cu11", "cufft"),
    "libcusparse.so.11": ("nvidia-cusparse-cu11", "cusparse"),
    "libcusolver.so.11": ("nvidia-cusolver-cu11", "cusolver"),
    "libcudnn.so.8": ("nvidia-cudnn-cu11", "cudnn"),
}
# Under this name MindSpore looks up the release among the libraries.
_VERSIONED = {"libcudart.so.11.6.55": "libcudart.so.11.0"}
_NVCC = f'#!/bin/sh\necho "Cuda compilation tools, release {RELEASE}, V{RELEASE}.55"\n'
_PLUGIN = f"mindspore/lib/plugin/libmindspore_gpu.so.{RELEASE}"
_INSTALL = "run `bash scripts/install.sh gpu` (or `pip install -r requirements-gpu.txt`)"
_CUDA_ERROR = re.compile(r"\[(\d+)\],\s*([^\n]+)")
_DRIVER_TOO_OLD = "35"


def use_cuda(
    device_target: str | None = None, environ: MutableMapping[str, str] | None = None
) -> bool:
    """Show MindSpore the CUDA libraries of the wheels, for work on a GPU.

    Must come before ``mindspore`` is first imported. Does nothing on another device, over a user's
    own ``CUDA_HOME``, where the wheels are not installed, and beside the CUDA libraries of another
    program; :func:`explain` then says so.

    Args:
        device_target: ``CPU``, ``GPU`` or ``Ascend``; by default ``MTN_DEVICE_TARGET``.
        environ: Where the variables are read and set; ``os.environ`` by default.

    Returns:
        Whether MindSpore will find the libraries in this process.
    """
    environ = os.environ if environ is None else environ
    if (device_target or environ.get(DEVICE_VARIABLE, "")).upper() != "GPU":
        return False
    if is_active(environ) and _open_libraries(Path(environ[HOME_VARIABLE])):
        return True
    if "mindspore" in sys.modules or _why_no_libraries(environ) or other_libraries():
        return False
    home = make_home()
    if home is None or not _open_libraries(home):
        return False
    environ[HOME_VARIABLE] = environ[OWN_VARIABLE] = str(home)
    # The loader read it when this process started: it is for MindSpore's `ldd`, and for children.
    paths = [str(home / "lib64"), environ.get("LD_LIBRARY_PATH", "")]
    environ["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, paths))
    return True


def is_active(environ: MutableMapping[str, str] | None = None) -> bool:
    """Whether :func:`use_cuda` has set this process up, or the one that started it."""
    environ = os.environ if environ is None else environ
    return OWN_VARIABLE in environ and environ.get(HOME_VARIABLE) == environ[OWN_VARIABLE]


def explain(environ: MutableMapping[str, str] | None = None) -> str:
    """What keeps MindSpore from a GPU here, and what mends it, as far as files can tell.

    Returns:
        One sentence without its full stop; empty where nothing is missing.
    """
    environ = os.environ if environ is None else environ
    reason = _why_no_libraries(environ)
    if reason:
        return reason
    if not is_active(environ) and not environ.get(HOME_VARIABLE):
        other = other_libraries()
        if other:
            return (
                f"this process holds the CUDA libraries of another program ({other[0]}), which "
                "must not meet MindSpore's; use a process of its own"
            )
        home = make_home()
        if home is None:
            return "no folder can be written to for the links to CUDA; set XDG_CACHE_HOME to one"
        if not _open_libraries(home):
            return (
                f"CUDA's libraries do not open (see {home}/lib64); remove their wheels, {_INSTALL}"
            )
        if "mindspore" in sys.modules:
            return (
                "mindspore was imported before the GPU was asked for; set "
                f"{DEVICE_VARIABLE}=GPU before Python starts, or call "
                "mtn_core.cuda.use_cuda('GPU') first"
            )
    try:
        ctypes.CDLL(DRIVER)
    except OSError as error:
        return f"there is no NVIDIA driver ({error}); install {OLDEST_DRIVER} or later"
    return ""


def explain_error(error: BaseException) -> str:
    """What CUDA said, out of MindSpore's many lines; empty for an error that is not CUDA's."""
    found = _CUDA_ERROR.search(str(error))
    if found is None:
        return ""
    code, text = found.groups()
    said = f"{text.partition('. ')[0].strip()} (CUDA error {code})"
    if code == _DRIVER_TOO_OLD:
        said += f"; install NVIDIA driver {OLDEST_DRIVER} or later (nvidia-smi shows which it is)"
    return said


def other_libraries() -> list[str]:
    """CUDA libraries in this process that are not those of :data:`LIBRARIES`' wheels."""
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return []
    files = {line.split(maxsplit=5)[5] for line in lines if len(line.split(maxsplit=5)) == 6}
    stems = tuple({name.partition(".")[0] + ".so" for name in LIBRARIES})
    loaded = {file for file in files if Path(file).name.startswith(stems)}
    if not loaded:
        return []
    own = {str(folder.resolve()) for folder in _wheel_folders().values() if folder}
    return sorted(file for file in loaded if str(Path(file).resolve().parent) not in own)


def make_home() -> Path | None:
    """The folder that looks like CUDA 11.6, made where it is not there yet.

    It lies in the environment of the wheels, else in the user's cache, else among temporary files.
    Its name depends on what it links to, so an environment that has moved gets another one.

    Returns:
        The folder; None where it can be written nowhere.
    """
    links = _wheel_files() | _VERSIONED
    key = hashlib.sha256(repr(sorted(links.items())).encode()).hexdigest()[:12]
    for parent in _parents():
        home = parent / f"cuda-{RELEASE}-{key}"
        try:
            if _is_whole(home, links) or _write_home(home, links):
                return home
        except OSError:  # read-only, or full
            continue
    return None


def _parents() -> Iterator[Path]:
    if any(folder and folder.is_relative_to(sys.prefix) for folder in _wheel_folders().values()):
        yield Path(sys.prefix, "share", "mtn_core")
    yield Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "mtn_core").expanduser()
    # Anybody may write among temporary files, and libraries are loaded from here.
    shared = Path(tempfile.gettempdir(), f"mtn_core-{os.getuid()}")
    with contextlib.suppress(OSError):
        shared.mkdir(mode=0o700, exist_ok=True)
        if shared.lstat().st_uid == os.getuid() and not shared.is_symlink():
            yield shared


def _write_home(home: Path, links: dict[str, str]) -> bool:
    home.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".cuda-", dir=home.parent))
    try:
        new = work / "new"
        (new / "bin").mkdir(parents=True)
        (new / "lib64").mkdir()
        nvcc = new / "bin" / "nvcc"
        nvcc.write_text(_NVCC)
        nvcc.chmod(0o755)
        for name, target in links.items():
            (new / "lib64" / name).symlink_to(target)
        if not _is_whole(new, links):  # nothing may be run from this file system
            return False
        # The processes of a job come here together: the folder of the first one stays.
        try:
            new.rename(home)
        except OSError:
            if not _is_whole(home, links):
                home.rename(work / "damaged")
                new.rename(home)
        return True
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _is_whole(home: Path, links: dict[str, str]) -> bool:
    nvcc, lib = home / "bin" / "nvcc", home / "lib64"
    try:
        return (
            nvcc.read_text() == _NVCC
            and os.access(nvcc, os.X_OK)
            and all(str((lib / name).readlink()) == target for name, target in links.items())
        )
    except OSError:
        return False


def _open_libraries(home: Path) -> bool:
    try:
        for name in LIBRARIES:
            ctypes.CDLL(str(home / "lib64" / name))
    except OSError:
        return False
    return True


def _why_no_libraries(environ: MutableMapping[str, str]) -> str:
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return (
            "MindSpore has a CUDA plugin for x86-64 Linux alone, this is "
            f"{platform.system()} on {platform.machine()}"
        )
    if not _has_plugin():
        return f"this MindSpore carries no plugin for CUDA {RELEASE} ({_PLUGIN}); 2.8.0 does"
    own = environ.get(HOME_VARIABLE)
    if own and not is_active(environ):
        return _why_not_that_home(Path(own))
    missing = sorted(
        {LIBRARIES[name][0] for name, folder in _wheel_folders().items() if folder is None}
    )
    if missing:
        return f"CUDA {RELEASE} is not installed ({first_offenders(missing, 2)}); {_INSTALL}"
    return ""


def _why_not_that_home(home: Path) -> str:
    """Only what MindSpore itself would say of a user's folder; whatever else is in it is theirs."""
    said = f"{HOME_VARIABLE}={home} is yours and left alone, but MindSpore"
    mend = f"correct it, or unset it and {_INSTALL}"
    if not (home / "bin" / "nvcc").is_file():
        return f"{said} asks bin/nvcc there for the release, and there is none; {mend}"
    for name in LIBRARIES:
        try:
            ctypes.CDLL(name)
        except OSError as error:
            return f"{said} does not find {name} ({error}): it takes CUDA {RELEASE}; {mend}"
    return ""


def _has_plugin() -> bool:
    try:
        return Path(str(metadata.distribution("mindspore").locate_file(_PLUGIN))).is_file()
    except metadata.PackageNotFoundError:
        return False


def _wheel_files() -> dict[str, str]:
    """All libraries of the wheels, since some open others; their folders may hold more."""
    files = {}
    for distribution, folder in sorted(set(LIBRARIES.values())):
        wheel = metadata.distribution(distribution)
        for file in wheel.files or ():
            if file.match(f"nvidia/{folder}/lib/*.so*"):
                files[file.name] = str(wheel.locate_file(file))
    return files


def _wheel_folders() -> dict[str, Path | None]:
    """Where each library lies; None where its wheel is not installed, or damaged."""
    folders: dict[str, Path | None] = {}
    for name, (distribution, folder) in LIBRARIES.items():
        try:
            place = metadata.distribution(distribution).locate_file(f"nvidia/{folder}/lib")
        except metadata.PackageNotFoundError:
            folders[name] = None
        else:
            path = Path(str(place))
            folders[name] = path if (path / name).is_file() else None
    return folders
