"""Models, colours and the marks that tell one car from another of the same model and colour."""

from dataclasses import dataclass

import numpy as np

from mtn_core.synthveri.marks import Marks, create_marks
from mtn_core.synthveri.materials import linear
from mtn_core.synthveri.mesh import Material
from mtn_core.synthveri.shapes import Shape, create_shape
from mtn_core.synthveri.style import Style, create_style

# sRGB shades of VeRi's colours 1..10.
_SHADES = (
    ((235, 190, 20), (225, 200, 60), (240, 205, 0)),
    ((225, 105, 25), (235, 130, 40), (200, 85, 20)),
    ((35, 110, 60), (60, 150, 90), (20, 80, 60)),
    ((120, 122, 125), (150, 152, 155), (95, 98, 102), (175, 177, 180)),
    ((165, 25, 30), (190, 20, 25), (120, 20, 30)),
    ((30, 60, 130), (45, 95, 170), (25, 40, 85), (70, 120, 190)),
    ((236, 236, 234), (245, 245, 245), (225, 224, 218)),
    ((190, 165, 115), (170, 148, 105), (205, 185, 145)),
    ((85, 55, 40), (105, 75, 55), (70, 48, 40)),
    ((20, 20, 22), (30, 31, 34), (12, 12, 14)),
)
# Vehicles of VeRi's colours and types among its 576 training ids (train-id-col-mod.txt). Drawn by
# their cube roots: common ones stay more common, and rare ones are enough to be learnt and tested.
_COLOUR_SHARE = np.cbrt([14, 5, 26, 151, 59, 34, 96, 24, 17, 150])
_TYPE_SHARE = np.cbrt([311, 65, 37, 37, 8, 40, 24, 52, 2])
_FIRST_UNLIKE = 10  # vehicles before any shares model and shade with an earlier one
_TWIN_SHARE = 0.35  # of the others
_MOST_ALIKE = 3  # vehicles of one model and colour; without a limit a few would become most


@dataclass(frozen=True, eq=False)
class CarModel:
    """What all cars of a model share: shape and style."""

    index: int
    shape: Shape
    style: Style


@dataclass(frozen=True, eq=False)
class Individual:
    """One vehicle identity."""

    pid: int
    model: CarModel
    color_id: int
    shade: int
    paint: Material
    marks: Marks

    @property
    def type_id(self) -> int:
        """VeRi type, 1..9."""
        return self.model.shape.type_id


def create_individual(
    pid: int, model: CarModel, color_id: int, shade: int, rng: np.random.Generator
) -> Individual:
    """Give a model a colour and its own marks.

    Args:
        pid: Identity, from 1.
        model: Shape and style.
        color_id: VeRi colour, 1..10.
        shade: Which of the colour's shades, and how metallic; equal numbers are equal paint.
        rng: For the marks.
    """
    mix = np.random.default_rng([color_id, shade])
    shades = _SHADES[color_id - 1]
    rgb = np.array(shades[int(mix.integers(len(shades)))]) * mix.uniform(0.93, 1.05)
    paint = Material(
        linear(tuple(np.clip(rgb, 0, 255))), float(mix.choice([0.04, 0.05, 0.09])), 1.0
    )
    return Individual(pid, model, color_id, shade, paint, create_marks(model.shape.type_id, rng))


def _deal(share: np.ndarray, count: int, rng: np.random.Generator) -> list[int]:
    """Deal ids 1..len(share) in random order, as close to the shares as whole numbers come.

    The first few are all of them, so that every one occurs however few are dealt.
    """
    exact = count * share / share.sum()
    numbers = np.maximum(np.floor(exact), 1).astype(int)
    while numbers.sum() < count:
        numbers[int(np.argmax(exact - numbers))] += 1
    first = 1 + rng.permutation(len(share))
    rest = 1 + rng.permutation(np.repeat(np.arange(len(share)), np.maximum(numbers - 1, 0)))
    return [*first.tolist(), *rest.tolist()][:count]


def _cross(types: list[int], colours: list[int], rng: np.random.Generator) -> list[tuple]:
    """Pair the dealt types with the dealt colours, each colour over as many types as it can be.

    A colour that only one type has would be learnt as a part of that type.

    Returns:
        ``(type, colour)`` of each vehicle, the types in their order.
    """
    left = np.bincount(types, minlength=len(_TYPE_SHARE) + 1)
    paints = np.bincount(colours, minlength=len(_COLOUR_SHARE) + 1)
    expected = np.outer(left, paints) / max(len(types), 1)
    dealt = np.zeros_like(expected, int)
    # Rare colours first: while there is a choice of types.
    for color_id in np.argsort(paints + rng.random(len(paints)) / 2):
        for _ in range(paints[color_id]):
            # The type that lacks this colour most, of those with vehicles left to paint.
            lack = expected[:, color_id] - dealt[:, color_id]
            lack += 0.1 * left / max(left.max(), 1) + 0.01 * rng.random(len(left))
            lack[dealt[:, color_id] > 0] -= 1.0
            lack[left == 0] = -np.inf
            type_id = int(np.argmax(lack))
            dealt[type_id, color_id] += 1
            left[type_id] -= 1
    of_type = {
        t: rng.permutation(np.repeat(np.arange(len(paints)), dealt[t])).tolist() for t in set(types)
    }
    return [(t, of_type[t].pop()) for t in types]


def create_fleet(num_ids: int, seed: int) -> list[Individual]:
    """The vehicles of a data set, pid 1..num_ids; every type and colour occurs.

    Types and colours are crossed, so that neither tells the other. About a third of the vehicles
    share model and colour with another one, most of them the very paint: only their marks differ.
    """
    rng = np.random.default_rng([seed, 0xF1EE7])
    may_be_twins = max(num_ids - _FIRST_UNLIKE, 0)
    twins = set(_FIRST_UNLIKE + rng.permutation(may_be_twins)[: round(_TWIN_SHARE * may_be_twins)])
    unlike = num_ids - len(twins)
    pairs = _cross(_deal(_TYPE_SHARE, unlike, rng), _deal(_COLOUR_SHARE, unlike, rng), rng)
    models: dict[int, list[CarModel]] = {}
    fleet: list[Individual] = []
    alike: dict[tuple[CarModel, int], int] = {}
    for number in range(num_ids):
        own = np.random.default_rng([seed, 0x1D, number + 1])
        if number in twins:
            known = [v for v in fleet if alike[v.model, v.color_id] < _MOST_ALIKE]
            twin = known[int(rng.integers(len(known)))]
            shade = int(rng.integers(1 << 20)) if rng.random() < 0.3 else twin.shade
            one = create_individual(number + 1, twin.model, twin.color_id, shade, own)
        else:
            type_id, color_id = pairs.pop(0)
            of_type = models.setdefault(type_id, [])
            if len(of_type) < 3 or rng.random() < 0.25:
                of_type.append(
                    CarModel(len(of_type), create_shape(type_id, rng), create_style(type_id, rng))
                )
            model = of_type[int(rng.integers(len(of_type)))]
            one = create_individual(number + 1, model, color_id, int(rng.integers(1 << 20)), own)
        fleet.append(one)
        alike[one.model, one.color_id] = alike.get((one.model, one.color_id), 0) + 1
    return fleet
