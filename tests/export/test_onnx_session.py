import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from mtn_core.data.transforms import transform_image
from mtn_core.errors import DataError, DeviceError
from mtn_core.export.parity import sample_batch
from mtn_core.predict import onnx as onnx_session
from mtn_core.predict.crop import CropEmbedder
from mtn_core.predict.host_input import model_inputs
from mtn_core.predict.model_json import MODEL_JSON, OUTPUT_NAMES
from mtn_core.predict.onnx import OnnxModel


def test_binding_gives_what_a_plain_run_gives(tiny_export):
    model = OnnxModel(tiny_export.path)
    plain = onnxruntime.InferenceSession(str(tiny_export.path), providers=["CPUExecutionProvider"])
    for count in (1, 5, 2):  # buffers are of the batch at hand, not of the last one
        batch = sample_batch(model.spec, count=count, seed=count)
        expected = plain.run(list(OUTPUT_NAMES), model_inputs(batch, model.spec, pixels=False))
        for name, value in zip(OUTPUT_NAMES, expected, strict=True):
            np.testing.assert_array_equal(model.run(batch)[name], value)


def test_a_foreign_crop_is_embedded_without_pose(tools, tmp_path):
    import cv2

    tools.write_export(tmp_path, tools.make_spec(segments=True))
    model = OnnxModel(tmp_path / "tiny.onnx")
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), image[:, :, ::-1])
    keypoints = np.full((1, 108), -0.5, np.float32)
    batch = {"image": transform_image(image, 32)[None], "keypoints": keypoints}
    batch["segments"] = np.zeros((1, 13, 64, 64), np.uint8)
    found = CropEmbedder(model).embed(tmp_path / "a.png")
    np.testing.assert_array_equal(found, model.run(batch)["embedding"][0])
    batch["segments"] = np.full((1, 13, 64, 64), 255, np.uint8)
    assert not np.allclose(found, model.run(batch)["embedding"][0])


def test_missing_and_truncated_files(tiny_export):
    with pytest.raises(FileNotFoundError, match=r"nothing\.onnx does not exist"):
        OnnxModel(tiny_export.path.with_name("nothing.onnx"))
    tiny_export.path.write_bytes(tiny_export.path.read_bytes()[:800])
    with pytest.raises(DataError, match=r"tiny\.onnx has 800 bytes.*cut short"):
        OnnxModel(tiny_export.path)
    (tiny_export.path.parent / MODEL_JSON).unlink()
    with pytest.raises(DataError, match=r"tiny\.onnx is not a readable ONNX file.*export"):
        OnnxModel(tiny_export.path)
    tiny_export.path.write_bytes(b"")
    with pytest.raises(DataError, match=r"tiny\.onnx is empty \(0 bytes\)"):
        OnnxModel(tiny_export.path)
    with pytest.raises(DataError, match="is a folder"):
        OnnxModel(tiny_export.path.parent)
    with pytest.raises(DataError, match=r"not named \.onnx"):
        other = tiny_export.path.with_suffix(".mindir")
        other.write_bytes(b"x")
        OnnxModel(other)


def test_the_file_alone_is_enough(tiny_export):
    (tiny_export.path.parent / MODEL_JSON).unlink()
    assert OnnxModel(tiny_export.path).spec.pids == tiny_export.spec.pids


def test_onnx_file_of_another_model(tmp_path):
    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 2]) for n in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", info[:1], info[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)])
    model.ir_version = 6
    onnx.save(model, str(tmp_path / "relu.onnx"))
    with pytest.raises(DataError, match=r"relu\.onnx is not a model that `mtn export` wrote.*x "):
        OnnxModel(tmp_path / "relu.onnx")


def test_metadata_of_another_model(tools, tmp_path):
    model = tools.make_onnx(tools.make_spec())
    helper.set_model_props(model, tools.make_spec(num_colors=4).to_metadata())
    onnx.save(model, str(tmp_path / "a.onnx"))
    with pytest.raises(DataError, match="other inputs and outputs than it says"):
        OnnxModel(tmp_path / "a.onnx")


def test_cuda_that_is_not_there_is_an_error_with_a_reason(tiny_export, monkeypatch):
    monkeypatch.setattr(onnx_session, "_why_no_provider", lambda *_: "libcuda.so.1 not found")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    with pytest.raises(DeviceError, match=r"CUDA device 2 .*libcuda\.so\.1 not found"):
        OnnxModel(tiny_export.path, device_target="GPU", device_id=2)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(DeviceError, match="install onnxruntime-gpu"):
        OnnxModel(tiny_export.path, device_target="GPU")


