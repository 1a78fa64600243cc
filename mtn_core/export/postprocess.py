"""The back end of 310 inference: the C++ program's result files to the seed's result table."""

from pathlib import Path

import numpy as np

from mtn_core.config import config_from_dict
from mtn_core.errors import DataError, first_offenders
from mtn_core.export.labels import LabelRow, load_model_of, read_labels
from mtn_core.export.preprocess import IMAGE_FOLDER, SPLITS, file_stem
from mtn_core.predict.evaluate import results_folder
from mtn_core.predict.model_json import OUTPUT_NAMES, ModelSpec
from mtn_core.predict.onnx import spec_provenance
from mtn_core.results import Embeddings, RetrievalResult
from mtn_core.vehicle import NUM_KEYPOINTS

BACKEND = "MindSpore Lite C++"


def read_outputs(
    spec: ModelSpec, result_dir: str | Path, split: str, count: int
) -> dict[str, np.ndarray]:
    """Read the result files of ``query`` or ``gallery``.

    Args:
        spec: Says how many values each output has.
        result_dir: Folder that the C++ program wrote.
        split: ``query`` or ``gallery``.
        count: Images of the split.

    Returns:
        The four outputs by name, ``(count, width) float32``.

    Raises:
        DataError: A file is missing, of the wrong size, or holds a value that is not finite.
    """
    result_dir = Path(result_dir)
    if not result_dir.is_dir():
        raise DataError(f"{result_dir} is not a folder of results; give what the program wrote")
    beyond = result_dir / f"{file_stem(split, IMAGE_FOLDER, count)}_0.bin"
    if beyond.exists():
        raise DataError(
            f"{result_dir} holds results of more than the {count} {split} images of the labels "
            f"({beyond.name}); give the labels that the inference was made with"
        )
    outputs = {n: np.empty((count, spec.width(n)), np.float32) for n in OUTPUT_NAMES}
    bad = []
    for row in range(count):
        for number, (name, values) in enumerate(outputs.items()):
            path = result_dir / f"{file_stem(split, IMAGE_FOLDER, row)}_{number}.bin"
            problem = _read_into(path, values[row])
            if problem:
                bad.append(f"{path.name} ({name}) {problem}")
    if bad:
        raise DataError(
            f"results in {result_dir} do not fit the model: {first_offenders(bad)}; run the "
            "inference again"
        )
    return outputs


def evaluate_results(result_dir: str | Path, label_dir: str | Path) -> RetrievalResult:
    """Evaluate what the C++ program computed.

    Args:
        result_dir: Folder that the C++ program wrote.
        label_dir: Folder with labels and ``model.json`` that preprocessing wrote.

    Raises:
        DataError: Labels or results are missing or do not fit the model.
    """
    label_dir = Path(label_dir)
    spec = load_model_of(label_dir)
    embeddings = []
    for name, layout in SPLITS.items():
        rows = read_labels(label_dir, name)
        outputs = read_outputs(spec, result_dir, name, len(rows))
        embeddings.append(_to_embeddings(layout, rows, outputs, spec.network.attributes))
    return RetrievalResult.from_embeddings(
        *embeddings, metric=spec.metric, provenance=spec_provenance(spec, backend=BACKEND)
    )


def evaluate_results_into_run(
    result_dir: str | Path, label_dir: str | Path, out: str | Path, *, overwrite: bool = False
) -> RetrievalResult:
    """Evaluate what the C++ program computed and write the results into a run folder.

    Raises:
        RunFolderError: ``out`` holds results.
    """
    spec = load_model_of(Path(label_dir))
    values = {"recipe": spec.recipe or "eval", "eval": {"metric": spec.metric, "batch_size": 1}}
    config = config_from_dict(values).model_copy(update={"model": spec.network})
    context = {"command": "postprocess"}
    device = {"target": "MindSpore Lite"}
    with results_folder(out, config, device, context, overwrite=overwrite) as run:
        result = evaluate_results(result_dir, label_dir)
        result.save(run)
    return result


def _read_into(path: Path, values: np.ndarray) -> str:
    if path.exists() and not path.is_file():
        return "is not a regular file"
    try:
        data = path.read_bytes()
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if len(data) != values.nbytes:
        return f"has {len(data)} bytes, expected {values.nbytes}"
    values[:] = np.frombuffer(data, np.float32)
    return "" if np.isfinite(values).all() else "holds values that are not finite"


def _to_embeddings(
    layout: str, rows: list[LabelRow], outputs: dict[str, np.ndarray], attributes: bool
) -> Embeddings:
    def column(key: str) -> np.ndarray:
        return np.array([getattr(row, key)[0] for row in rows], np.int64)

    width = None if attributes else 0
    keypoints = np.array([row.keypoints for row in rows], np.float32)
    return Embeddings(
        split=layout,
        names=np.array([row.name for row in rows], str),
        pids=column("vid"),
        camids=column("camid"),
        color_ids=column("vcolor"),
        type_ids=column("vtype"),
        features=outputs["embedding"],
        color_logits=outputs["color_logits"][:, :width],
        type_logits=outputs["type_logits"][:, :width],
        keypoints=keypoints.reshape(len(rows), NUM_KEYPOINTS, 3),
        sizes=np.array([row.size for row in rows], np.int32),
    )
