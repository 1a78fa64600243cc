"""The embedding of a single crop through an exported ONNX file; MindSpore is not needed."""

import logging
from pathlib import Path

import numpy as np

from mtn_core.data.layout import SPLITS, split_folder
from mtn_core.data.split import Split, load_split
from mtn_core.errors import DataError
from mtn_core.predict.onnx import OnnxModel
from mtn_core.predict.onnx_eval import embed_split

_LOG = logging.getLogger(__name__)


class OnnxCropEmbedder:
    """Embeds single crops as :class:`mtn_core.predict.crop.CropEmbedder` does from a checkpoint.

    A crop that lies in a data set of the VeRi layout is embedded with its label's keypoints and its
    maps, exactly as in an evaluation. Any other crop has no pose: keypoints of confidence zero and
    empty maps.

    Args:
        onnx_path: ``.onnx`` file that `mtn export` wrote.
        device_target: ``CPU`` or ``GPU``.
        device_id: CUDA device.
    """

    def __init__(self, onnx_path: str | Path, device_target: str = "CPU", device_id: int = 0):
        self.model = OnnxModel(onnx_path, device_target=device_target, device_id=device_id)

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
        labelled = _find_labelled(image.resolve())
        if labelled is not None:
            return embed_split(self.model, labelled, batch_size=1, progress=False).features[0]
        network = self.model.spec.network
        if network.keypoints or network.heatmaps or network.segments:
            _LOG.warning(
                "%s has no keypoints: the network was trained with a pose and sees none here; "
                "expect a worse answer than for images of a labelled data set",
                image.name,
            )
        return self.model.embed_images([image])[0]


def _find_labelled(image: Path) -> Split | None:
    """A split of this image alone, when it lies in a data set of the VeRi layout."""
    if len(image.parents) < 3:
        return None
    root = image.parents[2]
    for name in SPLITS:
        if image.parent != split_folder(root, "image", name):
            continue
        try:
            split = load_split(root, name)
        except DataError:
            return None
        found = (split.frame["name"] == image.name).to_numpy()
        if found.any():
            frame = split.frame[found].reset_index(drop=True)
            return Split(root, name, frame, np.ascontiguousarray(split.keypoints[found]))
    return None
