"""The front end of 310 inference: a data set as the raw float32 files that the C++ program reads.

The layout is the seed's: ``RESULT/{query,gallery}/{img,vkeypt}/veri_data_query_img_0.bin`` and so
on, one file an image, and the labels as JSON in ``LABEL``. ``model.json`` is copied beside the
labels, so that post-processing knows sizes and classes.
"""

import json
import math
import shutil
from pathlib import Path
from typing import Any

from mtn_core.data.pipeline import EvalLoader
from mtn_core.data.source import open_source
from mtn_core.data.split import Split, load_split
from mtn_core.errors import DataError, RunFolderError, first_offenders
from mtn_core.export.labels import label_rows, load_model_of, read_labels
from mtn_core.files import atomic_folder, explain_full_disk
from mtn_core.predict.host_input import image_stack
from mtn_core.predict.model_json import KEYPOINTS, MODEL_JSON, ModelSpec
from mtn_core.progress import progress_bar

# The program's name of a split, and the layout's.
SPLITS = {"query": "query", "gallery": "test"}
IMAGE_FOLDER, KEYPOINT_FOLDER = "img", "vkeypt"
LABEL_FILE = "label.json"
_FLOAT_BYTES = 4
_BATCH = 8


def file_stem(split: str, kind: str, row: int) -> str:
    """``veri_data_query_img_3``: name of an image's file, without ending."""
    return f"veri_data_{split}_{kind}_{row}"


def write_inputs(
    spec: ModelSpec,
    root: str | Path,
    result_dir: str | Path,
    label_dir: str | Path,
    *,
    overwrite: bool = False,
    shown: bool = True,
) -> dict[str, int]:
    """Write image stacks, keypoints and labels of query and gallery.

    Args:
        spec: Of the exported model.
        root: The folder that holds ``veri/``.
        result_dir: Folder for the ``.bin`` files; appears whole or not at all.
        label_dir: Folder for the labels; likewise.
        overwrite: Replace what an earlier call wrote there.
        shown: Show a bar on a terminal.

    Returns:
        Number of images by split.

    Raises:
        DataError: The data set does not fit, or the disk is too small.
        RunFolderError: A folder holds something.
    """
    splits = {name: load_split(root, layout) for name, layout in SPLITS.items()}
    result_dir, label_dir = Path(result_dir), Path(label_dir)
    _check_apart(result_dir, label_dir)
    for folder in (result_dir, label_dir):
        _check_replaceable(folder, overwrite)
    _check_space(spec, sum(map(len, splits.values())), result_dir)
    with (
        atomic_folder(result_dir, overwrite=overwrite) as results,
        atomic_folder(label_dir, overwrite=overwrite) as labels,
    ):
        for name, split in splits.items():
            with explain_full_disk(result_dir):
                sizes = _write_split(spec, name, split, results, shown)
            _write_json(labels / f"{name}_label.json", label_rows(split, sizes))
        _write_json(labels / LABEL_FILE, _describe(spec, splits))
        (labels / MODEL_JSON).write_text(spec.model_dump_json(indent=2), encoding="utf-8")
    return {name: len(split) for name, split in splits.items()}


def check_inputs(
    spec: ModelSpec, root: str | Path, result_dir: str | Path, label_dir: str | Path
) -> dict[str, int]:
    """Check that inputs of an earlier call belong to this model and this data set.

    Returns:
        Number of images by split.

    Raises:
        DataError: They are missing, incomplete, or of another model or data set.
    """
    result_dir, label_dir = Path(result_dir), Path(label_dir)
    remedy = "preprocess again (NEED_PREPROCESS y)"
    described = load_model_of(label_dir)
    if described.checkpoint_sha256 != spec.checkpoint_sha256:
        raise DataError(
            f"the inputs in {result_dir} were made for checkpoint "
            f"{described.checkpoint_sha256[:12]}, the model is of {spec.checkpoint_sha256[:12]}; "
            f"{remedy}"
        )
    sizes = _file_sizes(spec)
    counts = {}
    for name, layout in SPLITS.items():
        rows = read_labels(label_dir, name)
        if [row.name for row in rows] != load_split(root, layout).frame["name"].tolist():
            raise DataError(f"{label_dir} holds other images than {root}; {remedy}")
        for kind in (IMAGE_FOLDER, KEYPOINT_FOLDER):
            found = len(list((result_dir / name / kind).glob("*.bin")))
            if found != len(rows):
                raise DataError(
                    f"{result_dir / name / kind} holds {found} files, expected {len(rows)}; "
                    f"{remedy}"
                )
            wrong = [
                path.name
                for path in (
                    result_dir / name / kind / f"{file_stem(name, kind, row)}.bin"
                    for row in range(len(rows))
                )
                if not path.is_file() or path.stat().st_size != sizes[kind]
            ]
            if wrong:
                raise DataError(
                    f"{result_dir / name / kind} lacks files of {sizes[kind]} bytes: "
                    f"{first_offenders(wrong)}; {remedy}"
                )
        counts[name] = len(rows)
    return counts


