import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from mtn_core.data.transforms import keypoint_vector, transform_image, transform_keypoints
from mtn_core.errors import ConfigError, DataError, DeviceError
from mtn_core.export.parity import sample_batch
from mtn_core.predict import onnx as onnx_session
from mtn_core.predict.host_input import model_inputs
from mtn_core.predict.model_json import MODEL_JSON, OUTPUT_NAMES
from mtn_core.predict.onnx import OnnxModel, check_batch_size


def test_binding_gives_what_a_plain_run_gives(tiny_export):
    model = OnnxModel(tiny_export.path)
    plain = onnxruntime.InferenceSession(str(tiny_export.path), providers=["CPUExecutionProvider"])
    for count in (1, 5, 2):  # buffers are of the batch at hand, not of the last one
        batch = sample_batch(model.spec, count=count, seed=count)
        expected = plain.run(list(OUTPUT_NAMES), model_inputs(batch, model.spec, pixels=False))
        for name, value in zip(OUTPUT_NAMES, expected, strict=True):
            np.testing.assert_array_equal(model.run(batch)[name], value)


def test_images_by_file_or_array(tiny_export, tmp_path):
    import cv2

    model = OnnxModel(tiny_export.path)
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, shape, dtype=np.uint8) for shape in ((40, 60, 3), (90, 50, 3))]
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), images[0][:, :, ::-1])
    keypoints = rng.uniform(0, 40, (2, 36, 3)).astype(np.float32)
    keypoints[..., 2] = 0.9
    found = model.embed_images([path, images[1]], keypoints)
    batch = {
        "image": np.stack([transform_image(i, 32) for i in images]),
        "keypoints": np.stack(
            [
                keypoint_vector(transform_keypoints(k, i.shape[1], i.shape[0]))
                for k, i in zip(keypoints, images, strict=True)
            ]
        ),
    }
    np.testing.assert_array_equal(found, model.run(batch)["embedding"])
    assert not np.allclose(found, model.embed_images([path, images[1]]))


def test_maps_are_empty_where_none_are_given(tools, tmp_path):
    tools.write_export(tmp_path, tools.make_spec(segments=True))
    model = OnnxModel(tmp_path / "tiny.onnx")
    image = np.full((50, 50, 3), 90, np.uint8)
    without = model.embed_images([image])
    maps = {"segments": np.zeros((1, 13, 64, 64), np.uint8)}
    np.testing.assert_array_equal(without, model.embed_images([image], maps=maps))
    maps["segments"][:] = 255
    assert not np.allclose(without, model.embed_images([image], maps=maps))


def test_missing_and_truncated_files(tiny_export):
    with pytest.raises(FileNotFoundError, match=r"nothing\.onnx does not exist"):
        OnnxModel(tiny_export.path.with_name("nothing.onnx"))
    tiny_export.path.write_bytes(tiny_export.path.read_bytes()[:800])
    with pytest.raises(DataError, match=r"tiny\.onnx has 800 bytes.*cut short"):
        OnnxModel(tiny_export.path)
    (tiny_export.path.parent / MODEL_JSON).unlink()
    with pytest.raises(DataError, match=r"tiny\.onnx is not a readable ONNX file.*export"):
        OnnxModel(tiny_export.path)


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
    monkeypatch.setattr(onnx_session, "_why_no_cuda", lambda _: "libcuda.so.1 not found")
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
    monkeypatch.setattr(onnx_session, "_why_no_cuda", lambda _: "")
    with pytest.raises(DeviceError, match="CUDA device 1 was asked for"):
        OnnxModel(tiny_export.path, device_target="GPU", device_id=1)


def test_real_cuda_or_a_real_reason(tiny_export):
    reason = onnx_session._why_no_cuda(onnxruntime)
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
    with pytest.raises(DeviceError, match=r"not on Ascend.*MINDIR"):
        OnnxModel(tiny_export.path, device_target="Ascend")


def test_batch_size():
    check_batch_size(1)
    with pytest.raises(ConfigError, match="1 or more, got 0"):
        check_batch_size(0)
