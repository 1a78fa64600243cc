import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtn_core.data.labels import (
    camera_of,
    load_labels,
    name_problem,
    read_labels,
    write_labels,
)
from mtn_core.errors import DataError

NAME = "0002_c002_00030600_0.jpg"
NAME_2 = "0003_c001_00000001_0.jpg"


def row(name=NAME, ids=(2, 1, 4), numbers=None):
    numbers = ["1.5", "2.5", "0.9"] * 36 if numbers is None else numbers
    return ",".join([name, *map(str, ids), *numbers])


def write(path, *rows):
    path.write_text("\n".join(rows) + "\n")
    return path


def test_a_row_is_read_as_it_stands(tmp_path):
    numbers = [str(n / 4) for n in range(108)]
    frame, keypoints = load_labels(write(tmp_path / "l.csv", row(numbers=numbers)))
    assert frame.iloc[0].to_dict() == {
        "name": NAME,
        "pid": 2,
        "camid": 2,
        "color_id": 1,
        "type_id": 4,
    }
    assert keypoints.shape == (1, 36, 3)
    assert keypoints.dtype == np.float32
    np.testing.assert_array_equal(keypoints[0, 1], [0.75, 1.0, 1.25])
    with pytest.raises(ValueError, match="read-only"):
        keypoints[0, 0, 0] = 1


def test_written_labels_are_read_back(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "name": ["0001_c001_1_0.jpg", "0002_c000_2_0.jpg"],
            "pid": [1, 2],
            "color_id": [-1, 10],
            "type_id": [9, -1],
        }
    )
    keypoints = (rng.random((2, 36, 3)) * 500).round(3)
    write_labels(tmp_path / "l.csv", frame, keypoints)
    back, points = load_labels(tmp_path / "l.csv")
    assert back["camid"].tolist() == [1, 0]
    assert back["color_id"].tolist() == [-1, 10]
    np.testing.assert_allclose(points, keypoints, atol=1e-4)


def test_a_row_is_written_shortly(tmp_path):
    frame = pd.DataFrame({"name": [NAME], "pid": [100], "color_id": [10], "type_id": [-1]})
    keypoints = np.zeros((1, 36, 3))
    keypoints[0, 0] = 100, 1.5, 0.1234
    keypoints[0, 35] = -20.25, 0.0004, 1
    write_labels(tmp_path / "l.csv", frame, keypoints)
    middle = ",0" * 34 * 3
    assert (
        tmp_path / "l.csv"
    ).read_text() == f"{NAME},100,10,-1,100,1.5,0.123{middle},-20.25,0,1\n"


def test_labels_that_cannot_be_written(tmp_path):
    frame = pd.DataFrame({"name": ["car.jpg"], "pid": [1], "color_id": [1], "type_id": [1]})
    with pytest.raises(DataError, match=r"\(1, 36, 3\); got \(2, 36, 3\)"):
        write_labels(tmp_path / "l.csv", frame, np.zeros((2, 36, 3)))
    with pytest.raises(DataError, match=r"cannot write .*'car\.jpg' has no camera"):
        write_labels(tmp_path / "l.csv", frame, np.zeros((1, 36, 3)))
    assert not list(tmp_path.iterdir())


def test_empty_lines_are_skipped_and_counted(tmp_path):
    path = write(tmp_path / "l.csv", row(), "", row(NAME_2), "x")
    labels = read_labels(path)
    assert labels.frame["name"].tolist() == [NAME, NAME_2]
    assert labels.problems == ["row 4: 1 columns, expected 112"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (row(numbers=["1"] * 107), "row 2: 111 columns, expected 112"),
        (row(numbers=["1"] * 109), "row 2: 113 columns, expected 112"),
        (row(numbers=["1"] * 107 + ["much"]), "row 2: column 112 is 'much', expected a number"),
        (row(ids=("x", 1, 1)), "row 2: column 2 is 'x', expected a number"),
        (row(numbers=["nan"] * 108), "row 2: a value is nan or infinite"),
        (row(numbers=["nan", *["1"] * 107]), "row 2: a value is nan or infinite"),
        (row(numbers=["inf"] + ["1"] * 107), "row 2: a value is nan or infinite"),
        (row(numbers=["1e39"] + ["1"] * 107), "row 2: a value is nan or infinite, or too large"),
        (row(ids=("1_0", 1, 1)), "row 2: column 2 is '1_0', expected a number"),
        (row(ids=("\u0663", 1, 1)), "row 2: column 2 is '\u0663', expected a number"),
        (row(name='"0001_c001_\n1.jpg"'), "has a line break or another control character in it"),
        (row(ids=("1e30", 1, 1)), "row 2: vehicle id is 1000000000000000"),
        (row(ids=(2.5, 1, 1)), "row 2: vehicle id is 2.5, expected a whole number"),
        (row(ids=(-2, 1, 1)), "row 2: vehicle id is -2, expected 0 or more, below"),
        (row(ids=(2**31, 1, 1)), "row 2: vehicle id is 2147483648, expected 0 or more, below"),
        (row(ids=(2, 2**31, 1)), "row 2: colour id is 2147483648, expected a number below"),
        (row(ids=(2, 1, 2**31)), "row 2: type id is 2147483648, expected a number below"),
        (row(ids=("x" * 41, 1, 1)), f"row 2: column 2 is '{'x' * 40}', expected a number"),
        (row(ids=(2, 0, 1)), "row 2: colour id is 0, expected 1 or more, or -1"),
        (row(ids=(2, 1, -2)), "row 2: type id is -2, expected 1 or more, or -1"),
        (row(name="car.jpg"), "row 2: name 'car.jpg' has no camera; expected _cNNN"),
        (row(name="../0001_c001_1.jpg"), "has a path in it"),
        (row(name="a/0001_c001_1.jpg"), "has a path in it"),
        (row(name="a\\0001_c001_1.jpg"), "has a path in it"),
        (row(name=f"0001_c{2**31}_1.jpg"), f"has camera {2**31}, expected a number below {2**31}"),
        (row(name=f"0001_c{'9' * 30}_1.jpg"), "expected a number below"),
        (row(name=NAME), f"row 2: name '{NAME}' stands in row 1 already"),
    ],
)
def test_a_bad_row_is_named_with_its_number(tmp_path, line, message):
    path = write(
        tmp_path / "l.csv",
        row(name=NAME_2 if NAME in line and "stands" not in message else NAME),
        line,
    )
    with pytest.raises(DataError) as error:
        load_labels(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)
    labels = read_labels(path)
    assert len(labels.frame) == 1, "the good row is still read"
    assert len(labels.problems) == 1


