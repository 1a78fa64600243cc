"""The folder of an export: the formats, and files that appear together or not at all."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from mtn_core.device import Device
from mtn_core.errors import ConfigError, DeviceError, RunFolderError
from mtn_core.files import explain_full_disk, hidden_folder, move_together, recover_folder
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

    ``model.json`` comes last: where it is, the rest is complete. Of two exports into one folder at
    the same time the later one is refused, or, with ``overwrite``, replaces the earlier one.

    Args:
        out: Folder for the files.
        overwrite: Replace files of an earlier export.

    Raises:
        RunFolderError: ``out`` holds an export, or is a file.
    """
    out = Path(out)
    if not out.is_dir() and (out.exists() or out.is_symlink()):
        what = "is a file" if out.exists() else "is a link that leads nowhere"
        raise RunFolderError(f"{out} {what}; give a folder for the exported files")

    def check() -> None:
        if spec.exists() and not overwrite:
            raise RunFolderError(
                f"{out} already holds an export; choose another folder or give --overwrite"
            )

    made = not out.exists()
    spec = out / MODEL_JSON
    try:
        with explain_full_disk(out):
            recover_folder(spec.parent)
            check()
            out.mkdir(parents=True, exist_ok=True)
            with hidden_folder(spec) as work:
                yield work
                move_together(work, spec, check)
    finally:
        if made:
            with contextlib.suppress(OSError):
                out.rmdir()  # only where it is empty
