"""PoseEstNet against a small PyTorch HRNet with the original names, and conversion."""

import mindspore as ms
import numpy as np
import pytest

from mtn_core.errors import CheckpointError
from mtn_core.models.checkpoint import load_checkpoint, save_checkpoint
from mtn_core.pose.config import PoseModelConfig
from mtn_core.pose.convert import (
    convert_pose_file,
    convert_pose_state_dict,
    load_pretrained_pose,
    save_converted_pose,
)
from mtn_core.pose.network import PoseEstNet
from mtn_core.pose.predict import load_predictor

SMALL = PoseModelConfig(image_size=64, width=8, modules=(1, 2, 1), blocks=1)


def torch_hrnet(config, coarse_outputs=False):
    """HRNet as its authors build it; ``coarse_outputs`` as for classification."""
    torch = pytest.importorskip("torch", reason="torch is not installed (mtn_core[convert])")
    nn = torch.nn

    def conv(a, b, k, s=1):
        return nn.Conv2d(a, b, k, s, k // 2, bias=False)

    class Block(nn.Module):
        def __init__(self, a, width, bottleneck):
            super().__init__()
            self.bottleneck = bottleneck
            out = width * 4 if bottleneck else width
            self.conv1, self.bn1 = conv(a, width, 1 if bottleneck else 3), nn.BatchNorm2d(width)
            self.conv2, self.bn2 = conv(width, width, 3), nn.BatchNorm2d(width)
            if bottleneck:
                self.conv3, self.bn3 = conv(width, out, 1), nn.BatchNorm2d(out)
            self.downsample = (
                nn.Sequential(conv(a, out, 1), nn.BatchNorm2d(out)) if a != out else None
            )

        def forward(self, x):
            y = torch.relu(self.bn1(self.conv1(x)))
            y = self.bn2(self.conv2(y))
            if self.bottleneck:
                y = self.bn3(self.conv3(torch.relu(y)))
            return torch.relu(y + (x if self.downsample is None else self.downsample(x)))

    class Module(nn.Module):
        def __init__(self, widths, outputs):
            super().__init__()
            self.branches = nn.ModuleList(
                nn.Sequential(*(Block(w, w, False) for _ in range(config.blocks))) for w in widths
            )
            self.fuse_layers = nn.ModuleList()
            for i in range(outputs):
                row = nn.ModuleList()
                for j in range(len(widths)):
                    if j == i:
                        row.append(nn.Identity())
                    elif j > i:
                        up = nn.Upsample(scale_factor=2 ** (j - i), mode="nearest")
                        row.append(
                            nn.Sequential(
                                conv(widths[j], widths[i], 1), nn.BatchNorm2d(widths[i]), up
                            )
                        )
                    else:
                        steps = []
                        for k in range(i - j):
                            out = widths[i] if k == i - j - 1 else widths[j]
                            layers = [conv(widths[j], out, 3, 2), nn.BatchNorm2d(out)]
                            steps.append(
                                nn.Sequential(*layers, *([nn.ReLU()] if k < i - j - 1 else []))
                            )
                        row.append(nn.Sequential(*steps))
                self.fuse_layers.append(row)

        def forward(self, xs):
            xs = [branch(x) for branch, x in zip(self.branches, xs, strict=True)]
            return [
                torch.relu(sum(p(x) for p, x in zip(row, xs, strict=True)))
                for row in self.fuse_layers
            ]

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            widths = [config.width * 2**i for i in range(4)]
            self.conv1, self.bn1 = conv(3, 64, 3, 2), nn.BatchNorm2d(64)
            self.conv2, self.bn2 = conv(64, 64, 3, 2), nn.BatchNorm2d(64)
            self.layer1 = nn.Sequential(*(Block(64 if i == 0 else 256, 64, True) for i in range(4)))

            def step(a, b, s):
                return nn.Sequential(conv(a, b, 3, s), nn.BatchNorm2d(b), nn.ReLU())

            self.transition1 = nn.ModuleList(
                [step(256, widths[0], 1), nn.Sequential(step(256, widths[1], 2))]
            )
            for stage in (2, 3, 4):
                count = config.modules[stage - 2]
                self.add_module(
                    f"stage{stage}",
                    nn.Sequential(
                        *(
                            Module(
                                widths[:stage],
                                1
                                if stage == 4 and i == count - 1 and not coarse_outputs
                                else stage,
                            )
                            for i in range(count)
                        )
                    ),
                )
            self.transition2 = nn.ModuleList(
                [
                    nn.Identity(),
                    nn.Identity(),
                    nn.Sequential(step(widths[1], widths[2], 2)),
                ]
            )
            self.transition3 = nn.ModuleList(
                [nn.Identity()] * 3 + [nn.Sequential(step(widths[2], widths[3], 2))]
            )
            self.final_layer = nn.Conv2d(config.width, config.num_keypoints, 1)

        def forward(self, x):
            x = torch.relu(self.bn1(self.conv1(x)))
            x = self.layer1(torch.relu(self.bn2(self.conv2(x))))
            xs = self.stage2([t(x) for t in self.transition1])
            xs = self.stage3([*xs, self.transition2[2](xs[-1])])
            xs = self.stage4([*xs, self.transition3[3](xs[-1])])
            return self.final_layer(xs[0])

    torch.manual_seed(0)
    net = Net()
    with torch.no_grad():
        # Every value different from its neighbours', or an exchange of two would go unseen.
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.2)
                module.running_mean.normal_(0, 0.2)
                module.running_var.uniform_(0.5, 1.5)
        net.final_layer.bias.normal_(0, 0.2)
    return net.eval()


