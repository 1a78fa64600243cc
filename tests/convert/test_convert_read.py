import contextlib
import pickle
import sys

import numpy as np
import pytest
from safetensors.numpy import save_file

from mtn_core.convert.multitask import convert_file
from mtn_core.convert.read import read_state_dict
from mtn_core.errors import CheckpointError, MissingFileError, MissingPackageError

MARKER = "a-pickle-ran-code"


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="torch is not installed (extra: convert)")


class RunsCode:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


class RunsShell(RunsCode):
    def __reduce__(self):
        import os

        return (os.system, (f"touch {self.path}",))


class RunsInNumpy(RunsCode):
    """Hides behind the one NumPy function that the reader allows."""

    def __reduce__(self):
        scalar = np.float64(0).__reduce__()[0]
        return (scalar, (np.dtype("O"), pickle.dumps(RunsCode(self.path))))


ATTACKS = [RunsCode, RunsShell]


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_attack_would_work_on_a_plain_pickle(attack, tmp_path):
    # Else the tests below could not fail.
    pickle.loads(pickle.dumps(attack(tmp_path / MARKER)))
    assert (tmp_path / MARKER).exists()


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("place", ["alone", "beside", "inside"])
def test_a_malicious_pickle_runs_nothing(torch, attack, zipped, place, tmp_path):
    evil = attack(tmp_path / MARKER)
    content = {
        "alone": evil,
        "beside": {"state_dict": {"conv0.weight": torch.zeros(1)}, "args": evil},
        "inside": {"conv0.weight": torch.zeros(1), "norm0.weight": evil},
    }[place]
    path = tmp_path / "model.pth"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"refused.*wants to run (io\.open|open|\w+\.system)"):
        read_state_dict(path)
    assert not (tmp_path / MARKER).exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_bare_malicious_pickle_runs_nothing(torch, protocol, tmp_path):
    path = tmp_path / "model.pth"
    path.write_bytes(pickle.dumps(RunsCode(tmp_path / MARKER), protocol=protocol))
    with pytest.raises(CheckpointError, match=r"refused|not a weight file"):
        read_state_dict(path)
    assert not (tmp_path / MARKER).exists()


def test_a_pickle_within_a_numpy_scalar_runs_nothing(torch, tmp_path):
    path = tmp_path / "model.pth"
    evil = RunsInNumpy(tmp_path / MARKER)
    torch.save({"state_dict": {"a": torch.ones(1)}, "rank1": evil}, path)
    with contextlib.suppress(CheckpointError):
        assert read_state_dict(path).keys() == {"a"}
    assert not (tmp_path / MARKER).exists()


def test_a_whole_pickled_module_is_refused_with_the_reason(torch, tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pth")
    with pytest.raises(CheckpointError, match=r"Linear.*torch\.save\(model\.state_dict\(\)"):
        read_state_dict(tmp_path / "module.pth")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("score", [np.float32(0.7), np.float64(0.7), np.int64(3), 0.7])
def test_training_checkpoint_of_the_original(torch, zipped, score, tmp_path):
    # torchreid saves a NumPy score beside the weights, and DataParallel prefixes the names.
    path = tmp_path / "model_best.pth.tar"
    weights = {"module.base.conv0.weight": torch.arange(6.0).reshape(2, 3)}
    content = {"state_dict": weights, "rank1": score, "epoch": 60}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    arrays = read_state_dict(path)
    assert list(arrays) == ["base.conv0.weight"]
    np.testing.assert_array_equal(arrays["base.conv0.weight"], np.arange(6).reshape(2, 3))


def test_arrays_are_float32_and_contiguous(torch, tmp_path):
    path = tmp_path / "a.pt"
    content = {
        "half": torch.ones(2, dtype=torch.float16),
        "brain": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
        "double": torch.full((2,), 1 / 3, dtype=torch.float64),
        "turned": torch.arange(6.0).reshape(2, 3).T,
        "parameter": torch.nn.Parameter(torch.ones(1)),
        "count": torch.tensor(7),
    }
    torch.save(content, path)
    arrays = read_state_dict(path)
    assert {n: str(a.dtype) for n, a in arrays.items()} == {
        n: "int64" if n == "count" else "float32" for n in content
    }
    assert all(a.flags.c_contiguous for a in arrays.values())
    np.testing.assert_array_equal(arrays["turned"], np.arange(6).reshape(2, 3).T)
    np.testing.assert_array_equal(arrays["brain"], [1.5, -2.0])


def test_values_that_are_no_tensors_are_listed(torch, tmp_path):
    torch.save(
        {"a": torch.ones(1), "note": "x", "b": torch.ones(1, dtype=torch.cfloat)},
        tmp_path / "a.pth",
    )
    with pytest.raises(CheckpointError, match=r"note \(str\), b \(Tensor\)"):
        read_state_dict(tmp_path / "a.pth")


@pytest.mark.parametrize("content", [[1, 2], 3])
def test_something_else_than_a_state_dict(torch, content, tmp_path):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="expected a state dict"):
        read_state_dict(tmp_path / "a.pth")


