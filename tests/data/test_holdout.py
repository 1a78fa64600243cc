import numpy as np
import pandas as pd
import pytest

from mtn_core.data.holdout import hold_out
from mtn_core.data.split import Split
from mtn_core.errors import ConfigError, DataError


def split_of(rows, root):
    frame = pd.DataFrame(rows, columns=["pid", "camid"])
    frame.insert(0, "name", [f"{i}.jpg" for i in range(len(rows))])
    frame["color_id"] = frame["type_id"] = -1
    return Split(root, "train", frame, np.zeros((len(rows), 36, 3), np.float32))


# Vehicle 1 at two cameras, 2 at one, 3 at three, 4 of an unknown camera twice, 5 once.
ROWS = [(1, 1), (1, 1), (1, 2), (2, 1), (2, 1), (3, 1), (3, 2), (3, 3), (4, 0), (4, 0), (5, 0)]


@pytest.fixture
def split(tmp_path):
    return split_of(ROWS, tmp_path)


def listed(tmp_path, text):
    path = tmp_path / "ids.txt"
    path.write_text(text)
    return str(path)


def test_vehicles_of_a_file(split, tmp_path):
    train, query, gallery = hold_out(split, listed(tmp_path, "1\n4\n"), 0)
    assert train.frame["pid"].tolist() == [2, 2, 3, 3, 3, 5]
    assert gallery.frame["name"].tolist() == ["0.jpg", "1.jpg", "2.jpg", "8.jpg", "9.jpg"]
    assert query.frame["name"].tolist() == ["0.jpg", "2.jpg", "8.jpg"]


def test_a_share_is_of_all_vehicles_and_drawn_from_those_with_a_second_view(split):
    _, _, gallery = hold_out(split, 0.6, 3)
    assert set(gallery.frame["pid"]) == {1, 3, 4}
    chosen = {tuple(sorted(set(hold_out(split, 0.2, s)[2].frame["pid"]))) for s in range(20)}
    assert chosen == {(1,), (3,), (4,)}
    again = [hold_out(split, 0.4, 7)[2].frame["pid"].tolist() for _ in range(2)]
    assert again[0] == again[1]


def test_too_large_a_share_is_refused(split):
    with pytest.raises(DataError, match=r"asks for 4 vehicles .* has 3; lower it"):
        hold_out(split, 0.8, 0)
    pairs = split_of([(1, 1), (1, 2)], split.root)
    with pytest.raises(ConfigError, match="none is left to train"):
        hold_out(pairs, 0.9, 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it is empty"),
        ("1\nred\n", "got red"),
        ("-1", "got -1"),
        ("99\n1", "not in .*: 99"),
        ("2\n5\n", "has a second view"),
    ],
)
def test_unusable_files(split, tmp_path, text, message):
    with pytest.raises((ConfigError, DataError), match=message):
        hold_out(split, listed(tmp_path, text), 0)


def test_a_file_that_is_none_and_one_for_two_roots(split, tmp_path):
    with pytest.raises(ConfigError, match="or a file with a vehicle id"):
        hold_out(split, str(tmp_path / "absent"), 0)
    other = split_of(ROWS, tmp_path / "other")
    with pytest.raises(ConfigError, match="one --root"):
        hold_out(Split.join([split, other]), listed(tmp_path, "1"), 0)


def test_several_roots_are_held_out_of_together(split, tmp_path):
    joined = Split.join([split, split_of(ROWS, tmp_path / "other")])
    train, query, gallery = hold_out(joined, 0.5, 1)
    assert gallery.frame["pid"].nunique() == 5
    assert set(query.frame["pid"]) == set(gallery.frame["pid"])
    assert not set(train.frame["pid"]) & set(gallery.frame["pid"])
