"""Files appear whole or not at all."""

import hashlib
import stat

import pytest

from mtn_core.files import atomic_folder, atomic_path, sha256_of, write_json, write_text


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
        assert temporary.parent == tmp_path / "deep"
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


def test_sha256(tmp_path):
    write_text(tmp_path / "a", "x")
    assert sha256_of(tmp_path / "a") == hashlib.sha256(b"x").hexdigest()
