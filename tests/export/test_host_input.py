import numpy as np

from mtn_core.export.parity import sample_batch
from mtn_core.predict.host_input import image_stack, model_inputs


def test_equals_the_device_side(device, tools):
    import mindspore as ms

    from mtn_core.models.preprocess import InputStack

    spec = tools.make_spec(image_size=160, heatmaps=True, segments=True)
    batch = sample_batch(spec, count=2, seed=3)
    cell = InputStack(spec.network)
    expected = cell(*(ms.Tensor(batch[k]) for k in ("image", "heatmaps", "segments"))).asnumpy()
    found = image_stack(batch, spec)
    assert found.dtype == np.float32 and found.flags.c_contiguous
    np.testing.assert_allclose(found, expected, atol=3e-5)  # 64 to 160 is no whole factor


def test_worked_values(tools):
    spec = tools.make_spec(segments=True)
    batch = sample_batch(spec, count=1)
    batch["image"][:] = (255, 0, 102)
    batch["segments"][:] = 0
    batch["segments"][:, 4] = 255
    stack = image_stack(batch, spec)
    np.testing.assert_allclose(stack[0, 0], (1 - 0.485) / 0.229, atol=1e-6)
    np.testing.assert_allclose(stack[0, 1], -0.456 / 0.224, atol=1e-6)
    np.testing.assert_allclose(stack[0, 2], (0.4 - 0.406) / 0.225, atol=1e-6)
    np.testing.assert_allclose(stack[0, 3 + 4], (1 - 0.449) / 0.226, atol=1e-6)
    np.testing.assert_allclose(stack[0, 3 + 5], -0.449 / 0.226, atol=1e-6)


def test_inputs_by_kind_of_file(tools):
    spec = tools.make_spec(segments=True)
    batch = sample_batch(spec) | {"index": np.arange(3)}
    assert {k: v.dtype for k, v in model_inputs(batch, spec, pixels=True).items()} == {
        "image": np.uint8,
        "segments": np.uint8,
        "keypoints": np.float32,
    }
    stack = model_inputs(batch, spec, pixels=False)
    assert {k: v.shape for k, v in stack.items()} == {
        "image": (3, 16, 32, 32),
        "keypoints": (3, 108),
    }
