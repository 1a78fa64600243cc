import mindspore as ms
import numpy as np
import pytest

from mtn_core.models.densenet import DenseNet121
from mtn_core.models.stem import EXTRA_CHANNEL_STD


def images(channels=3, size=64, num=1, seed=0):
    rng = np.random.default_rng(seed)
    return ms.Tensor(rng.normal(size=(num, channels, size, size)).astype(np.float32))


def test_number_of_parameters_is_that_of_the_paper():
    # torchvision's densenet121 has 7,978,856, of which its 1000-way classifier 1,025,000.
    assert sum(p.size for p in DenseNet121().trainable_params()) == 7_978_856 - 1_025_000


@pytest.mark.parametrize(
    "size, last_stride, reduction",
    [(32, 2, 32), (96, 2, 32), (160, 2, 32), (32, 1, 16), (96, 1, 16)],
)
def test_any_multiple_of_32(size, last_stride, reduction):
    network = DenseNet121(last_stride=last_stride)
    network.set_train(False)
    expected = (1, 1024, size // reduction, size // reduction)
    assert network(images(size=size)).shape == expected


def test_images_need_not_be_square():
    network = DenseNet121()
    network.set_train(False)
    x = images(size=96)[:, :, :64]
    assert network(x).shape == (1, 1024, 2, 3)


def test_extra_channels_start_as_pamtri_has_them():
    ms.set_seed(3)
    weight = DenseNet121(52).conv0.weight.asnumpy()
    rgb, extra = weight[:, :3], weight[:, 3:]
    assert extra.std() == pytest.approx(EXTRA_CHANNEL_STD, rel=0.02)
    assert abs(extra.mean()) < 0.001
    # He et al. for the three channels that carry most: sqrt(2 / fan-in).
    assert rgb.std() == pytest.approx(np.sqrt(2 / (3 * 49)), rel=0.05)


def test_extra_channels_add_to_the_response_of_the_rgb_filters():
    network = DenseNet121(16)
    plain = DenseNet121(3)
    plain.conv0.weight.set_data(ms.Tensor(network.conv0.weight.asnumpy()[:, :3].copy()))
    x = images(16)
    zeroed = x.asnumpy().copy()
    zeroed[:, 3:] = 0
    np.testing.assert_allclose(
        network.conv0(ms.Tensor(zeroed)).asnumpy(), plain.conv0(x[:, :3]).asnumpy(), atol=1e-5
    )
    assert np.abs(network.conv0(x).asnumpy() - plain.conv0(x[:, :3]).asnumpy()).max() > 0.1


def test_pooling_is_centred():
    # A bright pixel must reach the windows that PyTorch's padding=1 gives it: no shift.
    network = DenseNet121()
    x = np.zeros((1, 64, 8, 8), np.float32)
    x[0, 0, 3, 4] = 1
    pooled = network.pool0(network.pad0(ms.Tensor(x))).asnumpy()[0, 0]
    expected = np.zeros((4, 4), np.float32)
    expected[1:3, 2] = 1
    np.testing.assert_array_equal(pooled, expected)


def test_parameter_names_tell_the_blocks_apart():
    names = [p.name for p in DenseNet121().get_parameters()]
    assert len(set(names)) == len(names) == 604
    assert "denseblock3.23.conv2.weight" in names


def test_same_seed_same_weights():
    weights = []
    for seed in (5, 5, 6):
        ms.set_seed(seed)
        weights.append([p.asnumpy() for p in DenseNet121(16).trainable_params()])
    assert all(np.array_equal(a, b) for a, b in zip(weights[0], weights[1], strict=True))
    assert not np.array_equal(weights[0][0], weights[2][0])
