import cv2
import mindspore as ms
import numpy as np
import pytest

from mtn_core.config import ModelConfig
from mtn_core.models.preprocess import InputStack

MEAN = np.array([0.485, 0.456, 0.406])
STD = np.array([0.229, 0.224, 0.225])


def sample(size, num=2, seed=0):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (num, size, size, 3), dtype=np.uint8)
    heatmaps = rng.integers(0, 256, (num, 36, 64, 64), dtype=np.uint8)
    segments = rng.integers(0, 256, (num, 13, 64, 64), dtype=np.uint8)
    return image, heatmaps, segments


def reference(image, *maps):
    """One image at a time: cv2 for the upsampling, float64 for the rest."""
    stacks = []
    for i in range(len(image)):
        channels = [*np.moveaxis((image[i] / 255.0 - MEAN) / STD, -1, 0)]
        for group in maps:
            for channel in group[i]:
                resized = cv2.resize(
                    channel.astype(np.float64), image.shape[2:0:-1], interpolation=cv2.INTER_LINEAR
                )
                channels.append((resized / 255 - 0.449) / 0.226)
        stacks.append(channels)
    return np.array(stacks)


@pytest.mark.parametrize("size", [32, 64, 96, 256])
@pytest.mark.parametrize("heatmaps, segments", [(False, False), (True, False), (False, True)])
def test_agrees_with_opencv(size, heatmaps, segments):
    image, heat, segment = sample(size)
    stack = InputStack(ModelConfig(image_size=size, heatmaps=heatmaps, segments=segments))
    tensors = [ms.Tensor(image), ms.Tensor(heat), ms.Tensor(segment)]
    got = stack(tensors[0], tensors[1] if heatmaps else None, tensors[2] if segments else None)
    expected = reference(image, *([heat] * heatmaps), *([segment] * segments))
    assert got.dtype == ms.float32
    np.testing.assert_allclose(got.asnumpy(), expected, atol=2e-5)


def test_both_maps_in_the_order_image_heatmaps_segments():
    image, heat, segment = sample(96)
    config = ModelConfig(image_size=96, heatmaps=True, segments=True)
    got = InputStack(config)(ms.Tensor(image), ms.Tensor(heat), ms.Tensor(segment))
    assert got.shape == (2, config.in_channels, 96, 96) == (2, 52, 96, 96)
    np.testing.assert_allclose(got.asnumpy(), reference(image, heat, segment), atol=2e-5)


def test_an_absent_map_is_the_normalised_zero():
    image, _, segment = sample(64)
    segment[:, 4] = 0
    config = ModelConfig(image_size=64, segments=True)
    got = InputStack(config)(ms.Tensor(image), None, ms.Tensor(segment)).asnumpy()
    np.testing.assert_allclose(got[:, 3 + 4], -0.449 / 0.226, rtol=1e-5)


def test_graph_mode_gives_the_same_stack():
    image, _, segment = sample(96)
    config = ModelConfig(image_size=96, segments=True)
    stack = InputStack(config)
    expected = stack(ms.Tensor(image), None, ms.Tensor(segment)).asnumpy()
    mode = ms.get_context("mode")
    try:
        ms.set_context(mode=ms.GRAPH_MODE)
        got = InputStack(config)(ms.Tensor(image), None, ms.Tensor(segment)).asnumpy()
    finally:
        ms.set_context(mode=mode)
    np.testing.assert_allclose(got, expected, atol=1e-5)
