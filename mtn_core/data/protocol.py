"""The evaluation protocol that travels with a data set: ``veri/protocol.yaml``."""

from pathlib import Path

from mtn_core.config import to_yaml, validate
from mtn_core.errors import ConfigError, DataError
from mtn_core.files import write_text
from mtn_core.metrics.protocol import VERI, EvaluationProtocol
from mtn_core.strict_yaml import read_yaml

PROTOCOL_NAME = "protocol.yaml"


def read_protocol(root: str | Path) -> EvaluationProtocol:
    """The protocol of a root in the VeRi layout; VeRi's where the root has no word about it.

    Raises:
        DataError: The file is there and is not usable.
    """
    path = Path(root) / "veri" / PROTOCOL_NAME
    if not path.exists():
        return VERI
    try:
        values = read_yaml(path)
        return validate(EvaluationProtocol, values, path)
    except (ConfigError, OSError) as error:
        raise DataError(
            f"the evaluation protocol cannot be used: {error}; make the root anew, or delete "
            f"{PROTOCOL_NAME} to evaluate by VeRi's rule"
        ) from error


def write_protocol(folder: Path, protocol: EvaluationProtocol) -> None:
    """Write ``protocol.yaml`` into a ``veri`` folder; VeRi's rule needs none."""
    if protocol != VERI:
        write_text(folder / PROTOCOL_NAME, to_yaml(protocol))
