"""The embedding of a single crop, and the checkpoint that a run's embeddings were made by."""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mtn_core.config import ModelConfig
from mtn_core.data.images import read_image
from mtn_core.data.source import open_source
from mtn_core.data.split import Split, find_labelled
from mtn_core.data.transforms import keypoint_vector, transform_image
from mtn_core.errors import CheckpointError, DataError, MissingFileError, RunFolderError
from mtn_core.files import sha256_of, why_no_file
from mtn_core.predict.backend import Backend, Outputs, embed_split, used_maps
from mtn_core.runs import RunFolder
from mtn_core.vehicle import MAP_SIZE, NUM_KEYPOINTS, NUM_SEGMENTS

_LOG = logging.getLogger(__name__)


def find_checkpoint(run_dir: str | Path) -> Path:
    """The checkpoint that made a run's embeddings.

    Args:
        run_dir: Run folder; its ``results.json`` has the hash of the checkpoint, its
            ``config.yaml`` the path where it was evaluated from another folder.

    Raises:
        CheckpointError: None of the files is that checkpoint.
    """
    run = RunFolder(run_dir)
    wanted = checkpoint_hash(run)
    places = [run.best_checkpoint, run.last_checkpoint]
    try:
        evaluated = run.read_config_values().get("checkpoint")
    except RunFolderError:
        evaluated = None
    if isinstance(evaluated, str):
        places.insert(0, Path(evaluated))
    present = [path for path in places if path.is_file()]
    for path in present:
        if wanted is None or sha256_of(path) == wanted:
            return path
    tried = ", ".join(str(path) for path in places)
    reason = "other weights made its embeddings" if present else "none of them exists"
    raise CheckpointError(
        f"cannot tell the checkpoint of {run.path}: tried {tried}; {reason}. "
        "Give it with --ckpt_path"
    )


def checkpoint_hash(run: RunFolder) -> str | None:
    """SHA-256 of the checkpoint that made a run's embeddings; None where it does not say."""
    try:
        value = run.read_json(run.results).get("checkpoint_sha256")
    except RunFolderError:
        return None
    return value if isinstance(value, str) else None


def check_same_network(backend: Backend, source: object, run_dir: str | Path) -> None:
    """Refuse a network whose embeddings cannot be compared with those of a run.

    Args:
        backend: The network.
        source: Its file; named in the error.
        run_dir: The run that will be searched.

    Raises:
        DataError: It is of another checkpoint.
    """
    wanted, has = checkpoint_hash(RunFolder(run_dir)), backend.provenance.get("checkpoint_sha256")
    if wanted is not None and has != wanted:
        raise DataError(
            f"{source} is of checkpoint {str(has)[:12]}, but the embeddings of {run_dir} were made "
            f"by {wanted[:12]}: their distances mean nothing. Give the run's own checkpoint, or "
            "evaluate this one into a run of its own"
        )


class CropEmbedder:
    """Embeds single crops.

    A crop that lies in a data set of the VeRi layout is embedded with its label's keypoints and its
    maps, exactly as in an evaluation. Any other crop has no pose: keypoints of confidence zero and
    empty maps.

    Args:
        backend: The network.
    """

    def __init__(self, backend: Backend):
        self.backend = backend

    def embed(self, image: str | Path) -> np.ndarray:
        """Embed one crop.

        Args:
            image: Any picture that can be decoded.

        Returns:
            ``(D,)`` float32.

        Raises:
            DataError: It cannot be decoded.
            MissingFileError: It is not there.
        """
        image, model = Path(image), self.backend.model
        if not image.is_file():
            raise MissingFileError(f"image {image} {why_no_file(image)}")
        labelled = find_labelled(image)
        if labelled is not None:
            return self.outputs_of(labelled).features[0]
        if model.keypoints or used_maps(model):
            _LOG.warning(
                "%s has no keypoints: the network was trained with a pose and sees none here; "
                "expect a worse answer than for images of a labelled data set",
                image.name,
            )
        return self.backend.embed(batch_without_pose(read_image(image), model)).features[0]

    def outputs_of(self, labelled: Split) -> Outputs:
        """What the network says of labelled crops, with their keypoints and maps.

        Args:
            labelled: As :func:`mtn_core.data.split.find_labelled` finds them.
        """
        model = self.backend.model
        needs = {"heatmaps": model.heatmaps, "segments": model.segments}
        try:  # a pack is proven whole before it is read, which is much for one crop
            source = open_source(labelled, **needs, packed=False)
        except DataError:
            source = open_source(labelled, **needs)
        found = embed_split(self.backend, source, batch_size=1, shown=False)
        heads = found.color_logits, found.type_logits
        colors, types = (logits if logits.shape[1] else None for logits in heads)
        return Outputs(found.features, colors, types)


def batch_without_pose(image: np.ndarray, model: ModelConfig) -> Mapping[str, np.ndarray]:
    """A batch of one crop that nothing but its pixels is known of.

    Args:
        image: ``(H, W, 3) uint8`` RGB.
        model: What the network sees.
    """
    return {
        "image": transform_image(image, model.image_size)[None],
        "heatmaps": np.zeros((1, NUM_KEYPOINTS, MAP_SIZE, MAP_SIZE), np.uint8),
        "segments": np.zeros((1, NUM_SEGMENTS, MAP_SIZE, MAP_SIZE), np.uint8),
        "keypoints": keypoint_vector(np.zeros((NUM_KEYPOINTS, 3)))[None],
    }
