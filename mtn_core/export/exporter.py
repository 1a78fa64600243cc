"""From a checkpoint to a folder of model files that are proven to compute the same."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import mindspore as ms
import numpy as np

from mtn_core.data.pipeline import EvalLoader
from mtn_core.device import Device
from mtn_core.errors import ConfigError
from mtn_core.export import mindspore_graphs, onnx_graph, onnx_precision, parity
from mtn_core.export.describe import create_spec
from mtn_core.export.folder import MODEL_CARD, SUFFIXES, check_formats, export_folder
from mtn_core.export.model_card import write_model_card
from mtn_core.export.onnx_pixels import add_preprocessing
from mtn_core.files import sha256_of
from mtn_core.models.checkpoint import Checkpoint, create_network
from mtn_core.predict.backend import check_maps
from mtn_core.predict.evaluate import Evaluation, compare, evaluation_config, open_evaluation
from mtn_core.predict.host_input import model_inputs
from mtn_core.predict.mindspore import NetworkOnPixels, batch_inputs
from mtn_core.predict.model_json import OUTPUT_NAMES, FileSpec, ModelSpec
from mtn_core.predict.onnx import OnnxModel


@dataclass(frozen=True)
class ExportOptions:
    """What to write beside the plain files.

    Attributes:
        pixels: An ONNX file that takes uint8 pixels and maps.
        float16: An ONNX file with half-precision arithmetic.
        int8: An ONNX file with convolutions in int8; needs ``root`` for calibration.
        root: Data set: int8 is calibrated on its training split; with float16 or int8 the accuracy
            of every ONNX file is measured on its query and gallery.
        batch_size: Images a run when accuracy is measured.
    """

    pixels: bool = False
    float16: bool = False
    int8: bool = False
    root: Path | None = None
    batch_size: int = 32


def export_checkpoint(
    checkpoint: Checkpoint,
    out: Path,
    formats: Sequence[str],
    device: Device,
    options: ExportOptions | None = None,
    *,
    heatmaps: bool | None = None,
    segments: bool | None = None,
    overwrite: bool = False,
    echo: Callable[[str], None] = lambda line: None,
) -> ModelSpec:
    """Export a checkpoint, prove parity, write ``model.json`` and ``model_card.md``.

    Everything is made in a hidden folder first; ``out`` sees whole, proven files or none.

    Args:
        checkpoint: Written by training.
        out: Folder for the files.
        formats: Some of ``MINDIR``, ``ONNX``, ``AIR``.
        device: From :func:`mtn_core.device.setup_device`.
        options: What to write beside the plain files.
        heatmaps: What the caller believes the network sees; checked against the checkpoint.
        segments: Likewise.
        overwrite: Replace files of an earlier export.
        echo: Told about progress and differences.

    Returns:
        What ``model.json`` says.

    Raises:
        CheckpointError: The checkpoint is of another network.
        ConfigError: The flags are not those of the checkpoint, or contradict each other.
        DeviceError: AIR was asked for elsewhere than on Ascend.
        ParityError: A float32 file differs from the network by more than 1e-4.
        RunFolderError: ``out`` holds an export.
    """
    options = options or ExportOptions()
    check_formats(formats, device)
    _check_options(formats, options)
    spec = create_spec(checkpoint)
    check_maps(spec.network, checkpoint.path, heatmaps=heatmaps, segments=segments)
    evaluation = None
    if options.root is not None:
        evaluation = open_evaluation(options.root, spec.network)
    with export_folder(out, overwrite=overwrite) as work:
        spec = _Exporter(checkpoint, spec, work, options, evaluation, echo).run(formats)
        write_model_card(spec, work / MODEL_CARD)
        spec.write(work)
    return spec


class _Exporter:
    """Writes the files of one export into a folder and measures each."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        spec: ModelSpec,
        folder: Path,
        options: ExportOptions,
        evaluation: Evaluation | None,
        echo: Callable[[str], None],
    ):
        self.checkpoint, self.spec, self.folder = checkpoint, spec, folder
        self.options, self.evaluation, self.echo = options, evaluation, echo
        self.batch = parity.sample_batch(spec)
        if evaluation is not None:
            self.batch = _query_batch(spec, evaluation)
        self.reference = _run_network(checkpoint, self.batch)
        self.files: dict[str, FileSpec] = {}
        self.parity: dict[str, dict[str, float]] = {}
        self.accuracy: dict[str, dict[str, float | None]] = {}

    def run(self, formats: Sequence[str]) -> ModelSpec:
        """Write and check everything; the finished spec."""
        if "MINDIR" in formats:
            path = self._path("MINDIR")
            mindspore_graphs.write_mindir(self.checkpoint, self.spec, path)
            outputs = mindspore_graphs.run_mindir(
                path, model_inputs(self.batch, self.spec, pixels=False)
            )
            self._record(path, "MINDIR", outputs)
        if "AIR" in formats:
            path = self._path("AIR")
            mindspore_graphs.write_air(self.checkpoint, self.spec, path)
            self._record(path, "AIR", None)
        if "ONNX" in formats:
            self._write_onnx()
        return self.spec.model_copy(
            update={"files": self.files, "parity": self.parity, "accuracy": self.accuracy}
        )

    def _write_onnx(self) -> None:
        raw = mindspore_graphs.to_onnx(self.checkpoint, self.spec)
        self.spec = self.spec.model_copy(update={"opset": onnx_graph.opset_of(raw)})
        model = onnx_graph.finish_graph(raw, self.spec.to_metadata())
        self._save_onnx(model, "")
        if self.options.pixels:
            self._save_onnx(add_preprocessing(model, self.spec), "_pixels", inputs="pixels")
        if self.options.float16 or self.options.int8:
            if self.options.float16:
                small = onnx_precision.to_float16(model)
                self._save_onnx(small, "_float16", precision="float16")
            if self.options.int8 and self.options.root is not None:
                batches = onnx_precision.calibration_batches(self.spec, self.options.root)
                self._save_onnx(onnx_precision.to_int8(model, batches), "_int8", precision="int8")

    def _save_onnx(self, model, ending: str, precision: str = "float32", inputs: str = "stack"):
        path = self._path("ONNX", ending)
        onnx_graph.save(model, path)
        session = OnnxModel(path)
        self._record(path, "ONNX", session.run(self.batch), precision=precision, inputs=inputs)
        if self.evaluation is not None and (self.options.float16 or self.options.int8):
            settings = evaluation_config(session, {"eval.batch_size": self.options.batch_size})
            result = compare(session, self.evaluation, settings.eval)
            rank1 = float(result.cmc[0])
            self.accuracy[path.name] = {
                "mAP": result.mAP if np.isfinite(result.mAP) else None,
                "rank1": rank1 if np.isfinite(rank1) else None,
            }
            self.echo(f"{path.name}: mAP {100 * result.mAP:.2f} %, Rank-1 {100 * rank1:.2f} %")

    def _record(
        self,
        path: Path,
        file_format: str,
        outputs: dict[str, np.ndarray] | None,
        precision: str = "float32",
        inputs: str = "stack",
    ) -> None:
        self.files[path.name] = FileSpec(
            format=file_format,
            precision=precision,
            inputs=inputs,
            sha256=sha256_of(path),
            bytes=path.stat().st_size,
        )
        if outputs is None:
            self.echo(f"{path.name}: written; an AIR file cannot be run here to compare it")
            return
        found = parity.differences(self.reference, outputs)
        if precision == "float32":
            parity.check_parity(path.name, found)
        self.parity[path.name] = found
        self.echo(
            f"{path.name}: largest difference to the training network {parity.largest(found):.2e}"
        )

    def _path(self, file_format: str, ending: str = "") -> Path:
        return self.folder / f"{self.spec.name}{ending}{SUFFIXES[file_format]}"


def _query_batch(spec: ModelSpec, evaluation: Evaluation, count: int = 4) -> dict[str, np.ndarray]:
    """Real images: int8 is calibrated for such, and says little about noise."""
    with EvalLoader(evaluation[0], model=spec.network, batch_size=count) as loader:
        return next(iter(loader))


def _run_network(checkpoint: Checkpoint, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    cell = NetworkOnPixels(create_network(checkpoint))
    cell.set_train(False)
    tensors = [ms.Tensor(a) for a in batch_inputs(batch, checkpoint.model_config)]
    return {n: o.asnumpy() for n, o in zip(OUTPUT_NAMES, cell(*tensors), strict=True)}


def _check_options(formats: Sequence[str], options: ExportOptions) -> None:
    extra = [n for n in ("pixels", "float16", "int8") if getattr(options, n)]
    if extra and "ONNX" not in formats:
        raise ConfigError(f"--{extra[0]} is a kind of ONNX file; add ONNX to --file_format")
    if options.int8 and options.root is None:
        raise ConfigError(
            "--int8 measures its scales on training images; give --root, the folder with veri/"
        )