def _write_split(spec: ModelSpec, name: str, split: Split, folder: Path, shown: bool) -> list:
    for kind in (IMAGE_FOLDER, KEYPOINT_FOLDER):
        (folder / name / kind).mkdir(parents=True)
    sizes = []
    network = spec.network
    source = open_source(split, heatmaps=network.heatmaps, segments=network.segments)
    with EvalLoader(source, model=network, batch_size=min(_BATCH, len(split))) as loader:
        for batch in progress_bar(loader, description=name, unit="batch", shown=shown):
            stacks = image_stack(batch, spec)
            for at, row in enumerate(batch["index"].tolist()):
                if row < 0:
                    continue
                for kind, values in ((IMAGE_FOLDER, stacks), (KEYPOINT_FOLDER, batch[KEYPOINTS])):
                    values[at].tofile(folder / name / kind / f"{file_stem(name, kind, row)}.bin")
                sizes.append(batch["size"][at].tolist())
    return sizes


def _describe(spec: ModelSpec, splits: dict[str, Split]) -> dict[str, Any]:
    return {
        "num_train_vids": spec.width("id_logits"),
        "num_train_vcolors": spec.width("color_logits"),
        "num_train_vtypes": spec.width("type_logits"),
        "vcolor2label": {str(i + 1): i for i in range(spec.width("color_logits"))},
        "vtype2label": {str(i + 1): i for i in range(spec.width("type_logits"))},
        "num_images": {name: len(split) for name, split in splits.items()},
    }


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, allow_nan=False), encoding="utf-8")


def _file_sizes(spec: ModelSpec) -> dict[str, int]:
    """Bytes of an image's files, by kind."""
    return {
        IMAGE_FOLDER: _FLOAT_BYTES * math.prod(spec.stack_shape),
        KEYPOINT_FOLDER: _FLOAT_BYTES * spec.keypoint_values,
    }


def _check_apart(result_dir: Path, label_dir: Path) -> None:
    """Each folder is replaced as a whole: one within the other would vanish with it."""
    one, other = result_dir.resolve(), label_dir.resolve()
    if one.is_relative_to(other) or other.is_relative_to(one):
        raise RunFolderError(
            f"--result_dir {result_dir} and --label_dir {label_dir} must be two folders, neither "
            "within the other"
        )


def _check_replaceable(folder: Path, overwrite: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise RunFolderError(f"{folder} is a file; give a folder")
    if folder.is_dir() and any(folder.iterdir()):
        if not overwrite:
            raise RunFolderError(f"{folder} is not empty; choose another folder or --overwrite")
        # Overwriting removes the folder: never one that preprocessing did not write.
        if not ((folder / "query" / IMAGE_FOLDER).is_dir() or (folder / LABEL_FILE).is_file()):
            raise RunFolderError(
                f"{folder} holds something that preprocessing did not write; choose another folder"
            )


def _check_space(spec: ModelSpec, count: int, folder: Path) -> None:
    needed = count * sum(_file_sizes(spec).values())
    existing = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise DataError(
            f"{count} images need {needed / 1e9:.3f} GB below {folder}, {free / 1e9:.3f} GB are "
            "free; choose a folder on a larger disk"
        )
