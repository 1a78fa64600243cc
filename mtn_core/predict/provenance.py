"""Where embeddings come from, in the words of ``results.json``."""

from typing import Any

from mtn_core.config import ModelConfig
from mtn_core.predict.backend import used_maps


def model_provenance(
    model: ModelConfig,
    *,
    checkpoint_sha256: str | None,
    config_sha256: str | None,
    recipe: str | None,
    epoch: int | None,
    seed: int | None,
    **more: Any,
) -> dict[str, Any]:
    """What every back end says of the weights that it runs.

    Args:
        model: What the network sees.
        checkpoint_sha256: Of the checkpoint that holds, or held, the weights.
        config_sha256: Of the configuration that they were trained with.
        recipe: Name of the recipe.
        epoch: Epochs trained.
        seed: Of the training.
        more: What is particular to the back end, such as the exported file.
    """
    return {
        "checkpoint_sha256": checkpoint_sha256,
        "config_sha256": config_sha256,
        "recipe": recipe,
        "epoch": epoch,
        "seed": seed,
        "maps": used_maps(model),
        "keypoints": model.keypoints,
        **more,
    }
