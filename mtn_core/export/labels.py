"""The labels of 310 inference: JSON beside the inputs, row by row, and the model they are for."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from mtn_core.data.labels import ID_LIMIT
from mtn_core.data.split import Split
from mtn_core.errors import DataError, first_offenders
from mtn_core.files import why_no_file
from mtn_core.predict.model_json import MODEL_JSON, ModelSpec, read_spec
from mtn_core.vehicle import NUM_KEYPOINTS, UNKNOWN

_REMEDY = "run `mtn preprocess` again"
# One-element lists as in the seed, where a row was a batch of one.
_Id = tuple[Annotated[int, Field(ge=0, lt=ID_LIMIT)]]
_Class = tuple[Annotated[int, Field(ge=UNKNOWN, lt=ID_LIMIT)]]
_Pixels = Annotated[int, Field(ge=1, lt=2**31)]


class LabelRow(BaseModel):
    """An image's label; colours and types count from 1, -1 unknown.

    Attributes:
        name: Image file.
        size: Width and height of the crop in pixels.
        keypoints: x, y and confidence of every keypoint, in pixels of the crop.
    """

    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)

    name: str
    vid: _Id
    camid: _Id
    vcolor: _Class
    vtype: _Class
    size: tuple[_Pixels, _Pixels]
    keypoints: Annotated[
        list[float], Field(min_length=3 * NUM_KEYPOINTS, max_length=3 * NUM_KEYPOINTS)
    ]


_ROWS = TypeAdapter(dict[str, LabelRow])


def label_rows(split: Split, sizes: list) -> dict[str, dict[str, Any]]:
    """What the label file of a split holds.

    Args:
        split: Its labels.
        sizes: Width and height of every crop.
    """
    return {
        str(row): LabelRow(
            name=label.name,
            vid=(int(label.pid),),
            camid=(int(label.camid),),
            vcolor=(int(label.color_id),),
            vtype=(int(label.type_id),),
            size=tuple(sizes[row]),
            keypoints=split.keypoints[row].reshape(-1).tolist(),
        ).model_dump()
        for row, label in enumerate(split.frame.itertuples(index=False))
    }


def read_labels(label_dir: Path, split: str) -> list[LabelRow]:
    """Labels of ``query`` or ``gallery``, in row order.

    Raises:
        DataError: The file is missing or not what preprocessing writes.
    """
    path = label_dir / f"{split}_label.json"
    if not path.is_file():
        raise DataError(f"{path} {why_no_file(path)}; {_REMEDY}")
    try:
        values = _ROWS.validate_json(path.read_bytes())
    except ValidationError as error:
        problem = error.errors()[0]
        where = ", ".join(str(part) for part in problem["loc"])
        raise DataError(
            f"{path} cannot be read as labels: {f'row {where}: ' if where else ''}"
            f"{problem['msg']}; {_REMEDY}"
        ) from error
    rows = [values[str(row)] for row in range(len(values)) if str(row) in values]
    if not rows or len(rows) < len(values):
        raise DataError(
            f"{path} must have rows 0, 1, 2, ...; got "
            f"{first_offenders(list(values)) or 'none'}; {_REMEDY}"
        )
    counts = Counter(row.name for row in rows)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        raise DataError(f"{path} names images twice: {first_offenders(twice)}; {_REMEDY}")
    return rows


def load_model_of(label_dir: Path) -> ModelSpec:
    """The model that the inputs beside these labels were made for.

    Raises:
        DataError: There is none; the folder was not written by preprocessing.
    """
    path = label_dir / MODEL_JSON
    if not path.is_file():
        raise DataError(
            f"{path} {why_no_file(path)}; run `mtn preprocess` with --label_dir {label_dir}"
        )
    return read_spec(path)
