"""Crops into a gallery: read, decoded strictly, embedded, added fragment by fragment.

What counts as done is what the gallery has, told by the hash of the file: a killed call goes on
behind its last fragment, and another call, machine or shard never adds an image twice.
"""

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from mtn_core.data.images import decode_image, read_bytes
from mtn_core.data.strict import StrictDecoder
from mtn_core.data.workers import Prefetcher, num_workers_for
from mtn_core.errors import DataError, first_offenders
from mtn_core.gallery.crops import Crop
from mtn_core.gallery.embedder import Embedded
from mtn_core.gallery.records import Batch
from mtn_core.gallery.store import Gallery
from mtn_core.progress import progress_bar

FRAGMENT = 1024


class EmbedsCrops(Protocol):
    """What of an :class:`mtn_core.gallery.embedder.Embedder` is needed here."""

    sha256: str
    pose_sha256: str | None

    def embed(self, images: Sequence[np.ndarray]) -> Embedded:
        """Embed ``(H, W, 3) uint8`` RGB crops."""


@dataclass
class EmbedOutcome:
    """What a call did.

    Attributes:
        num_crops: Crops of this shard.
        num_added: Added.
        num_known: Whose image was there already.
        bad: Crops that were left out, and why.
        seconds: Time from the first embedded batch on.
        num_timed: Crops embedded in that time.
    """

    num_crops: int
    num_added: int = 0
    num_known: int = 0
    bad: list[str] = field(default_factory=list)
    seconds: float = 0.0
    num_timed: int = 0

    def to_text(self) -> str:
        """One line for a person."""
        parts = [f"{self.num_added} of {self.num_crops} crops added"]
        if self.num_known:
            parts.append(f"{self.num_known} images were there")
        if self.bad:
            parts.append(f"{len(self.bad)} left out: {first_offenders(self.bad)}")
        if self.num_timed and self.seconds:
            parts.append(f"{self.num_timed / self.seconds:.1f} crops/s")
        return "; ".join(parts)


@dataclass
class _Read:
    """Crops of a job that are new, decoded."""

    crops: list[Crop]
    hashes: list[str]
    images: list[np.ndarray]
    num_known: int
    bad: list[str]


def embed_crops(
    embedder: EmbedsCrops,
    gallery: Gallery,
    crops: Sequence[Crop],
    *,
    fragment: int = FRAGMENT,
    batch_size: int = 32,
    skip_bad: bool = False,
    progress: bool = True,
    on_added: Callable[[int], None] = lambda count: None,
) -> EmbedOutcome:
    """Embed the crops whose images the gallery does not have, and add them.

    Args:
        embedder: Of the gallery's model.
        gallery: Grows.
        crops: With names relative to the gallery's image folder.
        fragment: Crops that are added, and safe, together.
        batch_size: Crops that are embedded together.
        skip_bad: Leave out files that cannot be decoded, instead of stopping at them.
        progress: Show a progress bar where there is a terminal.
        on_added: Told how many crops are safe, whenever that are more.

    Raises:
        DataError: Another model, or a file that cannot be decoded; what was embedded before is
            kept.
        DiskError: The disk is full; fragments before are kept.
    """
    gallery.check_model(embedder.sha256, embedder.pose_sha256, "the model")
    outcome = EmbedOutcome(len(crops))
    pending = _Pending(embedder, gallery, fragment)
    started: float | None = None
    with (
        progress_bar(total=len(crops), description="embed", unit="crop", shown=progress) as bar,
        contextlib.closing(_Reader(gallery, crops, batch_size)) as reader,
    ):
        for read in reader:
            outcome.num_known += read.num_known
            outcome.bad += read.bad
            if read.crops:
                pending.put(read, embedder.embed(read.images))
                if started is None:
                    started = time.perf_counter()
                else:
                    outcome.num_timed += len(read.crops)
            if read.bad and not skip_bad:
                outcome.num_added += pending.flush()
                raise DataError(
                    f"{first_offenders(read.bad)}; --skip_bad leaves such files out. "
                    f"{outcome.num_added} crops were added before"
                )
            if len(pending) >= fragment:
                outcome.num_added += pending.flush()
                on_added(outcome.num_added)
            bar.update(len(read.crops) + read.num_known + len(read.bad))
        outcome.num_added += pending.flush()
        on_added(outcome.num_added)
    if outcome.num_added:
        gallery.tidy()
    outcome.seconds = 0.0 if started is None else time.perf_counter() - started
    outcome.num_known = outcome.num_crops - outcome.num_added - len(outcome.bad)
    return outcome


