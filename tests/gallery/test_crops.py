"""What names and tables say about crops, and which part of them is whose."""

from datetime import datetime, timedelta

import pytest

from mtn_core.errors import ConfigError, DataError
from mtn_core.gallery.crops import Clock, list_crops, parse_time, under
from mtn_core.gallery.shard import Shard, parse_shard, shard_of

NOON = datetime(2024, 5, 1, 12, 30, 5)


@pytest.fixture
def images(tmp_path):
    for name in (
        "north/2024-05-01T12-30-05_a.jpg",
        "north/2024-05-01T12-31-05_b.JPG",
        "007/2024-05-01T12-30-05_c.png",
        "unknown/2024-05-01T12-30-05_d.webp",
    ):
        path = tmp_path / "crops" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "crops" / "notes.txt").touch()
    return tmp_path / "crops"


@pytest.mark.parametrize(
    "text",
    [
        "2024-05-01T12:30:05",
        "2024-05-01 12:30:05",
        "20240501T123005",
        "20240501123005",
        "2024-05-01T12-30-05",
        "2024-05-01_12-30-05",
        "20240501-12-30-05",
        "2024-05-01T14:30:05+02:00",
        "2024-05-01T12:30:05Z",
        "1714566605",
        "1714566605000",
    ],
)
def test_times_as_people_and_cameras_write_them(text):
    assert parse_time(text) == NOON


