"""The locks install with hashes on x86-64 and on aarch64, glibc 2.28 and later."""

import re
import subprocess
import sys
import tomllib

import pytest
from packaging.requirements import Requirement

LOCKS = ["requirements.txt", "requirements-dev.txt", "requirements-ascend.txt"]
GLIBC = ("2_28", "2_27", "2_26", "2_24", "2_17")


def lock_entries(text):
    """The requirement and the hashes of each entry."""
    joined = re.sub(r"\\\n", " ", "".join(re.findall(r"^[^#].*\n", text, re.M)))
    for line in joined.splitlines():
        requirement, *hashes = line.split("--hash=")
        yield Requirement(requirement.strip()), [h.strip() for h in hashes]


def holds(requirement, machine, python="3.11.2"):
    names = {"platform_machine": machine, "sys_platform": "linux", "python_full_version": python}
    return requirement.marker is None or requirement.marker.evaluate(names)


def names_on(repository, lock, machine, python="3.11.2"):
    entries = lock_entries((repository / lock).read_text())
    return [r.name for r, _ in entries if holds(r, machine, python)]


@pytest.mark.parametrize("lock", [*LOCKS, "requirements-gpu.txt"])
def test_every_entry_is_exact_and_has_hashes(repository, lock):
    entries = list(lock_entries((repository / lock).read_text()))
    assert len(entries) >= 7
    for requirement, hashes in entries:
        assert re.fullmatch(r"==[^*,]+", str(requirement.specifier)), requirement
        assert hashes
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", h) for h in hashes)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("lock", LOCKS)
@pytest.mark.parametrize("python", ["3.11.2", "3.11.13"])
def test_a_machine_gets_one_version_of_each(repository, lock, machine, python):
    names = names_on(repository, lock, machine, python)
    assert len(names) == len(set(names))


def test_onnxruntime_with_cuda_is_for_x86_alone(repository):
    """Its wheels for aarch64 need glibc 2.34, which many Ascend hosts do not have."""
    for machine, name in (("x86_64", "onnxruntime-gpu"), ("aarch64", "onnxruntime")):
        found = [n for n in names_on(repository, LOCKS[0], machine) if n.startswith("onnxruntime")]
        assert found == [name]


def test_the_locks_agree_with_each_other_and_with_the_project(repository):
    main = {(r.name, str(r)) for r, _ in lock_entries((repository / LOCKS[0]).read_text())}
    everything = {str(r) for r, _ in lock_entries((repository / LOCKS[1]).read_text())}
    assert {text for _, text in main} <= everything
    for lock in LOCKS[1:]:
        for requirement, _ in lock_entries((repository / lock).read_text()):
            same = {text for name, text in main if name == requirement.name}
            assert not same or str(requirement) in same
    extras = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    pinned = lock_entries((repository / "requirements-gpu.txt").read_text())
    assert [str(r) for r, _ in pinned] == extras["optional-dependencies"]["gpu"]


@pytest.mark.slow
@pytest.mark.parametrize("lock", LOCKS[1:])  # the first is part of the second
def test_a_lock_resolves_for_aarch64(repository, lock, tmp_path):
    """Names and hashes against the package index; wheels alone, as on a host without compilers."""
    # pip reads markers for the machine that it runs on, so those of aarch64 are resolved here.
    lines = [
        f"{r.name}{r.specifier} {' '.join(f'--hash={h}' for h in hashes)}"
        for r, hashes in lock_entries((repository / lock).read_text())
        if holds(r, "aarch64")
    ]
    (tmp_path / "lock.txt").write_text("\n".join(lines))
    platforms = [f"--platform=manylinux_{glibc}_aarch64" for glibc in GLIBC]
    command = [
        *(sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-deps"),
        *("--only-binary=:all:", "--python-version=311", "--implementation=cp", "--require-hashes"),
        *(*platforms, "--platform=manylinux2014_aarch64", f"--target={tmp_path / 'none'}"),
        *("-r", str(tmp_path / "lock.txt")),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    if re.search("connection|resolve host|Temporary failure|timed out", done.stderr, re.I):
        pytest.skip("the package index is not reached")
    assert done.returncode == 0, done.stderr[-2000:]
    would = re.search(r"^Would install (.*)$", done.stdout, re.M)
    assert len(would[1].split()) == len(lines)
