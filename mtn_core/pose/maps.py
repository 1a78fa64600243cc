"""Writes what MultiTaskNet reads: heatmaps, segments and label keypoints, predicted from pixels.

Each split is made in a hidden folder ``veri/.trans_S``, batch after batch, and only then renamed to
``heatmap_S`` and ``segment_S``; so a map folder is whole or absent. The work folder remembers which
model and options it belongs to: a second call goes on where the first one stopped, and another
model starts afresh. ``trans_S.json`` says what wrote the maps that are there.
"""

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mtn_core.data.layout import MAP_KINDS, SPLITS, label_path, split_folder
from mtn_core.data.pose_maps import draw_segments
from mtn_core.data.split import Split, load_split
from mtn_core.data.workers import num_workers_for
from mtn_core.errors import DataError, RunFolderError, first_offenders
from mtn_core.files import why_no_file
from mtn_core.pose.decode import decode_heatmaps, to_maps
from mtn_core.pose.loader import CropLoader
from mtn_core.pose.map_store import MapStore, is_own_output, read_done, work_folder
from mtn_core.pose.predict import Predictor, iterate_heatmaps
from mtn_core.pose.sources import PoseSet
from mtn_core.progress import progress_bar
from mtn_core.vehicle import MAP_SIZE

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class MapOptions:
    """How maps are made; together with the model, what makes work reusable.

    Attributes:
        flip_test: Average with the prediction of the mirrored crop.
        refine: Quarter-pixel refinement of the keypoints.
        pack: Write packs in place of 49 JPEG files an image.
    """

    flip_test: bool = False
    refine: bool = True
    pack: bool = False


@dataclass(frozen=True)
class SplitOutcome:
    """What was done for a split.

    Attributes:
        split: Its name.
        num_images: Images in it.
        num_predicted: Images predicted by this call; the others were there.
        seconds: Time that those took, from the second batch on, so without graph compilation.
        num_timed: Images in that time.
    """

    split: str
    num_images: int
    num_predicted: int
    seconds: float
    num_timed: int

    def to_text(self) -> str:
        """One line for a person."""
        if not self.num_predicted:
            return f"{self.split}: {self.num_images} images, done before"
        rate = f", {self.num_timed / self.seconds:.1f} images/s" if self.num_timed else ""
        kept = self.num_images - self.num_predicted
        resumed = f" ({kept} from an interrupted call)" if kept else ""
        return f"{self.split}: {self.num_predicted} images predicted{resumed}{rate}"


def write_pose_maps(
    root: str | Path,
    predictor: Predictor,
    model_sha256: str,
    options: MapOptions | None = None,
    *,
    splits: Sequence[str] = SPLITS,
    out: str | Path | None = None,
    batch_size: int = 16,
    overwrite: bool = False,
    progress: bool = True,
    echo: Callable[[str], None] = lambda line: None,
) -> list[SplitOutcome]:
    """Predict the pose of every image and write maps and labels.

    Label files keep ids, colours and types; their keypoints become the predictions, and the former
    file stays beside as ``label_S.before_trans.csv``.

    Args:
        root: The folder that holds ``veri/``.
        predictor: Gives heatmaps.
        model_sha256: Of the checkpoint or ONNX file; other work is not gone on with.
        options: How maps are made.
        splits: Some of ``train``, ``query``, ``test``.
        out: Another root to write into; the images are linked there and ``root`` stays as it is.
        batch_size: Images a prediction.
        overwrite: Replace maps that this command did not write.
        progress: Show a progress bar.
        echo: Told what happens, a line each.

    Raises:
        DataError: Labels do not match the images, or the disk is full; what was done is kept.
        RunFolderError: Maps of another origin are there and ``overwrite`` is false.
    """
    options = options or MapOptions()
    if out is not None and Path(out).resolve() != Path(root).resolve():
        root = link_root(root, out, splits)
    loaded = [load_split(root, name) for name in splits]
    for split in loaded:
        _check_images(split)
    if not overwrite:
        _refuse_foreign_maps(loaded)
    outcomes = []
    for split in loaded:
        key = {"model_sha256": model_sha256, **vars(options)}
        outcome = _write_split(split, predictor, options, key, batch_size, progress, echo)
        echo(outcome.to_text())
        outcomes.append(outcome)
    return outcomes


