"""What ``model.json`` will say about the model of a checkpoint."""

from collections.abc import Sequence

from mtn_core.metrics.covisible import PART_SIZE
from mtn_core.models.checkpoint import Checkpoint
from mtn_core.models.multitask import KEYPOINT_VALUES, embedding_width
from mtn_core.normalisation import IMAGE_MEAN, IMAGE_STD, MAP_MEAN, MAP_STD
from mtn_core.predict.model_json import (
    BATCH,
    HEATMAPS,
    IMAGE,
    KEYPOINTS,
    OUTPUT_NAMES,
    SEGMENTS,
    ModelSpec,
    TensorSpec,
    channel_names,
    hash_of_pids,
)
from mtn_core.provenance import ONNXRUNTIMES, describe_environment
from mtn_core.vehicle import (
    COLOR_NAMES,
    MAP_SIZE,
    NUM_KEYPOINTS,
    NUM_PARTS,
    NUM_SEGMENTS,
    PART_NAMES,
    TYPE_NAMES,
)

_PARTS_CONTENT = (
    f". Its last {NUM_PARTS} values are the shares of the crop that {', '.join(PART_NAMES)} cover, "
    f"before them stand their vectors of {PART_SIZE}, before those the global vector; "
    "mtn_core.metrics.covisible has the formula"
)
_VERSIONS = ("mindspore", *ONNXRUNTIMES, "numpy")


def create_spec(checkpoint: Checkpoint) -> ModelSpec:
    """Describe the model of a checkpoint, before any file of it is written.

    Raises:
        CheckpointError: The checkpoint does not say which network it belongs to.
    """
    network = checkpoint.model_config
    channels = channel_names(network)
    size = network.image_size
    maps = {}
    for key, used, count in (
        (HEATMAPS, network.heatmaps, NUM_KEYPOINTS),
        (SEGMENTS, network.segments, NUM_SEGMENTS),
    ):
        if used:
            shape = (BATCH, count, MAP_SIZE, MAP_SIZE)
            maps[key] = TensorSpec(shape=shape, dtype="uint8", content=f"grey {key}, 0..255")
    keypoints = TensorSpec(
        shape=(BATCH, KEYPOINT_VALUES),
        dtype="float32",
        content="x/width-0.5, y/height-0.5, confidence-0.5 of every keypoint"
        + ("" if network.keypoints else "; this network ignores them"),
    )
    stack = TensorSpec(
        shape=(BATCH, len(channels), size, size),
        dtype="float32",
        content="`channels`, normalised: RGB by image_mean and image_std, maps by map_mean and "
        "map_std, each after division by 255",
    )
    pixels = TensorSpec(
        shape=(BATCH, size, size, 3), dtype="uint8", content="RGB crop resized to this size"
    )
    widths = (network.num_ids, network.num_colors, network.num_types, embedding_width(network))
    contents = (
        "logits of `pids`",
        "logits of `color_names`",
        "logits of `type_names`",
        f"identity feature; compare with {checkpoint.facts.metric} distance"
        + _PARTS_CONTENT * network.pools_parts,
    )
    pids = checkpoint.facts.pids or ()
    environment = describe_environment()
    packages = environment["packages"]
    return ModelSpec(
        name=file_stem(network.heatmaps, network.segments),
        network=network,
        inputs={IMAGE: stack, KEYPOINTS: keypoints},
        pixel_inputs={IMAGE: pixels, **maps, KEYPOINTS: keypoints},
        outputs={
            name: TensorSpec(shape=(BATCH, width), dtype="float32", content=content)
            for name, width, content in zip(OUTPUT_NAMES, widths, contents, strict=True)
        },
        channels=channels,
        image_mean=IMAGE_MEAN,
        image_std=IMAGE_STD,
        map_mean=MAP_MEAN,
        map_std=MAP_STD,
        map_size=MAP_SIZE,
        color_names=_class_names(COLOR_NAMES, network.num_colors),
        type_names=_class_names(TYPE_NAMES, network.num_types),
        pids=pids,
        pids_sha256=hash_of_pids(pids),
        metric=checkpoint.facts.metric,
        checkpoint_sha256=checkpoint.sha256,
        config_sha256=checkpoint.facts.config_sha256,
        recipe=checkpoint.facts.recipe,
        epoch=checkpoint.facts.epoch,
        seed=checkpoint.facts.seed,
        commit=environment["git_commit"],
        versions={n: packages[n] for n in _VERSIONS if n in packages},
    )


def file_stem(heatmaps: bool, segments: bool) -> str:
    """Name of the exported files without ending, as the seed has it."""
    return "MultiTask_export" + "_heatmap" * heatmaps + "_segment" * segments


def _class_names(names: Sequence[str], count: int) -> tuple[str, ...]:
    return tuple(names) if len(names) == count else tuple(f"class {i + 1}" for i in range(count))