def test_silent_fallback_of_onnxruntime_is_refused(tiny_export, monkeypatch):
    """onnxruntime goes on with the CPU when CUDA cannot start; the session's providers tell."""
    create = onnxruntime.InferenceSession

    def fallback(path, options, providers, provider_options):
        assert providers == ["CUDAExecutionProvider"]
        assert provider_options == [{"device_id": "1"}]
        return create(path, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "InferenceSession", fallback)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(onnx_session, "_why_no_provider", lambda *_: "")
    with pytest.raises(DeviceError, match="CUDA device 1 was asked for"):
        OnnxModel(tiny_export.path, device_target="GPU", device_id=1)


def test_real_cuda_or_a_real_reason(tiny_export):
    reason = onnx_session._why_no_provider(onnxruntime, "GPU")
    if reason:
        with pytest.raises(DeviceError, match="CUDA device 0 was asked for and is not available"):
            OnnxModel(tiny_export.path, device_target="GPU")
    else:
        model = OnnxModel(tiny_export.path, device_target="GPU")
        batch = sample_batch(model.spec)
        expected = OnnxModel(tiny_export.path).run(batch)["embedding"]
        np.testing.assert_allclose(model.run(batch)["embedding"], expected, atol=1e-3)


def test_other_devices(tiny_export):
    with pytest.raises(DeviceError, match="there is no CPU device 1"):
        OnnxModel(tiny_export.path, device_id=1)
    with pytest.raises(DeviceError, match="runs here on CPU, GPU, Ascend, not on TPU"):
        OnnxModel(tiny_export.path, device_target="TPU")


def test_ascend_needs_the_onnxruntime_for_it(tiny_export, monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(DeviceError, match=r"CANN device 0 was .* has no CANN; run .*sh ascend"):
        OnnxModel(tiny_export.path, device_target="Ascend")


def test_ascend_is_given_its_provider_and_device_and_copies_by_itself(tiny_export, monkeypatch):
    """onnxruntime for Ascend, played by the one for CPU: what it is asked for."""
    create, asked = onnxruntime.InferenceSession, []

    class Session(create):
        def __init__(self, path, options, providers, provider_options):
            asked.append((providers, provider_options))
            super().__init__(path, options, providers=["CPUExecutionProvider"])

        def get_providers(self):
            return asked[-1][0]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CANNExecutionProvider"])
    model = OnnxModel(tiny_export.path, device_target="Ascend", device_id=3)
    assert asked == [(["CANNExecutionProvider"], [{"device_id": "3"}])]
    batch, places = sample_batch(model.spec), set()
    expected = model._session.run(["embedding"], model_inputs(batch, model.spec, pixels=False))[0]
    # Memory of the host: the provider brings it to its device.
    for name, first in (("ortvalue_from_numpy", 1), ("ortvalue_from_shape_and_type", 2)):
        original = getattr(onnxruntime.OrtValue, name)

        def record(*values, make=original, first=first):
            places.add(values[first:])
            return make(*values)

        monkeypatch.setattr(onnxruntime.OrtValue, name, record)
    np.testing.assert_array_equal(model.run(batch)["embedding"], expected)
    assert places == {("cpu", 0)}


def test_ascends_silent_fallback_is_refused(tiny_export, monkeypatch):
    create = onnxruntime.InferenceSession
    monkeypatch.setattr(
        onnxruntime,
        "InferenceSession",
        lambda path, options, **_: create(path, options, providers=["CPUExecutionProvider"]),
    )
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CANNExecutionProvider"])
    with pytest.raises(DeviceError, match=r"CANN device 0 was .* source CANN's set_env\.sh"):
        OnnxModel(tiny_export.path, device_target="Ascend")


def test_cuda_of_mindspore_and_of_onnxruntime_never_meet(tiny_export, monkeypatch):
    """libcurand.so.10 is the name in CUDA 11 and in CUDA 13."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: pytest.fail("CUDA 13 was loaded"))
    for name in ("CUDA_HOME", "MTN_CUDA_HOME"):
        monkeypatch.setenv(name, "/made/by/mtn")
    with pytest.raises(DeviceError, match=r"uses MindSpore's CUDA 11.*process of its own"):
        OnnxModel(tiny_export.path, device_target="GPU")
    assert OnnxModel(tiny_export.path).run(sample_batch(OnnxModel(tiny_export.path).spec))