def test_five_bad_rows_are_shown_and_all_are_counted(tmp_path):
    rows = [row(name=f"{i}.jpg") for i in range(8)]
    with pytest.raises(DataError, match=r"row 5.*8 in all") as error:
        load_labels(write(tmp_path / "l.csv", *rows))
    assert "row 6" not in str(error.value)


def test_a_missing_file_says_what_it_should_hold(tmp_path):
    with pytest.raises(DataError, match=r"none.csv is missing; expected rows of 112 columns"):
        load_labels(tmp_path / "none.csv")


def test_text_in_another_encoding_is_an_error(tmp_path):
    (tmp_path / "l.csv").write_bytes(row().encode() + b"\n\xff\xfe\n")
    with pytest.raises(DataError, match="not UTF-8"):
        load_labels(tmp_path / "l.csv")


@pytest.mark.parametrize("line", [row().replace("1.5", '"1.5', 1), "x" * 2**18])
def test_text_that_is_no_csv_is_an_error(tmp_path, csv_limit, line):
    path = write(tmp_path / "l.csv", row(NAME_2), line, *(row(f"{i}_c001.jpg") for i in range(300)))
    with pytest.raises(DataError, match=r"label file .*l\.csv cannot be read beyond line \d+ \("):
        load_labels(path)


def test_a_quotation_mark_without_its_partner_is_an_error(tmp_path):
    rows = row(NAME_2), row().replace("1.5", '"1.5', 1), row("3_c001.jpg")
    with pytest.raises(DataError, match=r"beyond line 3 .*quotation mark without its partner"):
        read_labels(write(tmp_path / "l.csv", *rows))


def test_ids_are_read_up_to_their_limits(tmp_path):
    largest = 2**31 - 1
    rows = row(ids=(0, 1, 1)), row(NAME_2, ids=(largest, largest, largest))
    frame, _ = load_labels(write(tmp_path / "l.csv", *rows))
    assert frame["pid"].tolist() == [0, largest]
    assert frame["color_id"].tolist() == frame["type_id"].tolist() == [1, largest]


def test_the_largest_camera_is_read(tmp_path):
    frame, _ = load_labels(write(tmp_path / "l.csv", row(f"0001_c{2**31 - 1}_1.jpg")))
    assert frame["camid"].tolist() == [2**31 - 1]


@given(st.text(max_size=20))
def test_no_name_with_a_path_in_it_passes(text):
    for name in (f"{text}/0001_c001_1.jpg", f"..{text}_c001_1.jpg", f"{text}\\_c001_1.jpg"):
        assert name_problem(name)


@pytest.mark.parametrize(
    ("name", "camera"),
    [
        (NAME, 2),
        ("0001_c000_1_0.jpg", 0),
        ("0001_c020.jpg", 20),
        ("0001_c1234_5.jpg", 1234),
        ("0001_c02_5.jpg", None),
        ("abc001.jpg", None),
    ],
)
def test_camera_of_a_name(name, camera):
    assert camera_of(name) == camera


def test_the_real_query_labels_load(shared_data):
    frame, keypoints = load_labels(shared_data / "veri_labels" / "label_query.csv")
    assert len(frame) == 1678
    assert frame["pid"].nunique() == 200
    np.testing.assert_allclose(keypoints[0, 0], [380.095, 151.507, 0.759])