def link_root(root: str | Path, out: str | Path, splits: Sequence[str]) -> Path:
    """Make ``out`` a root with the same images (links) and label files, but no maps.

    Files that are there stay, so that an interrupted call can go on.

    Raises:
        DataError: ``root`` is not a data set.
    """
    from mtn_core.data.prepare.placing import place_file

    out = Path(out)
    for name in splits:
        split = load_split(root, name)
        folder = split_folder(out, "image", name)
        folder.mkdir(parents=True, exist_ok=True)
        for row in range(len(split)):
            source = split.image_path(row)
            if not source.is_file():
                raise DataError(f"{source} {why_no_file(source)}, but label_{name}.csv lists it")
            if not (folder / source.name).exists():
                place_file(source, folder / source.name)
        if not label_path(out, name).exists():
            # Copied, not linked: the copy will be replaced.
            place_file(label_path(root, name), label_path(out, name), copy=True)
    return out


def _check_images(split: Split) -> None:
    missing = [
        split.frame["name"].iloc[row]
        for row in range(len(split))
        if not split.image_path(row).is_file()
    ]
    if missing:
        raise DataError(
            f"{label_path(split.root, split.name)} does not match the images: "
            f"{len(missing)} of {len(split)} do not exist in {split.folder('image')}: "
            f"{first_offenders(missing)}"
        )


def _refuse_foreign_maps(loaded: Sequence[Split]) -> None:
    foreign = [
        str(split.folder(kind))
        for split in loaded
        for kind in MAP_KINDS
        if split.folder(kind).is_dir()
        and any(split.folder(kind).iterdir())
        and not is_own_output(split)
        and not work_folder(split).is_dir()
    ]
    if foreign:
        raise RunFolderError(
            f"maps that `mtn trans` did not write are there: {first_offenders(foreign)}; "
            "add --overwrite to replace them, or --out DIR to write beside them"
        )


def _write_split(
    split: Split,
    predictor: Predictor,
    options: MapOptions,
    key: dict[str, object],
    batch_size: int,
    progress: bool,
    echo: Callable[[str], None],
) -> SplitOutcome:
    if read_done(split, key):
        return SplitOutcome(split.name, len(split), 0, 0.0, 0)
    store = MapStore(split, key, pack=options.pack)
    for line in store.open():
        echo(f"{split.name}: {line}")
    todo = np.setdiff1d(np.arange(len(split)), store.done_rows())
    seconds, timed = 0.0, 0
    if len(todo):
        paths = tuple(split.image_path(row) for row in range(len(split)))
        images = PoseSet(str(split.folder("image")), paths, split.keypoints)
        loader = CropLoader(images, predictor.image_size, batch_size, rows=todo)
        seconds, timed = _predict(split, predictor, options, store, loader, len(todo), progress)
    try:
        store.finish(progress=progress)
    except OSError as error:
        raise _disk_error(split, error) from error
    return SplitOutcome(split.name, len(split), len(todo), seconds, timed)


def _predict(
    split: Split,
    predictor: Predictor,
    options: MapOptions,
    store: MapStore,
    loader: CropLoader,
    total: int,
    progress: bool,
) -> tuple[float, int]:
    """Predict and store the loader's rows; time and number of images after the first batch."""
    started, timed = None, 0
    workers = num_workers_for(None)
    with (
        ThreadPoolExecutor(workers, thread_name_prefix="mtn-maps") as pool,
        progress_bar(
            total=total, description=f"trans {split.name}", unit="image", shown=progress
        ) as bar,
    ):
        waiting: list[Future] = []
        rows: list[np.ndarray] = []
        keypoints: list[np.ndarray] = []

        def settle() -> None:
            # A batch counts as done only when all of its maps are on disk.
            for future in waiting:
                future.result()
            waiting.clear()
            if rows:
                store.commit(np.concatenate(rows), np.concatenate(keypoints))
                rows.clear()
                keypoints.clear()

        try:
            for batch, plain, merged in iterate_heatmaps(
                predictor, loader, flip_test=options.flip_test
            ):
                settle()
                heatmaps = plain if merged is None else merged
                found = decode_heatmaps(heatmaps, batch["size"], refine=options.refine)
                segments = draw_segments(found, batch["size"])
                maps = to_maps(heatmaps, MAP_SIZE)
                for i, row in enumerate(batch["index"].tolist()):
                    waiting.append(pool.submit(store.write, row, maps[i], segments[i]))
                rows.append(batch["index"])
                keypoints.append(found)
                bar.update(len(found))
                if started is None:
                    started = time.perf_counter()
                else:
                    timed += len(found)
            settle()
        except OSError as error:
            raise _disk_error(split, error) from error
    return (time.perf_counter() - started if started else 0.0), timed


def _disk_error(split: Split, error: OSError) -> DataError:
    return DataError(
        f"writing the maps of {split.name} failed ({error}); what was finished is kept in "
        f"{work_folder(split)}: run the command again to go on, or delete that folder"
    )
