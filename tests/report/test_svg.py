"""Drawings of a page: coordinates are shortened, words are not."""

import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd

from mtn_core.report.svg import draw_svg
from mtn_core.viz import training

NAMES = ("lr_0.0035", "lr_0.0030")


def texts(svg):
    return re.findall(r">([^<>]+)</text>", svg)


def frame(rate):
    steps = np.arange(1, 9)
    return pd.DataFrame({"step": steps, "loss": 1 / steps, "lr": rate * np.ones(8)})


def test_names_with_numbers_stay_whole():
    frames = {name: frame(0.003) for name in NAMES}
    svg = draw_svg("loss", "Loss", lambda ax: training.plot_loss_comparison(ax, frames))
    assert set(NAMES) <= set(texts(svg))


def test_the_axis_of_a_learning_rate_says_its_values():
    svg = draw_svg("lr", "Rate", lambda ax: training.plot_learning_rate(ax, frame(0.00035)))
    ticks = [t for t in texts(svg) if re.fullmatch(r"0\.\d+", t)]
    assert len({float(t) for t in ticks}) == len(ticks) > 3
    assert "0.00030" in ticks or "0.0003" in ticks


def test_coordinates_are_rounded_to_a_hundredth():
    svg = draw_svg("lr", "Rate 0.12345", lambda ax: training.plot_learning_rate(ax, frame(0.01)))
    tags = "".join(re.findall(r"<(?!svg)[^<>]*>", svg))
    assert not re.search(r"\d\.\d{3}", tags)
    assert 'aria-label="Rate 0.12345"' in svg


def test_a_drawing_says_once_what_many_shapes_share():
    def draw(ax):
        ax.pcolormesh(np.arange(400).reshape(20, 20) % 7)
        ax.plot([0, 5, 9, 20], [3, 4, 4, 20], color="#123456")
        return ax

    svg = draw_svg("cells", "Cells", draw)
    tree = ElementTree.fromstring(svg)
    name = "{http://www.w3.org/2000/svg}"
    rules = dict(re.findall(r"#cells-svg \.(s\d+)\{([^}]*)\}", tree.find(f".//{name}style").text))
    fills = [rules[path.get("class")] for path in tree.iter(f"{name}path") if path.get("class")]
    assert len([fill for fill in fills if fill.startswith("fill: #")]) == 400
    assert len({fill for fill in fills if fill.startswith("fill: #")}) == 7
    (line,) = [p for p in tree.iter(f"{name}path") if "#123456" in (p.get("style") or "")]
    numbers = line.get("d").removeprefix("M ").split(" ")
    assert len(numbers) == 8 and all(float(number) > 0 for number in numbers)
    assert all(group.attrib for group in tree.iter(f"{name}g"))
    assert len(svg) < 60_000
