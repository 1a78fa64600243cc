"""The folder of an export: the formats, and files that appear together or not at all."""

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from mtn_core.device import Device
from mtn_core.errors import ConfigError, DeviceError, RunFolderError
from mtn_core.files import explain_full_disk
from mtn_core.predict.model_json import MODEL_JSON

SUFFIXES = {"MINDIR": ".mindir", "ONNX": ".onnx", "AIR": ".air"}
MODEL_CARD = "model_card.md"


def check_formats(formats: Sequence[str], device: Device) -> None:
    """Refuse what is no format, or what this machine cannot write, before any work.

    Raises:
        ConfigError: An unknown format, or none.
        DeviceError: AIR was asked for elsewhere than on Ascend.
    """
    unknown = [f for f in formats if f not in SUFFIXES]
    if unknown or not formats:
        raise ConfigError(
            f"--file_format must be some of {', '.join(SUFFIXES)}; got {', '.join(formats)}"
        )
    if "AIR" in formats and device.target != "Ascend":
        raise DeviceError(
            f"AIR files are compiled by the Ascend toolkit and can only be written there; this is "
            f"{device.target}. Run `mtn export --file_format AIR --device_target Ascend` on an "
            "Ascend machine, or export MINDIR or ONNX here"
        )


@contextlib.contextmanager
def export_folder(out: str | Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield a hidden folder; its files move into ``out`` when the block succeeds, together.

    ``model.json`` comes last: where it is, the rest is complete.

    Args:
        out: Folder for the files.
        overwrite: Replace files of an earlier export.

    Raises:
        RunFolderError: ``out`` holds an export, or is a file.
    """
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise RunFolderError(f"{out} is a file; give a folder for the exported files")
    if (out / MODEL_JSON).exists() and not overwrite:
        raise RunFolderError(
            f"{out} already holds an export; choose another folder or give --overwrite"
        )
    made = not out.exists()
    work = out / ".unfinished"
    shutil.rmtree(work, ignore_errors=True)
    try:
        with explain_full_disk(out):
            work.mkdir(parents=True)
            yield work
            for path in sorted(work.iterdir(), key=lambda p: p.name == MODEL_JSON):
                path.replace(out / path.name)
    finally:
        shutil.rmtree(work, ignore_errors=True)
        if made:
            with contextlib.suppress(OSError):
                out.rmdir()  # only where it is empty
