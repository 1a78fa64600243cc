"""The data commands as a person runs them: exit codes, what is printed, what is written."""

import subprocess
import sys

import cv2
import numpy as np
import pandas as pd
import pytest

from mtn_core.cli import main
from mtn_core.data.labels import write_labels


@pytest.fixture
def tiny(tmp_path):
    """Two training ids and two test ids, each with two cameras; keypoints, but no maps."""
    rng = np.random.default_rng(0)
    root = tmp_path / "tiny"
    for split, pids, cameras in (
        ("train", (1, 2), (1, 2)),
        ("query", (3, 4), (1,)),
        ("test", (3, 4), (1, 2)),
    ):
        folder = root / "veri" / f"image_{split}"
        folder.mkdir(parents=True)
        rows = [
            (f"{pid:04d}_c{camera:03d}_{pid}_0.jpg", pid, 1, 1)
            for pid in pids
            for camera in cameras
        ]
        for name, *_ in rows:
            cv2.imwrite(str(folder / name), rng.integers(0, 255, (40, 60, 3), dtype=np.uint8))
        frame = pd.DataFrame(rows, columns=["name", "pid", "color_id", "type_id"])
        keypoints = rng.random((len(rows), 36, 3)) * (60, 40, 1)
        write_labels(root / "veri" / f"label_{split}.csv", frame, keypoints)
    return root


def run(capsys, *arguments):
    code = main([str(a) for a in arguments])
    out = capsys.readouterr()
    return code, out.out, out.err


def test_check_of_good_data(tiny, capsys):
    code, out, _ = run(capsys, "check", "--root", tiny)
    assert code == 0
    assert "train: 4 images, 2 ids" in out
    assert out.rstrip().endswith("no problems")


def test_check_lists_all_problems_and_exits_1(tiny, capsys):
    for path in sorted((tiny / "veri" / "image_train").iterdir())[:2]:
        path.write_bytes(b"broken")
    (tiny / "veri" / "label_query.csv").unlink()
    code, out, _ = run(capsys, "check", "--root", tiny)
    assert code == 1
    assert out.count("problem: ") == 3
    assert out.rstrip().endswith("3 problems")
    code, out, _ = run(capsys, "check", "--root", tiny, "--splits", "train", "--fast")
    assert code == 0


@pytest.mark.parametrize("flag", [["--heatmapaware"], ["--heatmapaware", "True"]])
def test_check_demands_maps_when_asked(tiny, capsys, flag):
    code, out, _ = run(capsys, "check", "--root", tiny, *flag)
    assert code == 1
    assert "heatmaps are asked for" in out
    assert run(capsys, "check", "--root", tiny, "--segmentaware", "False")[0] == 0


def test_draw_pose_then_pack_then_check(tiny, capsys):
    code, out, _ = run(capsys, "draw-pose", "--root", tiny)
    assert code == 0
    assert "train: heatmaps and segments of 4 images" in out
    assert run(capsys, "check", "--root", tiny, "--heatmapaware", "--segmentaware")[0] == 0
    code, out, _ = run(capsys, "pack", "--root", tiny, "--splits", "train", "query")
    assert code == 0
    assert "train: 4 samples with images, heatmaps, segments" in out
    assert "pack_query" in out
    code, _, err = run(capsys, "pack", "--root", tiny)
    assert code == 1
    assert "error: pack" in err
    assert "add --overwrite" in err


def test_prepare_from_the_command_line(tiny, tmp_path, capsys):
    images = tiny / "veri" / "image_test"
    arguments = ["prepare", "--images", images, "--root", tmp_path / "made"]
    code, out, _ = run(capsys, *arguments, "--pattern", "{pid}_c{camid}_*.jpg")
    assert code == 0
    assert "test: " in out
    code, _, err = run(capsys, *arguments, "--pattern", "{pid}_c{camid}_*.jpg")
    assert code == 1
    assert "add --overwrite" in err
    assert run(capsys, "check", "--root", tmp_path / "made")[0] == 0
    with pytest.raises(SystemExit) as usage:
        main([str(a) for a in arguments])
    assert usage.value.code == 2


def test_prepare_veri_from_the_command_line(shared_data, tmp_path, capsys):
    labels = shared_data / "veri_labels"
    code, out, _ = run(
        capsys, "prepare-veri", "--labels", labels, "--labels-only", "--root", tmp_path
    )
    assert code == 0
    assert "train: 37778 images, 576 ids" in out
    code, _, err = run(capsys, "prepare-veri", "--root", tmp_path / "other")
    assert code == 2
    assert "--download is needed" in err


def test_synth_refuses_a_full_folder(tiny, capsys):
    code, _, err = run(capsys, "synth", "--root", tiny)
    assert code == 1
    assert "--overwrite" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["check"],
        ["synth", "--root", "x", "--size", "huge"],
        ["pack", "--root", "x", "--rows_per_shard", "0"],
        ["check", "--root", "x", "--heatmap"],
        ["draw-pose", "--root", "x", "--splits", "gallery"],
    ],
)
def test_wrong_usage_exits_2(arguments):
    with pytest.raises(SystemExit) as usage:
        main(arguments)
    assert usage.value.code == 2


def test_help_does_not_load_mindspore():
    code = "import sys; from mtn_core.cli import create_parser; create_parser();"
    code += "sys.exit('mindspore' in sys.modules or 'cv2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
