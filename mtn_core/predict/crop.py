"""The embedding of a single crop, and the checkpoint that a run's embeddings were made by."""

import json
import logging
from pathlib import Path

import mindspore as ms
import numpy as np
import yaml

from mtn_core.config import DataConfig, ModelConfig
from mtn_core.data.images import read_image
from mtn_core.data.layout import SPLITS, split_folder
from mtn_core.data.split import Split, load_split
from mtn_core.data.transforms import keypoint_vector, transform_image
from mtn_core.device import Device
from mtn_core.errors import CheckpointError, DataError
from mtn_core.files import sha256_of
from mtn_core.models.checkpoint import load_checkpoint
from mtn_core.predict.mindspore import Embedder, NetworkOnPixels, batch_inputs
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
    run_dir = Path(run_dir)
    wanted = _read(run_dir / "results.json", json.loads).get("checkpoint_sha256")
    config = _read(run_dir / "config.yaml", yaml.safe_load)
    names = ("best.ckpt", "last.ckpt")
    places = [run_dir / "ckpt" / name for name in names]
    if config.get("checkpoint"):
        places.insert(0, Path(config["checkpoint"]))
    present = [path for path in places if path.is_file()]
    for path in present:
        if wanted is None or sha256_of(path) == wanted:
            return path
    tried = ", ".join(str(path) for path in places)
    reason = "other weights made its embeddings" if present else "none of them exists"
    raise CheckpointError(
        f"cannot tell the checkpoint of {run_dir}: tried {tried}; {reason}. "
        "Give it with --ckpt_path"
    )


def _read(path: Path, parse) -> dict:
    try:
        value = parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return value if isinstance(value, dict) else {}


class CropEmbedder:
    """Embeds single crops by the weights of a checkpoint.

    A crop that lies in a data set of the VeRi layout is embedded with its label's keypoints and its
    maps, exactly as in an evaluation. Any other crop has no pose: keypoints of confidence zero and
    empty maps.

    Args:
        ckpt_path: Checkpoint of a MultiTaskNet.
        device: Where to run.

    Raises:
        CheckpointError: Not such a checkpoint.
    """

    def __init__(self, ckpt_path: str | Path, device: Device):
        checkpoint = load_checkpoint(ckpt_path)
        self.model: ModelConfig = checkpoint.model_config
        self._embedder = Embedder(self.model, device)
        self._embedder.load(checkpoint.weights, checkpoint.path)

    def embed(self, image: str | Path) -> np.ndarray:
        """Embed one crop.

        Args:
            image: Any picture that can be decoded.

        Returns:
            ``(D,)`` float32.

        Raises:
            DataError: It cannot be decoded.
            FileNotFoundError: It is not there.
        """
        image = Path(image)
        if not image.is_file():
            raise FileNotFoundError(f"image {image} does not exist")
        labelled = find_labelled(image)
        if labelled is not None:
            return self._embedder.embed(labelled, DataConfig(), 1, progress=False).features[0]
        if self.model.keypoints or self.model.heatmaps or self.model.segments:
            _LOG.warning(
                "%s has no keypoints: the network was trained with a pose and sees none here; "
                "expect a worse answer than for images of a labelled data set",
                image.name,
            )
        return self._embed_without_pose(image)

    def _embed_without_pose(self, image: Path) -> np.ndarray:
        pixels = transform_image(read_image(image), self.model.image_size)
        batch = {
            "image": pixels[None],
            "heatmaps": np.zeros((1, NUM_KEYPOINTS, MAP_SIZE, MAP_SIZE), np.uint8),
            "segments": np.zeros((1, NUM_SEGMENTS, MAP_SIZE, MAP_SIZE), np.uint8),
            "keypoints": keypoint_vector(np.zeros((NUM_KEYPOINTS, 3)))[None],
        }
        network = NetworkOnPixels(self._embedder.network)
        network.set_train(False)
        inputs = [ms.Tensor(np.ascontiguousarray(a)) for a in batch_inputs(batch, self.model)]
        return network(*inputs)[-1].asnumpy()[0]


def find_labelled(image: Path) -> Split | None:
    """A split with only this image, when it lies in a data set in the VeRi layout."""
    image = image.resolve()
    for name in SPLITS:
        if len(image.parents) < 3:
            return None
        root = image.parents[2]
        if image.parent != split_folder(root, "image", name):
            continue
        try:
            split = load_split(root, name)
        except DataError:
            return None
        rows = np.flatnonzero((split.frame["name"] == image.name).to_numpy())
        if not len(rows):
            return None
        return take_rows(split, rows[:1])
    return None


def take_rows(split: Split, rows: np.ndarray) -> Split:
    """A split of some rows, in the order given."""
    return Split(
        split.root,
        split.name,
        split.frame.iloc[rows].reset_index(drop=True),
        np.ascontiguousarray(split.keypoints[rows]),
    )
