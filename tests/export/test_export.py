"""The real network through the whole export; properties 28 to 30 of the known defects."""

import json

import numpy as np
import onnx
import pytest

from mtn_core.errors import CheckpointError, ConfigError, DeviceError, RunFolderError
from mtn_core.export import exporter, mindspore_graphs, parity
from mtn_core.export.exporter import ExportOptions, export_checkpoint
from mtn_core.export.lite import mind_ir_version
from mtn_core.files import sha256_of
from mtn_core.models.checkpoint import load_checkpoint
from mtn_core.predict.model_json import METADATA_KEY, OUTPUT_NAMES, load_spec, parse_spec
from mtn_core.predict.onnx import OnnxModel

STEM = "MultiTask_export_segment"


@pytest.fixture(scope="module")
def graph(exported):
    return onnx.load(str(exported.folder / f"{STEM}.onnx"))


def dims(value):
    return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]


def test_names_and_free_batch(graph):
    assert {i.name: dims(i) for i in graph.graph.input} == {
        "image": ["N", 16, 64, 64],
        "keypoints": ["N", 108],
    }
    assert {o.name: dims(o) for o in graph.graph.output} == {
        "id_logits": ["N", 7],
        "color_logits": ["N", 10],
        "type_logits": ["N", 9],
        "embedding": ["N", 1024],
    }
    onnx.checker.check_model(graph, full_check=True)
    onnx.shape_inference.infer_shapes(graph, strict_mode=True)


def test_rows_do_not_depend_on_the_batch(exported):
    model = OnnxModel(exported.folder / f"{STEM}.onnx")
    batch = parity.sample_batch(exported.spec, count=5)
    whole = model.run(batch)
    for row in range(5):
        alone = model.run({k: v[row : row + 1] for k, v in batch.items()})
        for name in OUTPUT_NAMES:
            np.testing.assert_allclose(alone[name][0], whole[name][row], atol=1e-5)
    spread = np.ptp(whole["embedding"], axis=0).max()
    assert spread > 1e-2  # rows differ: the comparison above is one of unlike things


def test_metadata(exported, graph):
    metadata = {p.key: p.value for p in graph.metadata_props}
    assert metadata["image_size"] == "64"
    assert metadata["channel_order"].startswith("red,green,blue,segment_")
    assert metadata["image_mean"] == "[0.485, 0.456, 0.406]"
    assert "yellow,orange,green" in metadata["color_names"]
    assert metadata["commit"] == exported.spec.commit
    inside = parse_spec(metadata[METADATA_KEY], "it")
    assert inside == exported.spec.model_copy(update={"files": {}, "parity": {}, "accuracy": {}})
    assert inside.opset == 11 and inside.metric == "cosine" and inside.epoch == 2
    assert inside.checkpoint_sha256 == sha256_of(exported.checkpoint)


def test_parity_is_measured_printed_and_stored(exported):
    assert set(exported.spec.parity) == {
        f"{STEM}.mindir",
        f"{STEM}.onnx",
        f"{STEM}_pixels.onnx",
    }
    for found in exported.spec.parity.values():
        assert set(found) == set(OUTPUT_NAMES)
        assert max(found.values()) <= parity.TOLERANCE
    assert load_spec(exported.folder / f"{STEM}.onnx").parity == exported.spec.parity
    assert sum("largest difference" in line for line in exported.lines) == 3


def test_card_and_json(exported):
    card = (exported.folder / "model_card.md").read_text()
    for text in (f"`{STEM}_pixels.onnx`", "N x 16 x 64 x 64", "opset 11", "yellow", "0.449"):
        assert text in card
    values = json.loads((exported.folder / "model.json").read_text())
    assert values["pids"] == [3, 5, 8, 9, 11, 20, 31]
    for name, file in values["files"].items():
        assert file["sha256"] == sha256_of(exported.folder / name)


def test_pixels_file_takes_what_the_loader_gives(exported):
    model = OnnxModel(exported.folder / f"{STEM}_pixels.onnx")
    assert model.takes_pixels
    batch = parity.sample_batch(exported.spec, count=2)
    stacked = OnnxModel(exported.folder / f"{STEM}.onnx").run(batch)
    for name, value in model.run(batch).items():
        np.testing.assert_allclose(value, stacked[name], atol=2e-5)