def test_an_empty_state_dict(torch, tmp_path):
    torch.save({}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="holds no weights"):
        read_state_dict(tmp_path / "a.pth")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_that_was_cut_short(torch, zipped, tmp_path):
    path = tmp_path / "a.pth"
    torch.save({"a": torch.ones(1000)}, path, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[:-1500])
    with pytest.raises(CheckpointError, match="not a weight file"):
        read_state_dict(path)


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"\x00" * 200])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_of_another_kind(torch, content, suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError):
        read_state_dict(path)


def test_an_old_tar_file_is_refused(torch, tmp_path):
    import tarfile

    path = tmp_path / "old.pth.tar"
    (tmp_path / "storages").write_bytes(pickle.dumps(RunsCode(tmp_path / MARKER)))
    with tarfile.open(path, "w") as archive:
        for name in ("storages", "tensors", "pickle"):
            archive.add(tmp_path / "storages", arcname=name)
    with pytest.raises(CheckpointError):
        read_state_dict(path)
    assert not (tmp_path / MARKER).exists()


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(MissingFileError, match=r"absent\.pth does not exist"):
        read_state_dict(tmp_path / "absent.pth")


def test_a_folder_is_no_weight_file(tmp_path):
    with pytest.raises(CheckpointError, match="is a folder; give a file in it"):
        read_state_dict(tmp_path)


def test_safetensors_need_no_torch(torchvision_arrays, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    save_file(torchvision_arrays, tmp_path / "densenet121.safetensors")
    conversion = convert_file(tmp_path / "densenet121.safetensors")
    assert len(conversion.parameters) == 604


def test_without_torch_the_install_command_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "a.pth").write_bytes(b"x")
    with pytest.raises(MissingPackageError, match=r"pip install.*safetensors"):
        read_state_dict(tmp_path / "a.pth")


def test_safetensors_in_half_precision(tmp_path):
    # bfloat16 by hand: NumPy cannot write it.
    path = tmp_path / "a.safetensors"
    header = (
        b'{"b":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]},'
        b'"h":{"dtype":"F16","shape":[1],"data_offsets":[4,6]}}'
    )
    brain = (np.array([1.5, -2.0], np.float32).view(np.uint32) >> 16).astype("<u2")
    half = np.array([0.25], "<f2")
    path.write_bytes(len(header).to_bytes(8, "little") + header + brain.tobytes() + half.tobytes())
    arrays = read_state_dict(path)
    np.testing.assert_array_equal(arrays["b"], [1.5, -2.0])
    np.testing.assert_array_equal(arrays["h"], [0.25])
    assert arrays["b"].dtype == arrays["h"].dtype == np.float32


def test_safetensors_of_another_type_are_named(tmp_path):
    save_file({"a": np.zeros(2, np.uint8)}, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="a is stored as U8"):
        read_state_dict(tmp_path / "a.safetensors")
