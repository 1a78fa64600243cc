"""An exported PoseEstNet in onnxruntime; MindSpore is not needed."""

import json
from pathlib import Path

import numpy as np

from mtn_core.errors import DataError
from mtn_core.normalisation import IMAGE_MEAN, IMAGE_STD
from mtn_core.predict.onnx import check_onnx_file, create_session
from mtn_core.vehicle import NUM_KEYPOINTS

METADATA_KEY = "mtn.pose"
_MEAN, _STD = np.array(IMAGE_MEAN, np.float32), np.array(IMAGE_STD, np.float32)


def normalise(image: np.ndarray) -> np.ndarray:
    """``(N, S, S, 3) uint8`` RGB -> ``(N, 3, S, S) float32`` with ImageNet mean and deviation."""
    scaled = image.transpose(0, 3, 1, 2) * (1 / (255 * _STD)).reshape(1, 3, 1, 1)
    scaled -= (_MEAN / _STD).reshape(1, 3, 1, 1)
    return np.ascontiguousarray(scaled, np.float32)


class OnnxPredictor:
    """Heatmaps of crops from an ONNX file.

    Args:
        path: ``.onnx`` file that ``mtn export`` wrote of a PoseEstNet.
        device_target: ``CPU``, ``GPU`` (CUDA) or ``Ascend`` (CANN); never another than the one
            asked for.
        device_id: CUDA or Ascend device; 0 on CPU.
        num_threads: CPU threads; by default onnxruntime's choice.

    Raises:
        MissingFileError: No such file.
        DataError: Not an ONNX file, damaged, or another kind of model.
        DeviceError: The device is not available.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        device_target: str = "CPU",
        device_id: int = 0,
        num_threads: int | None = None,
    ):
        path = Path(path)
        check_onnx_file(path)
        self._session = create_session(path, device_target, device_id, num_threads)
        metadata = self._session.get_modelmeta().custom_metadata_map
        if METADATA_KEY not in metadata:
            raise DataError(
                f"{path} is not an exported PoseEstNet: it has no {METADATA_KEY} metadata, its "
                f"outputs are {', '.join(o.name for o in self._session.get_outputs())}; "
                "write one with `mtn export` from a checkpoint of `mtn train-pose`"
            )
        self.spec = json.loads(metadata[METADATA_KEY])
        *_, self.image_size = self.spec["inputs"]["image"]["shape"]
        _, keypoints, _, self.heatmap_size = self.spec["outputs"]["heatmaps"]["shape"]
        if keypoints != NUM_KEYPOINTS:
            raise DataError(
                f"{path} predicts {keypoints} keypoints, a vehicle here has {NUM_KEYPOINTS}"
            )

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """``(N, S, S, 3) uint8`` RGB -> ``(N, 36, M, M) float32``."""
        return self._session.run(["heatmaps"], {"image": normalise(image)})[0]