def test_times_of_other_forms():
    assert parse_time("2024-05-01T12:30:05.250") == NOON + timedelta(milliseconds=250)
    assert Clock("%d.%m.%y %H:%M:%S").parse("01.05.24 12:30:05") == NOON
    assert Clock("%d.%m.%y %H:%M %z").parse("01.05.24 14:30 +0200") == NOON.replace(second=0)
    frames = Clock(frames_per_second=25, start=NOON)
    assert frames.parse("00000050") == NOON + timedelta(seconds=2)
    assert frames.parse("") is None and Clock().parse("unknown") is None
    for clock, text in (
        (Clock(), "yesterday"), (Clock(), "2024-13-01"), (Clock("%Y"), "05"),
        (Clock(), "00021130"),
        (frames, "x"), (frames, "9" * 30), (frames, "-3"), (Clock(), "9999999999.5.5"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"time|format|frame|9999|not match"):
            clock.parse(text)
    with pytest.raises(ValueError, match="is no time"):
        parse_time("")


@pytest.mark.parametrize(
    "values", [{"start": NOON}, {"frames_per_second": 25}, {"frames_per_second": 0, "start": NOON},
               {"frames_per_second": float("nan"), "start": NOON},
               {"frames_per_second": 5, "start": NOON, "format": "%Y"}],
)  # fmt: skip
def test_clocks_that_cannot_be_meant(values):
    with pytest.raises(ConfigError, match=r"--fps|--start"):
        Clock(**values)


def test_names_by_a_pattern(images):
    crops, notes = list_crops(images, pattern="{camid}/{time}_*", camera="gate")
    assert not notes
    assert [(c.name, c.camera, c.time) for c in crops] == [
        ("007/2024-05-01T12-30-05_c.png", "7", NOON),
        ("north/2024-05-01T12-30-05_a.jpg", "north", NOON),
        ("north/2024-05-01T12-31-05_b.JPG", "north", NOON + timedelta(minutes=1)),
        ("unknown/2024-05-01T12-30-05_d.webp", "gate", NOON),
    ]
    assert all(c.path == images / c.name for c in crops)


def test_names_that_say_nothing(images):
    crops, _ = list_crops(images)
    assert len(crops) == 4 and all(c.camera is None and c.time is None for c in crops)


def test_a_table(images, tmp_path):
    table = tmp_path / "crops.csv"
    table.write_text(
        "name;camid;time;track;pid;speed\n"
        "north/2024-05-01T12-30-05_a.jpg;3.0;2024-05-01T12:30:05;t1;v9;80\n"
        "007/2024-05-01T12-30-05_c.png;;;;;\n"
    )
    crops, notes = list_crops(images, csv=table)
    assert notes == ["columns of crops.csv that are not used: speed"]
    assert [(c.camera, c.time, c.track, c.vehicle) for c in crops] == [
        (None, None, None, None),
        ("3", NOON, "t1", "v9"),
    ]


def test_what_cannot_be_used_is_named(images, tmp_path):
    with pytest.raises(DataError, match=r"d\.webp: does not match"):
        list_crops(images, pattern="{camid}/{time}_*.jpg")
    with pytest.raises(DataError, match=r"times cannot be read: .*'north' is no time.*--fps"):
        list_crops(images, pattern="{time}/*")
    with pytest.raises(ConfigError, match="may hold"):
        list_crops(images, pattern="{camera}/*")
    with pytest.raises(ConfigError, match="each once"):
        list_crops(images, pattern="{camid}/{camid}.jpg")
    with pytest.raises(ConfigError, match="exclude each other"):
        list_crops(images, pattern="*", csv=tmp_path / "x.csv")
    with pytest.raises(DataError, match="does not exist"):
        list_crops(tmp_path / "nowhere")
    with pytest.raises(DataError, match="have no image"):
        (tmp_path / "empty").mkdir()
        list_crops(tmp_path / "empty")
    table = tmp_path / "crops.csv"
    table.write_text("name,time\nnorth/none.jpg,\n")
    with pytest.raises(DataError, match=r"none\.jpg: does not exist"):
        list_crops(images, csv=table)
    table.write_text("name,time\n../secret.jpg,\n")
    with pytest.raises(DataError, match="leave the image folder"):
        list_crops(images, csv=table)


def test_names_are_relative_to_the_folder_of_the_gallery(images, tmp_path):
    crops, _ = list_crops(images / "north")
    assert [c.name for c in under(crops, images / "north", images)] == [
        "north/2024-05-01T12-30-05_a.jpg",
        "north/2024-05-01T12-31-05_b.JPG",
    ]
    (tmp_path / "link").symlink_to(images)
    assert under(crops, tmp_path / "link" / "north", images)[0].name.startswith("north/")
    with pytest.raises(DataError, match="not in the gallery's image folder"):
        under(crops, images / "north", images / "007")


def test_shards_have_each_item_once():
    items = list(range(23))
    parts = [Shard(i, 4).of(items) for i in range(4)]
    assert sorted(item for part in parts for item in part) == items
    assert parse_shard("1/4") == Shard(0, 4) and str(Shard(3, 4)) == "4/4"
    for text in ("0/4", "5/4", "4", "a/b", "1/", "-1/4", "1/0", "1/99999999", "1/2/3", "²/4"):
        with pytest.raises(ConfigError, match="--shard must be I/N"):
            parse_shard(text)


def slurm(task, first, last, count, step=1):
    values = {"ID": task, "MIN": first, "MAX": last, "COUNT": count, "STEP": step}
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in values.items()}


def test_shards_of_ranks_and_arrays():
    assert shard_of({}) == Shard(0, 1)
    assert shard_of({"RANK_ID": "2", "RANK_SIZE": "4"}) == Shard(2, 4)
    assert shard_of(slurm(1, 1, 8, 8)) == Shard(0, 8)
    assert shard_of(slurm(6, 0, 8, 5, step=2)) == Shard(3, 5)
    both = [
        shard_of({**slurm(task, 1, 3, 3), "RANK_ID": rank, "RANK_SIZE": "2"})
        for task in (1, 2, 3)
        for rank in "01"
    ]
    assert both == [Shard(i, 6) for i in range(6)]
    for environment in (
        slurm(7, 1, 9, 3), slurm("x", 1, 8, 8), slurm(9, 1, 8, 8),
        {"RANK_ID": "4", "RANK_SIZE": "4"}, {"RANK_ID": "", "RANK_SIZE": "4"},
    ):  # fmt: skip
        with pytest.raises(ConfigError):
            shard_of(environment)