def to_arrays(net):
    return {name: value.numpy() for name, value in net.state_dict().items()}


def load(network, parameters):
    for name, parameter in network.parameters_dict().items():
        parameter.set_data(ms.Tensor(parameters[name]))


@pytest.mark.parametrize(
    "config",
    [SMALL, PoseModelConfig(image_size=96, width=16, modules=(1, 1, 2), blocks=2)],
    ids=["w8", "w16"],
)
def test_same_heatmaps_as_the_pytorch_twin(config):
    twin = torch_hrnet(config)
    conversion = convert_pose_state_dict(to_arrays(twin))
    assert conversion.model.width == config.width
    assert conversion.model.modules == config.modules
    assert conversion.model.blocks == config.blocks
    network = PoseEstNet(config)
    load(network, conversion.parameters)
    network.set_train(False)
    import torch

    x = np.random.default_rng(0).standard_normal((2, 3, config.image_size, config.image_size))
    with torch.no_grad():
        expected = twin(torch.tensor(x, dtype=torch.float32)).numpy()
    found = network(ms.Tensor(x, ms.float32)).asnumpy()
    assert found.shape == (2, 36, config.image_size // 4, config.image_size // 4)
    scale = np.abs(expected).max()
    assert scale > 0.1
    assert np.abs(found - expected).max() < 1e-4 * max(1, scale)


def test_w32_has_the_published_names_and_size():
    names = set(torch_hrnet(PoseModelConfig()).state_dict())
    # Names that stand in the published pose_hrnet_w32_256x256.pth.
    assert {
        "transition1.1.0.0.weight",
        "stage3.3.fuse_layers.2.0.1.0.weight",
        "stage4.2.fuse_layers.0.3.1.running_var",
        "layer1.0.downsample.1.bias",
        "final_layer.bias",
    } <= names
    network = PoseEstNet(PoseModelConfig())
    # 28.5 million with 17 keypoints (Sun et al., table 1); 19 more here at 33 values each.
    millions = sum(p.size for p in network.trainable_params()) / 1e6
    assert 28.4 < millions < 28.6


def test_every_parameter_is_accounted_for():
    arrays = to_arrays(torch_hrnet(SMALL))
    report = convert_pose_state_dict(arrays).report
    assert set(report.mapped) | set(report.skipped) == set(arrays)
    assert all(name.endswith("num_batches_tracked") for name in report.skipped)
    assert len(set(report.mapped.values())) == len(report.mapped)


def test_imagenet_layout_gives_the_backbone():
    arrays = to_arrays(torch_hrnet(SMALL, coarse_outputs=True))
    del arrays["final_layer.weight"], arrays["final_layer.bias"]
    for name in ("incre_modules.0.0.conv1.weight", "downsamp_modules.1.0.weight"):
        arrays[name] = np.ones((2, 2, 1, 1), np.float32)
    arrays["final_layer.0.weight"] = arrays["classifier.weight"] = np.ones((3, 4), np.float32)
    conversion = convert_pose_state_dict(arrays)
    assert not conversion.has_head
    assert not any(name.startswith("final_layer") for name in conversion.parameters)
    skipped = conversion.report.skipped
    assert "classification" in skipped["incre_modules.0.0.conv1.weight"]
    assert "classification" in skipped["final_layer.0.weight"]
    assert any(name.startswith("stage4.0.fuse_layers.3.") for name in skipped)


def test_wrong_files_are_refused():
    arrays = to_arrays(torch_hrnet(SMALL))
    with pytest.raises(CheckpointError, match=r"does not know the parameters: stage2\.0\.surprise"):
        convert_pose_state_dict({**arrays, "stage2.0.surprise": np.ones(1)})
    less = {name: a for name, a in arrays.items() if name != "stage3.1.branches.2.0.conv2.weight"}
    with pytest.raises(CheckpointError, match=r"missing: stage3.1.branches.2.0.conv2.weight"):
        convert_pose_state_dict(less)
    with pytest.raises(CheckpointError, match="is not an HRNet"):
        convert_pose_state_dict({"features.conv0.weight": np.ones(1)})
    bad = {**arrays, "conv1.weight": np.full_like(arrays["conv1.weight"], np.nan)}
    with pytest.raises(CheckpointError, match=r"not finite in: conv1.weight"):
        convert_pose_state_dict(bad)


def test_file_to_checkpoint_to_predictor(tmp_path):
    twin = torch_hrnet(SMALL)
    import torch

    path = tmp_path / "model_best.pth.tar"
    state = {f"module.{name}": value for name, value in twin.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": state, "perf": 0.9}, path)
    conversion = convert_pose_file(path)
    save_converted_pose(conversion, tmp_path / "pose.ckpt", path)
    predictor = load_predictor(load_checkpoint(tmp_path / "pose.ckpt"))
    assert predictor.config.width == 8
    assert predictor.image_size == 256  # weights say nothing of the size


def test_a_head_for_other_keypoints_is_left_out_and_said_so(tmp_path):
    coco = PoseModelConfig(image_size=64, width=8, modules=(1, 2, 1), blocks=1, num_keypoints=17)
    conversion = convert_pose_state_dict(to_arrays(torch_hrnet(coco)), "coco")
    source = tmp_path / "coco.pth"
    source.write_bytes(b"stands for the file")
    save_converted_pose(conversion, tmp_path / "coco.ckpt", source)
    with pytest.raises(CheckpointError, match=r"predicts 17 keypoints, a vehicle here has 36"):
        load_predictor(load_checkpoint(tmp_path / "coco.ckpt"))
    network = PoseEstNet(SMALL)
    before = network.final_layer.weight.asnumpy().copy()
    text = load_pretrained_pose(network, tmp_path / "coco.ckpt")
    assert "head for 17 keypoints" in text
    assert np.array_equal(network.final_layer.weight.asnumpy(), before)
    assert np.array_equal(network.conv1.weight.asnumpy(), conversion.parameters["conv1.weight"])
    wider = PoseEstNet(PoseModelConfig(image_size=64, width=16, modules=(1, 2, 1), blocks=1))
    untouched = wider.conv1.weight.asnumpy().copy()
    with pytest.raises(CheckpointError, match=r"another width.*\n.*of another shape"):
        load_pretrained_pose(wider, tmp_path / "coco.ckpt")
    assert np.array_equal(wider.conv1.weight.asnumpy(), untouched)


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ({}, "does not say which network it belongs to"),
        ({"kind": "pose"}, "does not say which network it belongs to"),
        ({"kind": "multitask", "model": {}}, "holds a MultiTaskNet, not a PoseEstNet"),
        ({"kind": "backbone"}, "holds a bare DenseNet-121, not a PoseEstNet"),
        ({"kind": "pose backbone", "model": {}}, "holds a bare HRNet, not a PoseEstNet"),
        ({"kind": "pose", "model": {"width": 2}}, "cannot build: .*width"),
        ({"kind": "pose", "model": {"deep": 1}}, "cannot build: unknown configuration key 'deep'"),
        ({"kind": "pose", "model": {"num_keypoints": 17}}, "predicts 17 keypoints"),
        ({"kind": "pose", "model": SMALL.model_dump(mode="json")}, "missing: "),
    ],
)
def test_a_predictor_of_another_checkpoint_is_refused(tmp_path, meta, message):
    path = tmp_path / "other.ckpt"
    save_checkpoint(path, {"w": np.ones(2, np.float32)}, meta)
    with pytest.raises(CheckpointError, match=message) as error:
        load_predictor(load_checkpoint(path))
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"image_size": 100}, "multiple of 32"),
        ({"modules": (1, 0, 1)}, "every stage needs 1 to 64 modules"),
        ({"modules": (1, 65, 1)}, "every stage needs 1 to 64 modules"),
        ({"wdith": 32}, "Extra inputs"),
    ],
)
def test_bad_shapes_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        PoseModelConfig(**values)
