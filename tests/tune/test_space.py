"""Space files: what they may say, and what is said of those that cannot be meant."""

import pytest

from mtn_core.config import load_config
from mtn_core.errors import ConfigError
from mtn_core.tune.space import Range, read_space, to_plain


def read(tmp_path, text):
    path = tmp_path / "space.yaml"
    path.write_text(text)
    return read_space(path, load_config("smoke"))


def test_ranges_and_lists_are_read(tmp_path):
    space = read(
        tmp_path,
        "optim.learning_rate: {low: 1e-4, high: 1e-2, log: true}\n"
        "data.images_per_id: {low: 2, high: 8, step: 2}\n"
        "loss.triplet: [margin, soft]\n"
        "loss.margin: [1e-1, 0.3]\n",
    )
    rate, images = space["optim.learning_rate"], space["data.images_per_id"]
    assert rate == Range(low=1e-4, high=1e-2, log=True) and not rate.whole
    assert images.whole and images.step == 2
    assert space["loss.margin"] == (0.1, 0.3)
    assert to_plain(space)["loss.triplet"] == ["margin", "soft"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("optim.lr: [1, 2]", r"unknown key 'optim.lr'; did you mean 'optim.learning_rate'\?"),
        ("loss.tripelt: [margin, soft]", r"did you mean 'loss.triplet'\?"),
        ("optim: [1, 2]", "unknown key 'optim'"),
        (
            "optim.gamma: {low: 0.1, hihg: 1}",
            r"unknown field 'hihg' of a range; did you mean 'high'",
        ),
        ("optim.gamma: {low: 0.1}", "'high' is missing"),
        ("optim.gamma: {low: 1, high: 0.1}", "low must be below high"),
        ("optim.gamma: {low: 0, high: 1, log: true}", "with log, low must be above 0"),
        ("optim.gamma: {low: 0.1, high: 1, step: 0}", "step must be above 0"),
        ("optim.gamma: {low: 0.1, high: 7}", "'optim.gamma': must be less than or equal to 1"),
        ("model.image_size: [64, 100]", "must be a multiple of 32"),
        ("optim.gamma: [0.1]", "a list needs two plain values or more"),
        ("data.weights: [[1, 2], [2, 1]]", "a list needs two plain values or more"),
        ("optim.gamma: [0.1, 1e-1]", "a value stands twice"),
        ("optim.gamma: 0.1", "one value for all trials goes to --set"),
        ("data.val_ids: [0.1, 0.2]", "this key is the same for all trials"),
        ("train.seed: [1, 2]", "this key is the same for all trials"),
        ("", "must hold keys such as"),
        ("- a", "must hold keys such as"),
        ("optim.gamma: [0.1, 1", "is not valid YAML"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path, text, said):
    with pytest.raises(ConfigError, match=said):
        read(tmp_path, text)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"no\.yaml does not exist"):
        read_space(tmp_path / "no.yaml", load_config("smoke"))