def test_mindir_has_a_free_batch_and_says_what_it_is(exported):
    path = exported.folder / f"{STEM}.mindir"
    model = mindspore_graphs.MindirModel(path)
    for count in (1, 3):
        inputs = {
            "image": np.ones((count, 16, 64, 64), np.float32),
            "keypoints": np.zeros((count, 108), np.float32),
        }
        assert [v.shape[0] for v in model.run(inputs).values()] == [count] * 4
    assert mind_ir_version(path) >= 2
    from mindspore.train import mind_ir_pb2

    proto = mind_ir_pb2.ModelProto.FromString(path.read_bytes())
    info = {entry.key: entry.value for entry in proto.user_info}
    assert parse_spec(info[METADATA_KEY], path).pids == exported.spec.pids
    assert info["outputs"] == ",".join(OUTPUT_NAMES)


def test_truncated_mindir(exported, tmp_path):
    path = tmp_path / "short.mindir"
    path.write_bytes((exported.folder / f"{STEM}.mindir").read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"short\.mindir cannot be loaded.*export"):
        mindspore_graphs.MindirModel(path)


@pytest.mark.slow
@pytest.mark.parametrize("keypoints", [True, False])
@pytest.mark.parametrize("heatmaps", [True, False])
@pytest.mark.parametrize("segments", [True, False])
def test_every_choice_of_inputs(device, make_checkpoint, tmp_path, heatmaps, segments, keypoints):
    network = {"heatmaps": heatmaps, "segments": segments, "keypoints": keypoints}
    checkpoint = make_checkpoint(tmp_path / "a.ckpt", image_size=32, **network)
    spec = export_checkpoint(
        load_checkpoint(checkpoint),
        tmp_path / "out",
        ["MINDIR", "ONNX"],
        device,
        ExportOptions(pixels=True),
        **{k: network[k] for k in ("heatmaps", "segments")},
    )
    assert spec.stack_shape[0] == 3 + 36 * heatmaps + 13 * segments
    assert len(spec.parity) == 3
    assert {i.name for i in onnx.load(str(tmp_path / f"out/{spec.name}.onnx")).graph.input} == {
        "image",
        "keypoints",
    }


@pytest.mark.slow
def test_neck_gem_and_no_attributes(device, make_checkpoint, tmp_path):
    checkpoint = make_checkpoint(
        tmp_path / "a.ckpt",
        neck="bnneck",
        pooling="gem",
        last_stride=1,
        attributes=False,
        num_colors=4,
    )
    spec = export_checkpoint(
        load_checkpoint(checkpoint), tmp_path / "out", ["MINDIR", "ONNX"], device
    )
    assert spec.width("color_logits") == 4
    assert spec.color_names == ("class 1", "class 2", "class 3", "class 4")