class _Reader:
    """Batches of crops that the gallery does not have, read and decoded in the background."""

    def __init__(self, gallery: Gallery, crops: Sequence[Crop], batch_size: int):
        self._gallery, self._lock = gallery, threading.Lock()
        self._decoder = StrictDecoder()
        jobs = [crops[i : i + batch_size] for i in range(0, len(crops), batch_size)]
        workers = num_workers_for(None)
        self._prefetcher = Prefetcher(
            jobs,
            lambda job: None,
            lambda job, _: self._read(job),
            num_workers=workers,
            depth=workers + 2,
        )

    def __iter__(self) -> Iterator[_Read]:
        return iter(self._prefetcher)

    def close(self) -> None:
        """End threads and processes."""
        self._prefetcher.close()
        self._decoder.__exit__()

    def _read(self, crops: Sequence[Crop]) -> _Read:
        files: list[tuple[Crop, str, bytes]] = []
        bad = []
        for crop in crops:
            try:
                data = read_bytes(crop.path)
            except DataError as error:
                bad.append(str(error))
            else:
                files.append((crop, hashlib.sha256(data).hexdigest(), data))
        with self._lock:
            known = self._gallery.known([sha for _, sha, _ in files])
        new = [file for file in files if file[1] not in known]
        problems, _ = self._decoder.find_broken_images([crop.path for crop, *_ in new])
        broken = {problem.path: problem.what for problem in problems}
        result = _Read([], [], [], len(files) - len(new), bad)
        for crop, sha, data in new:
            try:
                if crop.path in broken:
                    raise DataError(f"{crop.path} {broken[crop.path]}")
                image = decode_image(data, crop.path)
            except DataError as error:
                bad.append(str(error))
            else:
                result.crops.append(crop)
                result.hashes.append(sha)
                result.images.append(image)
        return result


class _Pending:
    """Embedded crops that are not in the gallery yet."""

    def __init__(self, embedder: EmbedsCrops, gallery: Gallery, fragment: int):
        self._embedder, self._gallery, self._fragment = embedder, gallery, fragment
        self._parts: list[tuple[_Read, Embedded]] = []

    def __len__(self) -> int:
        return sum(len(read.crops) for read, _ in self._parts)

    def put(self, read: _Read, embedded: Embedded) -> None:
        """Keep them until the next flush, without their pixels."""
        read.images.clear()
        self._parts.append((read, embedded))

    def flush(self) -> int:
        """Add what there is; returns how many were new."""
        if not self._parts:
            return 0
        crops = [crop for read, _ in self._parts for crop in read.crops]
        said = [embedded for _, embedded in self._parts]
        batch = Batch(
            model_sha256=self._embedder.sha256,
            pose_sha256=self._embedder.pose_sha256,
            names=[crop.name for crop in crops],
            image_sha256=[sha for read, _ in self._parts for sha in read.hashes],
            features=np.concatenate([embedded.features for embedded in said]),
            cameras=[crop.camera for crop in crops],
            times=[crop.time for crop in crops],
            tracks=[crop.track for crop in crops],
            vehicles=[crop.vehicle for crop in crops],
            colors=_texts([embedded.colors for embedded in said]),
            color_confidences=_numbers([embedded.color_confidences for embedded in said]),
            types=_texts([embedded.types for embedded in said]),
            type_confidences=_numbers([embedded.type_confidences for embedded in said]),
            keypoints=_numbers([embedded.keypoints for embedded in said]),
        )
        added = self._gallery.add(batch)
        self._parts.clear()
        return added


def _texts(parts: list[tuple[str, ...] | None]) -> list[str] | None:
    known = [part for part in parts if part is not None]
    return [text for part in known for text in part] if known else None


def _numbers(parts: list[np.ndarray | None]) -> np.ndarray | None:
    known = [part for part in parts if part is not None]
    return np.concatenate(known) if known else None
