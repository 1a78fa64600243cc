import json

import pytest

from mtn_core.errors import ConfigError, DataError
from mtn_core.predict.backend import check_maps
from mtn_core.predict.model_json import (
    METADATA_KEY,
    MODEL_JSON,
    ModelSpec,
    hash_of_pids,
    load_spec,
    parse_spec,
)


def test_written_and_read_back(tiny_export):
    assert load_spec(tiny_export.path) == tiny_export.spec
    assert load_spec(tiny_export.path.parent / MODEL_JSON) == tiny_export.spec


def test_metadata_holds_the_model_but_not_the_folder(tiny_export):
    metadata = tiny_export.spec.to_metadata()
    assert parse_spec(metadata[METADATA_KEY], "it") == tiny_export.spec.model_copy(
        update={"files": {}}
    )
    assert metadata["image_size"] == "32"
    assert metadata["channel_order"] == "red,green,blue"
    assert metadata["pids_sha256"] == hash_of_pids([3, 5, 8, 9, 11, 20, 31])
    assert metadata["outputs"] == "id_logits,color_logits,type_logits,embedding"


def test_channels_are_rgb_heatmaps_segments(tools):
    spec = tools.make_spec(heatmaps=True, segments=True)
    assert len(spec.channels) == 52 == spec.stack_shape[0]
    assert spec.channels[3] == "heatmap_left_rear_wheel"
    assert spec.channels[39] == "segment_left_front_wing"


def test_widths_come_from_the_file_and_not_from_constants(tools):
    spec = tools.make_spec(embedding=12, num_colors=4, num_types=3)
    assert [spec.width(n) for n in spec.outputs] == [7, 4, 3, 12]


def test_truncated_model_file(tiny_export):
    tiny_export.path.write_bytes(tiny_export.path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"tiny\.onnx has \d+ bytes, .*cut short.*copy it again"):
        load_spec(tiny_export.path)


def test_changed_model_file(tiny_export):
    data = bytearray(tiny_export.path.read_bytes())
    data[-1] ^= 1
    tiny_export.path.write_bytes(data)
    with pytest.raises(DataError, match="SHA-256 differs"):
        load_spec(tiny_export.path)


def test_file_of_another_export(tiny_export):
    other = tiny_export.path.with_name("other.onnx")
    other.write_bytes(b"x")
    with pytest.raises(DataError, match=r"other\.onnx is not among the files of .*tiny\.onnx"):
        load_spec(other)


def test_missing_files(tiny_export):
    with pytest.raises(FileNotFoundError, match=r"nothing\.mindir does not exist"):
        load_spec(tiny_export.path.with_name("nothing.mindir"))
    (tiny_export.path.parent / MODEL_JSON).unlink()
    with pytest.raises(FileNotFoundError, match=r"model\.json is missing.*keep them together"):
        load_spec(tiny_export.path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "mtn-model/2"}'])
def test_something_else_in_model_json(tiny_export, text):
    (tiny_export.path.parent / MODEL_JSON).write_text(text)
    with pytest.raises(DataError, match=r"does not describe an exported model.*export"):
        load_spec(tiny_export.path)


def test_unknown_key_is_refused(tiny_export):
    values = json.loads((tiny_export.path.parent / MODEL_JSON).read_text())
    with pytest.raises(ValueError, match="surprise"):
        ModelSpec.model_validate({**values, "surprise": 1})


def test_flags_of_another_network(tiny_export):
    network = tiny_export.spec.network
    check_maps(network, "it", heatmaps=None, segments=False)
    with pytest.raises(ConfigError, match="it was trained with --segmentaware False"):
        check_maps(network, "it", heatmaps=None, segments=True)