def test_air_is_refused_away_from_ascend(device, exported, tmp_path):
    with pytest.raises(DeviceError, match=r"only be written there; this is CPU.*MINDIR or ONNX"):
        export_checkpoint(
            load_checkpoint(exported.checkpoint), tmp_path / "out", ["AIR", "ONNX"], device
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("flags", [{"heatmaps": True}, {"segments": False}])
def test_flags_that_do_not_fit_the_checkpoint(device, exported, tmp_path, flags):
    with pytest.raises(ConfigError, match=r"best\.ckpt was trained with"):
        export_checkpoint(
            load_checkpoint(exported.checkpoint), tmp_path / "out", ["ONNX"], device, **flags
        )
    assert not (tmp_path / "out").exists()


def test_a_file_that_differs_is_not_exported(device, exported, tmp_path, monkeypatch):
    run = exporter._run_network

    def shifted(*arguments):
        outputs = run(*arguments)
        return outputs | {"type_logits": outputs["type_logits"] + 2e-4}

    monkeypatch.setattr(exporter, "_run_network", shifted)
    with pytest.raises(parity.ParityError, match=r"differs .* by 0\.0002 in type_logits; at most"):
        export_checkpoint(
            load_checkpoint(exported.checkpoint), tmp_path / "out", ["MINDIR"], device
        )
    assert not (tmp_path / "out").exists()


def test_not_a_number_is_never_parity():
    reference = {name: np.zeros((1, 2), np.float32) for name in OUTPUT_NAMES}
    broken = reference | {"embedding": np.array([[0, np.nan]], np.float32)}
    with pytest.raises(parity.ParityError, match="embedding"):
        parity.check_parity("file", parity.differences(reference, broken))


def test_an_earlier_export_is_not_overwritten(device, exported):
    with pytest.raises(RunFolderError, match=r"already holds an export.*--overwrite"):
        export_checkpoint(load_checkpoint(exported.checkpoint), exported.folder, ["ONNX"], device)


def test_options_that_contradict_each_other(device, exported, tmp_path):
    for formats, options, message in (
        (["MINDIR"], ExportOptions(int8=True), "add ONNX"),
        (["ONNX"], ExportOptions(int8=True), "give --root"),
        (["PDF"], None, "MINDIR, ONNX, AIR"),
    ):
        with pytest.raises(ConfigError, match=message):
            export_checkpoint(
                load_checkpoint(exported.checkpoint), tmp_path / "out", formats, device, options
            )


def test_foreign_checkpoint(device, tmp_path):
    import mindspore as ms

    ms.save_checkpoint([{"name": "a", "data": ms.Tensor([1.0])}], str(tmp_path / "a.ckpt"))
    with pytest.raises(CheckpointError, match="does not say which network"):
        export_checkpoint(load_checkpoint(tmp_path / "a.ckpt"), tmp_path / "out", ["ONNX"], device)


@pytest.mark.slow
def test_float16_and_int8_with_their_accuracy(device, exported, smoke_root, tmp_path):
    options = ExportOptions(float16=True, int8=True, root=smoke_root)
    spec = export_checkpoint(
        load_checkpoint(exported.checkpoint), tmp_path / "out", ["ONNX"], device, options
    )
    half, small = f"{STEM}_float16.onnx", f"{STEM}_int8.onnx"
    assert {f.precision for f in spec.files.values()} == {"float32", "float16", "int8"}
    assert spec.files[half].bytes < 0.6 * spec.files[f"{STEM}.onnx"].bytes
    assert spec.files[small].bytes < 0.5 * spec.files[f"{STEM}.onnx"].bytes
    reference = spec.accuracy[f"{STEM}.onnx"]["mAP"]
    for name in (half, small):
        assert abs(spec.accuracy[name]["mAP"] - reference) < 0.05
        # Not the float32 network under another name, and not another network either.
        assert 1e-5 < max(spec.parity[name].values()) < 1
        model = OnnxModel(tmp_path / "out" / name)
        batch = parity.sample_batch(spec, count=2)
        assert model.run(batch)["embedding"].shape == (2, 1024)
    card = (tmp_path / "out" / "model_card.md").read_text()
    assert f"{100 * spec.accuracy[small]['mAP']:.2f} %" in card


def test_resnet_50_with_ibn_a_exports_with_parity(device, make_checkpoint, tmp_path):
    """Its pooling pads at the end alone, and its instance norms are plain arithmetic."""
    pytest.importorskip("mindcv", reason="MindCV is not installed")
    options = {"backbone": "resnet50_ibn_a", "segments": True, "last_stride": 1}
    checkpoint = make_checkpoint(tmp_path / "best.ckpt", **options)
    spec = export_checkpoint(
        load_checkpoint(checkpoint),
        tmp_path / "files",
        ["MINDIR", "ONNX"],
        device,
        ExportOptions(pixels=True, float16=True),
    )
    assert len(spec.parity) == 4
    model = OnnxModel(tmp_path / "files" / f"{STEM}.onnx")
    assert model.run(parity.sample_batch(spec, count=5))["embedding"].shape == (5, 1024)


def test_a_network_with_parts_exports_with_parity(device, make_checkpoint, tmp_path):
    """Two inputs and four outputs as ever; the embedding is wider, and says how to compare it."""
    checkpoint = make_checkpoint(tmp_path / "best.ckpt", pose="parts", last_stride=1)
    spec = export_checkpoint(
        load_checkpoint(checkpoint),
        tmp_path / "files",
        ["MINDIR", "ONNX"],
        device,
        ExportOptions(pixels=True),
    )
    assert len(spec.parity) == 3 and spec.stack_shape == (16, 64, 64)
    assert spec.width("embedding") == 2309 and "2309" not in spec.outputs["embedding"].content
    assert "front, rear, left, right, roof" in spec.outputs["embedding"].content
    model = OnnxModel(tmp_path / "files" / f"{STEM}.onnx")
    whole = model.run(parity.sample_batch(spec, count=5))["embedding"]
    assert whole.shape == (5, 2309) and (whole[:, -5:] > 0).all()
