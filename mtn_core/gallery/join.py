"""The sightings of one gallery into another: what shards on machines without a common disk made."""

from pathlib import Path

from mtn_core.errors import ConfigError, DataError
from mtn_core.gallery.store import Gallery


def join_gallery(target: Gallery, source: Gallery) -> tuple[int, int]:
    """Add what another gallery of the same model and image folder has.

    Returns:
        How many were added, and how many were there.

    Raises:
        ConfigError: Both are the same folder.
        DataError: Another model, or names that are relative to another folder.
    """
    if target.path.resolve() == source.path.resolve():
        raise ConfigError(f"{source.path} is the gallery itself; give another one")
    mine, other = target.info, source.info
    target.check_model(other.model_sha256, other.input.pose_sha256, source.path)
    if mine.images != other.images:
        folders = [info.images and Path(info.images).resolve() for info in (mine, other)]
        if folders[0] != folders[1]:
            raise DataError(
                f"names in {source.path} are relative to {other.images}, in {target.path} to "
                f"{mine.images}; make both for one folder that holds all crops"
            )
    added = 0
    for batch in source.backend.batches(other.model_sha256, other.input.pose_sha256):
        added += target.add(batch)
    target.tidy()
    return added, other.count - added
