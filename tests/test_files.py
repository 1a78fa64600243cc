"""Files appear whole or not at all."""

import hashlib
import stat
import subprocess
import sys

import numpy as np
import pytest

from mtn_core.errors import RunFolderError
from mtn_core.files import (
    atomic_folder,
    atomic_path,
    sha256_of,
    write_json,
    write_npz,
    write_text,
)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def write_half():
        with atomic_path(path) as temporary:
            temporary.write_text("ne")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_half()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_the_temporary_file_lies_beside_the_final_one_with_its_suffix(tmp_path):
    with atomic_path(tmp_path / "deep" / "x.ckpt") as temporary:
        assert temporary.parent.parent == tmp_path / "deep"
        assert temporary.suffix == ".ckpt"
        temporary.write_bytes(b"1")
    assert stat.S_IMODE((tmp_path / "deep" / "x.ckpt").stat().st_mode) & 0o400


def test_json_refuses_nan(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"mAP": float("nan")})
    assert not (tmp_path / "a.json").exists()


def test_a_folder_appears_whole(tmp_path):
    def write_half():
        with atomic_folder(tmp_path / "maps") as temporary:
            (temporary / "00.jpg").write_bytes(b"")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert list(tmp_path.iterdir()) == []
    with atomic_folder(tmp_path / "maps") as temporary:
        (temporary / "00.jpg").write_bytes(b"")
    with (
        pytest.raises(FileExistsError, match="already holds files"),
        atomic_folder(tmp_path / "maps"),
    ):
        pass


_WRITER = """
import os, sys, time
from mtn_core import files
def killed(*_): os.kill(os.getpid(), 9)
target, moment = sys.argv[1:]
with files.atomic_folder(target, overwrite=True) as folder:
    (folder / "new").touch()
    if moment == "writing": killed()
    if moment == "alive": print("ready", flush=True); time.sleep(60)
    real, calls = os.replace, []
    def replace(old, new):
        if calls: killed()
        calls.append(old); real(old, new)
    os.replace = replace
"""


@pytest.fixture
def aged(monkeypatch):
    monkeypatch.setattr("mtn_core.files._SETTLED_SECONDS", -1.0)


@pytest.mark.parametrize("moment", ["writing", "between the renames"])
def test_what_a_killed_process_left_is_brought_in_order(tmp_path, aged, moment):
    target = tmp_path / "maps[1]"
    target.mkdir()
    (target / "old").touch()
    done = subprocess.run([sys.executable, "-c", _WRITER, str(target), moment], check=False)
    assert done.returncode == -9
    assert len(list(tmp_path.glob(".maps*"))) == (1 if moment == "writing" else 2)
    assert target.exists() == (moment == "writing")
    with (
        pytest.raises(FileExistsError, match="already holds files"),
        atomic_folder(target),
    ):
        pass
    assert [path.name for path in target.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [target]


_FILE_WRITER = """
import os, sys, time
from mtn_core import files
with files.atomic_path(sys.argv[1]) as path:
    path.write_text("half")
    if sys.argv[2] == "killed": os.kill(os.getpid(), 9)
    print("ready", flush=True); time.sleep(60)
"""


@pytest.mark.parametrize("name", ["a.html", "replaced"])
def test_a_file_that_was_never_finished_goes_with_the_next_one_beside_it(tmp_path, aged, name):
    command = [sys.executable, "-c", _FILE_WRITER, str(tmp_path / name), "killed"]
    assert subprocess.run(command, check=False).returncode == -9
    assert len(list(tmp_path.iterdir())) == 1
    (tmp_path / ".a.html.mtn-partial-notes").mkdir()  # not one of ours: another ending
    write_text(tmp_path / "b.html", "whole")
    assert sorted(p.name for p in tmp_path.iterdir()) == [".a.html.mtn-partial-notes", "b.html"]


def test_a_leftover_of_this_moment_waits(tmp_path):
    left = tmp_path / ".a.html.mtn-partial-abcd1234"
    left.mkdir()
    write_text(tmp_path / "b.html", "whole")
    assert left.exists()


def test_a_file_that_a_living_process_writes_is_left_alone(tmp_path, aged):
    command = [sys.executable, "-c", _FILE_WRITER, str(tmp_path / "a.html"), "alive"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"ready\n"
        try:
            write_text(tmp_path / "a.html", "mine")
            (left,) = tmp_path.glob(".a.html*")
            assert (left / "new.html").read_text() == "half"
        finally:
            other.kill()
    assert (tmp_path / "a.html").read_text() == "mine"


def test_a_place_that_is_no_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "nowhere").symlink_to("absent")
    for place in ("file", "nowhere"):
        with pytest.raises(RunFolderError, match=f"{place} is not a folder, so .*a.json cannot"):
            write_text(tmp_path / place / "deep" / "a.json", "x")
        with (
            pytest.raises(RunFolderError, match=f"{place} is not a folder"),
            atomic_folder(tmp_path / place / "a"),
        ):
            pass
    (tmp_path / "folder").mkdir()
    with pytest.raises(RunFolderError, match="folder is a folder, but a file is to be written"):
        write_text(tmp_path / "folder", "x")
    assert len(list(tmp_path.iterdir())) == 3


def test_the_folder_of_a_process_that_lives_is_left_alone(tmp_path, aged):
    target = tmp_path / "maps"
    command = [sys.executable, "-c", _WRITER, str(target), "alive"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"ready\n"
        try:
            with atomic_folder(target) as mine:
                (mine / "mine").touch()
            (left,) = tmp_path.glob(".maps*")
            assert (left / "new").exists()
        finally:
            other.kill()
    assert (target / "mine").exists()


@pytest.mark.parametrize("compressed", [False, True])
def test_arrays_are_written_as_numpy_writes_them(tmp_path, compressed):
    arrays = {"a": np.arange(6.0).reshape(2, 3), "names": np.array(["x", "yz"])}
    write_npz(tmp_path / "ours.npz", arrays, compressed=compressed)
    (np.savez_compressed if compressed else np.savez)(tmp_path / "theirs.npz", **arrays)
    assert sha256_of(tmp_path / "ours.npz") == sha256_of(tmp_path / "theirs.npz")


def test_sha256(tmp_path):
    write_text(tmp_path / "a", "x")
    assert sha256_of(tmp_path / "a") == hashlib.sha256(b"x").hexdigest()
