"""The commands and the seed's scripts, on a small data set."""

import json
import os
import subprocess

import numpy as np
import pandas as pd
import pytest

from mtn_core.cli import main
from mtn_core.data.check import check_dataset
from mtn_core.data.layout import label_path
from mtn_core.data.split import load_split
from mtn_core.models.checkpoint import load_checkpoint
from mtn_core.pose.onnx_predictor import OnnxPredictor
from mtn_core.pose.predict import load_predictor
from mtn_core.pose.result import PoseResult


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    out = tmp_path_factory.mktemp("export") / "pose"
    ckpt = str(trained / "ckpt" / "last.ckpt")
    assert main(["export", "--ckpt_path", ckpt, "--out", str(out)]) == 0
    return out


def test_train_and_eval_print_what_they_found(tiny_root, tmp_path, capsys):
    out = tmp_path / "run"
    arguments = ["--root", str(tiny_root), "--out", str(out)]
    settings = ["--set", "data.batch_size=8", "train.eval_every=1"]
    code = main(["train-pose", *arguments, "--recipe", "pose_smoke", "--epochs", "1", *settings])
    printed = capsys.readouterr().out
    assert code == 0
    assert "epoch:1 step:3, loss is " in printed
    assert "best PCK@0.1: " in printed
    ckpt = str(out / "ckpt" / "best.ckpt")
    assert main(["eval-pose", *arguments, "--ckpt_path", ckpt, "--flip_test"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("Computing PCK\nResults ----------\nPCK@0.02: ")
    assert "flip test + quarter pixel" in printed
    results = json.loads((out / "results.json").read_text())
    assert set(results["variants"]) == {
        "plain",
        "quarter pixel",
        "flip test",
        "flip test + quarter pixel",
    }
    assert results["pck@0.1"] == results["variants"]["flip test + quarter pixel"]["pck@0.1"]
    assert len(pd.read_csv(out / "per_keypoint.csv")) == 36
    loaded = PoseResult.load(out)
    assert loaded.errors.pck(0.1) == results["pck@0.1"]
    assert loaded.format_table() == printed.rstrip("\n")
    assert main(["eval-pose", *arguments, "--ckpt_path", ckpt]) == 1
    assert "already holds results" in capsys.readouterr().err


def test_annotations_train_and_are_evaluated(tiny_root, tmp_path, capsys):
    split = load_split(tiny_root, "train")
    rows = []
    for i in range(len(split)):
        import cv2

        height, width = cv2.imread(str(split.image_path(i))).shape[:2]
        values = split.keypoints[i].copy()
        values[:, 2] = values[:, 2] >= 0.5
        points = [f"{x:.2f},{y:.2f},{int(visible)}" for x, y, visible in values]
        rows.append(",".join([split.frame["name"].iloc[i], str(width), str(height), *points]))
    csv = tmp_path / "annot.csv"
    csv.write_text("\n".join(rows) + "\n")
    pair = ["--annotations", str(csv), "--images", str(split.folder("image"))]
    out = tmp_path / "run"
    code = main(
        [
            *("train-pose", "--root", str(tiny_root), *pair, "--out", str(out), "--epochs", "1"),
            *("--recipe", "pose_smoke", "--set", "data.batch_size=8", "data.weights=[1, 3]"),
            *("--eval_annotations", str(csv), "--eval_images", str(split.folder("image"))),
        ]
    )
    assert code == 0
    ckpt = str(out / "ckpt" / "last.ckpt")
    assert main(["eval-pose", *pair, "--ckpt_path", ckpt, "--out", str(tmp_path / "eval")]) == 0
    assert "24 images" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train-pose", "--recipe", "pose_demp"], "unknown recipe 'pose_demp'; did you mean"),
        (["train-pose", "--recipe", "demo"], "recipe 'demo' is one of `mtn train`; those of"),
        (["train-pose", "--set", "loss.sigmma=2"], "did you mean 'loss.sigma'"),
        (["train-pose"], "nothing to train on"),
        (["train-pose", "--annotations", "a.csv"], "every --annotations needs its --images"),
        (["eval-pose", "--ckpt_path", "x.ckpt"], "give either --root, or --annotations"),
        (["eval-pose", "--ckpt_path", "x.ckpt", "--images", "d"], "go together"),
    ],
)
def test_wrong_arguments_are_explained(tmp_path, capsys, arguments, message):
    assert main([*arguments, "--out", str(tmp_path / "run")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_export_proves_parity_and_names_things(exported, trained, tiny_root):
    names = {p.name for p in exported.iterdir()}
    assert names == {"PoseEstNet.mindir", "PoseEstNet.onnx", "model.json", "model_card.md"}
    spec = json.loads((exported / "model.json").read_text())
    assert spec["inputs"]["image"]["shape"] == ["N", 3, 64, 64]
    assert max(f["largest_difference"] for f in spec["files"].values()) < 1e-4
    network = load_predictor(load_checkpoint(trained / "ckpt" / "last.ckpt"))
    onnx = OnnxPredictor(exported / "PoseEstNet.onnx")
    for count in (1, 5):  # the batch size is free
        image = np.random.default_rng(count).integers(0, 256, (count, 64, 64, 3), dtype=np.uint8)
        assert np.abs(network(image) - onnx(image)).max() < 1e-4


def test_export_refuses_what_it_cannot_do(exported, trained, capsys, tmp_path):
    ckpt = str(trained / "ckpt" / "last.ckpt")
    assert main(["export", "--ckpt_path", ckpt, "--out", str(exported)]) == 1
    assert "already holds an export" in capsys.readouterr().err
    assert main(["export", "--ckpt_path", ckpt, "--out", str(tmp_path), "--heatmapaware"]) == 2
    assert "is a PoseEstNet; --heatmapaware is not for it" in capsys.readouterr().err


def test_trans_by_checkpoint_and_by_onnx_agree(exported, trained, tiny_root, tmp_path, capsys):
    ckpt = str(trained / "ckpt" / "last.ckpt")
    common = ["trans", "--root", str(tiny_root), "--splits", "query"]
    assert main([*common, "--ckpt_path", ckpt, "--out", str(tmp_path / "a")]) == 0
    assert "query: 10 images predicted" in capsys.readouterr().out
    onnx = str(exported / "PoseEstNet.onnx")
    assert main([*common, "--onnx_path", onnx, "--out", str(tmp_path / "b"), "--pack"]) == 0
    first, second = (load_split(tmp_path / name, "query").keypoints for name in "ab")
    assert first.max() > 0
    assert np.abs(first - second).max() < 1e-2
    assert check_dataset(tmp_path / "a", heatmaps=True, segments=True, splits=("query",)).ok
    assert (tmp_path / "b" / "veri" / "pack_query" / "manifest.json").is_file()


def test_models_of_another_kind_are_refused(exported, tiny_root, tmp_path, capsys):
    from mtn_core.models.checkpoint import save_checkpoint

    other = tmp_path / "other.ckpt"
    save_checkpoint(other, {"w": np.ones(2, np.float32)}, {"kind": "multitask", "model": {}})
    common = ["trans", "--root", str(tiny_root), "--out", str(tmp_path / "out")]
    assert main([*common, "--ckpt_path", str(other)]) == 1
    assert "holds a MultiTaskNet, not a PoseEstNet" in capsys.readouterr().err
    assert main([*common, "--ckpt_path", str(tmp_path / "none.ckpt")]) == 1
    assert "does not exist" in capsys.readouterr().err
    import onnx

    model = onnx.load(str(exported / "PoseEstNet.onnx"))
    del model.metadata_props[:]
    onnx.save(model, str(tmp_path / "bare.onnx"))
    assert main([*common, "--onnx_path", str(tmp_path / "bare.onnx")]) == 1
    assert "is not an exported PoseEstNet" in capsys.readouterr().err
    (tmp_path / "cut.onnx").write_bytes((exported / "PoseEstNet.onnx").read_bytes()[:1000])
    assert main([*common, "--onnx_path", str(tmp_path / "cut.onnx")]) == 1
    assert "cut.onnx is not a readable ONNX file" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_onnx_prediction_needs_no_mindspore(exported, tiny_root, tmp_path):
    import sys

    code = (
        "import sys; sys.modules['mindspore'] = None\n"
        "from mtn_core.pose.onnx_predictor import OnnxPredictor\n"
        "import numpy as np\n"
        f"p = OnnxPredictor({str(exported / 'PoseEstNet.onnx')!r})\n"
        "print(p(np.zeros((2, 64, 64, 3), np.uint8)).shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "(2, 36, 16, 16)", done.stderr


def test_convert_recognises_an_hrnet(tmp_path, capsys):
    safetensors = pytest.importorskip("safetensors.numpy")
    from mtn_core.pose.config import PoseModelConfig
    from mtn_core.pose.network import PoseEstNet

    network = PoseEstNet(PoseModelConfig(image_size=64, width=8, modules=(1, 1, 1), blocks=1))
    renamed = {}
    for name, parameter in network.parameters_dict().items():
        cell, _, value = name.rpartition(".")
        value = {
            "gamma": "weight",
            "beta": "bias",
            "moving_mean": "running_mean",
            "moving_variance": "running_var",
        }.get(value, value)
        renamed[f"{cell}.{value}"] = parameter.asnumpy()
    safetensors.save_file(renamed, str(tmp_path / "hrnet.safetensors"))
    out = tmp_path / "pose.ckpt"
    pth = str(tmp_path / "hrnet.safetensors")
    assert main(["convert", "--pth_path", pth, "--out", str(out)]) == 0
    assert "HRNet-W8, 36 keypoints" in capsys.readouterr().out
    assert load_predictor(load_checkpoint(out)).config.width == 8


def run_script(repository, name, *arguments, folder, **environment):
    return subprocess.run(
        ["bash", str(repository / "scripts" / name), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, **environment},
    )


def test_the_seeds_script_writes_maps(repository, trained, tiny_root, tmp_path):
    from mtn_core.pose.maps import link_root

    root = link_root(tiny_root, tmp_path / "data", ("train", "query", "test"))
    # The document's example gives the veri folder itself.
    done = run_script(
        repository,
        "run_trans_cpu.sh",
        root / "veri",
        trained / "ckpt" / "last.ckpt",
        0,
        folder=tmp_path,
        EXTRA_ARGS="--splits query test",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "query: 10 images predicted" in (tmp_path / "trans_cpu.log").read_text()
    report = check_dataset(root, heatmaps=True, segments=True, splits=("query", "test"))
    assert report.ok, report.to_text()
    assert label_path(root, "query").with_name("label_query.before_trans.csv").is_file()


@pytest.mark.parametrize("name", ["run_trans_cpu.sh", "run_trans_gpu.sh", "run_trans_ascend.sh"])
def test_scripts_explain_wrong_usage(repository, tmp_path, name):
    for arguments in (["data"], ["data", "a.ckpt", "zero"]):
        done = run_script(repository, name, *arguments, folder=tmp_path)
        assert done.returncode == 2
        assert f"usage: bash scripts/{name} DATA_PATH CKPT_PATH DEVICE_ID" in done.stderr


def test_scripts_pass_the_exit_code_on(repository, trained, tiny_root, tmp_path):
    ckpt = trained / "ckpt" / "last.ckpt"
    done = run_script(repository, "run_trans_cpu.sh", tmp_path, ckpt, 0, folder=tmp_path)
    assert done.returncode == 1
    assert "is missing" in done.stdout
    done = run_script(repository, "run_trans_ascend.sh", tiny_root, ckpt, 0, folder=tmp_path)
    assert done.returncode == 1
    assert "Ascend" in done.stdout and "not available" in done.stdout
