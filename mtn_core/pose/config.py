"""Configuration of PoseEstNet; optimiser and training length are those of MultiTaskNet."""

from typing import ClassVar

from pydantic import Field, field_validator, model_validator

from mtn_core.config import OptimConfig, PicturesConfig, Recipe, Section, TrainConfig
from mtn_core.vehicle import NUM_KEYPOINTS

KIND = "pose"  # of checkpoints
OUTPUT_STRIDE = 4
_COARSEST_STRIDE = 32


class PoseModelConfig(Section):
    """Shape of the network.

    ``width`` is the number of channels at the finest resolution, 32 in W32, and doubles with every
    further branch; ``modules`` are the exchange modules of stages 2, 3 and 4; ``blocks`` the basic
    blocks of a branch in one module.
    """

    image_size: int = Field(256, ge=64, le=2048)
    width: int = Field(32, ge=4, le=512)
    modules: tuple[int, int, int] = (1, 4, 3)
    blocks: int = Field(4, ge=1, le=64)
    num_keypoints: int = Field(NUM_KEYPOINTS, ge=1, le=1000)

    @field_validator("image_size")
    @classmethod
    def _multiple_of_32(cls, value: int) -> int:
        if value % _COARSEST_STRIDE:
            raise ValueError(f"must be a multiple of 32, got {value}; try {value // 32 * 32}")
        return value

    @model_validator(mode="after")
    def _has_modules(self) -> "PoseModelConfig":
        if not 1 <= min(self.modules) <= max(self.modules) <= 64:
            raise ValueError(f"every stage needs 1 to 64 modules, got {list(self.modules)}")
        return self

    @property
    def heatmap_size(self) -> int:
        """Side of the heatmaps: a quarter of the image's."""
        return self.image_size // OUTPUT_STRIDE


class PoseDataConfig(PicturesConfig):
    """Batches and augmentation.

    ``scale`` 0.25 means 0.75 to 1.25; ``rotation`` is the largest angle in degrees, drawn for a
    share ``rotation_share`` of the samples; ``flip`` is a probability, ``color_jitter`` a strength.
    ``weights`` says which share of the samples each data set gives; by default its share of images.
    """

    batch_size: int = Field(16, ge=1, le=4096)
    num_workers: int | None = Field(None, ge=1, le=4096)
    scale: float = Field(0.25, ge=0, lt=1)
    rotation: float = Field(30.0, ge=0, le=180)
    rotation_share: float = Field(0.6, ge=0, le=1)
    flip: float = Field(0.5, ge=0, le=1)
    color_jitter: float = Field(0.0, ge=0, lt=1)
    weights: tuple[float, ...] | None = None

    @field_validator("weights")
    @classmethod
    def _weights_count(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if value is not None and (min(value, default=0) < 0 or sum(value) <= 0):
            raise ValueError(f"must not be negative and not all zero, got {list(value)}")
        return value


class PoseLossConfig(Section):
    """Gaussian targets and their weight.

    A visible keypoint has weight 1 and a Gaussian as high as its confidence. A hidden one has
    ``hidden_weight`` and ``hidden_height``; one outside the image has ``hidden_weight`` and height
    0. With ``hidden_weight`` 0 (PAMTRI's and HRNet's choice) nothing teaches the network to be
    unsure, and the height of a peak says little.
    """

    sigma: float = Field(2.0, gt=0, le=64)
    hidden_weight: float = Field(0.0, ge=0, le=1)
    hidden_height: float = Field(0.3, ge=0, le=1)


class PoseEvalConfig(Section):
    """How keypoints are found in heatmaps and judged; thresholds in sides of the crop."""

    batch_size: int = Field(32, ge=1, le=4096)
    flip_test: bool = False
    refine: bool = True
    thresholds: tuple[float, ...] = (0.02, 0.05, 0.1, 0.2)

    @field_validator("thresholds")
    @classmethod
    def _thresholds_ascend(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not value or value[0] <= 0 or list(value) != sorted(set(value)):
            raise ValueError(f"must be positive and ascend, got {list(value)}")
        return value


class PoseConfig(Recipe):
    """Everything that a training of PoseEstNet depends on, but for where the data lies."""

    recipe_family: ClassVar[str] = "pose"
    command: ClassVar[str] = "train-pose"

    recipe: str = "pose"
    model: PoseModelConfig = PoseModelConfig()
    data: PoseDataConfig = Field(default_factory=PoseDataConfig)
    loss: PoseLossConfig = PoseLossConfig()
    optim: OptimConfig = OptimConfig()
    train: TrainConfig = TrainConfig()
    eval: PoseEvalConfig = PoseEvalConfig()
