"""The C++ program, built and run for real on the CPU backend of MindSpore Lite; property 31."""

import json
import resource
import shutil
import signal
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest

from mtn_core.predict.model_json import OUTPUT_NAMES
from mtn_core.predict.onnx import OnnxModel

NUM_IMAGES = 5


def run(program, *arguments, **options):
    return subprocess.run(
        [str(program), *map(str, arguments)], capture_output=True, text=True, check=False, **options
    )


@pytest.fixture(scope="module")
def case(tools, programs, tmp_path_factory):
    """A converted hand-made model, five inputs, and onnxruntime's outputs for them."""
    folder = tmp_path_factory.mktemp("case")
    spec = tools.write_export(folder, tools.make_spec(segments=True))
    for batch in (1, 2):
        shapes = f"image:{batch},16,32,32;keypoints:{batch},108"
        done = run(programs / "convert", folder / "tiny.onnx", folder / f"b{batch}.mindir", shapes)
        assert done.returncode == 0, done.stderr
    rng = np.random.default_rng(0)
    inputs = {
        "image": rng.normal(size=(NUM_IMAGES, 16, 32, 32)).astype(np.float32),
        "keypoints": rng.uniform(-0.5, 0.5, (NUM_IMAGES, 108)).astype(np.float32),
    }
    (folder / "img").mkdir()
    (folder / "vkeypt").mkdir()
    for row in range(NUM_IMAGES):
        inputs["image"][row].tofile(folder / "img" / f"veri_data_query_img_{row}.bin")
        inputs["keypoints"][row].tofile(folder / "vkeypt" / f"veri_data_query_vkeypt_{row}.bin")
    expected = OnnxModel(folder / "tiny.onnx").predict(inputs)
    return SimpleNamespace(folder=folder, spec=spec, expected=expected)


@pytest.fixture
def inputs(case, tmp_path):
    """A copy of the input folders to break."""
    for kind in ("img", "vkeypt"):
        shutil.copytree(case.folder / kind, tmp_path / kind)
    return tmp_path


def arguments_for(case, inputs, **changes):
    values = {
        "mindir_path": case.folder / "b1.mindir",
        "input0_path": inputs / "img",
        "input1_path": inputs / "vkeypt",
        "device_target": "CPU",
        "output_path": inputs / "out",
        "time_path": inputs / "time",
        **changes,
    }
    return [f"--{name}={value}" for name, value in values.items() if value is not None]


def check_outputs(case, folder, rows=range(NUM_IMAGES)):
    files = {f"veri_data_query_img_{r}_{n}.bin" for r in rows for n in range(4)}
    assert {p.name for p in folder.iterdir()} == files
    for row in rows:
        for number, name in enumerate(OUTPUT_NAMES):
            found = np.fromfile(folder / f"veri_data_query_img_{row}_{number}.bin", np.float32)
            np.testing.assert_allclose(found, case.expected[name][row], atol=1e-4)


@pytest.mark.parametrize("batch", [1, 2])
def test_outputs_equal_onnxruntime(case, programs, inputs, batch):
    done = run(
        programs / "main",
        *arguments_for(case, inputs, mindir_path=case.folder / f"b{batch}.mindir", batch=batch),
    )
    assert done.returncode == 0, done.stderr
    check_outputs(case, inputs / "out")
    report = json.loads((inputs / "time" / "performance.json").read_text())
    calls = -(-NUM_IMAGES // batch)
    assert (report["batch"], report["images"], report["predictions"]) == (batch, NUM_IMAGES, calls)
    assert 0 < report["p50_ms"] <= report["p95_ms"]
    assert report["mean_ms"] > 0 and report["failed"] == []
    assert report["images_per_second"] == pytest.approx(
        1000 * NUM_IMAGES / (report["mean_ms"] * calls), rel=1e-6
    )
    text = (inputs / "time" / "test_perform_static.txt").read_text()
    assert text.startswith("NN inference cost average time: ")
    assert text.endswith(f" ms of infer_count {calls}\n")
    assert text in done.stdout


def test_batch_size_is_the_models(case, programs, inputs):
    done = run(programs / "main", *arguments_for(case, inputs, batch=2))
    assert done.returncode == 1
    assert "b1.mindir was converted for batches of 1" in done.stderr
    assert not (inputs / "out").exists()


def test_equal_names_pair_too(case, programs, inputs):
    for kind in ("img", "vkeypt"):
        for path in list((inputs / kind).iterdir()):
            row = path.stem.rsplit("_", 1)[1]
            path.rename(path.with_name(f"000{row}_c001.jpg.bin"))
    assert run(programs / "main", *arguments_for(case, inputs)).returncode == 0
    found = np.fromfile(inputs / "out" / "0003_c001.jpg_3.bin", np.float32)
    np.testing.assert_allclose(found, case.expected["embedding"][3], atol=1e-4)


def shorten(path):
    path.write_bytes(path.read_bytes()[:-4])


def lengthen(path):
    path.write_bytes(path.read_bytes() + b"1234")


@pytest.mark.parametrize(
    ("victim", "change", "message"),
    [
        ("img/veri_data_query_img_2.bin", shorten, "has 65532 bytes, the model takes 65536"),
        ("img/veri_data_query_img_2.bin", lengthen, "has 65540 bytes, the model takes 65536"),
        ("vkeypt/veri_data_query_vkeypt_2.bin", shorten, "has 428 bytes, the model takes 432"),
        ("vkeypt/veri_data_query_vkeypt_2.bin", lambda p: p.unlink(), "has no keypoint file in"),
        ("img/veri_data_query_img_2.bin", lambda p: p.unlink(), "has no image file in"),
    ],
)
def test_bad_input_stops_before_the_first_prediction(
    case, programs, inputs, victim, change, message
):
    change(inputs / victim)
    done = run(programs / "main", *arguments_for(case, inputs))
    assert done.returncode == 1
    assert message in done.stderr and "run the preprocessing again" in done.stderr
    assert not (inputs / "out").exists()


def test_bad_input_is_left_out_when_told(case, programs, inputs):
    shorten(inputs / "img" / "veri_data_query_img_2.bin")
    (inputs / "vkeypt" / "veri_data_query_vkeypt_0.bin").unlink()
    done = run(programs / "main", *arguments_for(case, inputs, on_error="continue"))
    assert done.returncode == 1
    assert "2 input files were left out" in done.stderr
    check_outputs(case, inputs / "out", rows=[1, 3, 4])
    report = json.loads((inputs / "time" / "performance.json").read_text())
    assert report["images"] == 3
    assert [entry["file"].rsplit("_", 1)[1] for entry in report["failed"]] == ["0.bin", "2.bin"]


def test_first_five_offenders_and_the_total(case, programs, inputs):
    for row in range(5, 12):
        np.zeros(3, np.float32).tofile(inputs / "img" / f"veri_data_query_img_{row}.bin")
    done = run(programs / "main", *arguments_for(case, inputs))
    assert done.returncode == 1
    assert done.stderr.count("has no keypoint file") == 5
    assert "(and 2 more, 7 in all)" in done.stderr


def test_folders_that_are_missing_or_empty(case, programs, inputs):
    (inputs / "empty").mkdir()
    done = run(programs / "main", *arguments_for(case, inputs, input1_path=inputs / "empty"))
    assert done.returncode == 1 and f"no .bin file in {inputs / 'empty'}" in done.stderr
    done = run(programs / "main", *arguments_for(case, inputs, input0_path=inputs / "nowhere"))
    assert done.returncode == 1 and f"cannot read the folder {inputs / 'nowhere'}" in done.stderr


@pytest.mark.parametrize("kept", [0, 100, 6000, -1])
def test_truncated_model(case, programs, inputs, kept):
    short = inputs / "short.mindir"
    short.write_bytes((case.folder / "b1.mindir").read_bytes()[:kept])
    done = run(programs / "main", *arguments_for(case, inputs, mindir_path=short))
    assert done.returncode == 1
    assert f"{short}" in done.stderr and "error: " in done.stderr
    assert not (inputs / "out").exists()


def test_missing_model(case, programs, inputs):
    path = inputs / "nothing.mindir"
    done = run(programs / "main", *arguments_for(case, inputs, mindir_path=path))
    assert done.returncode == 1
    assert f"cannot read the model {path}: No such file" in done.stderr


def test_mindir_of_mindspore_itself(exported, case, programs, inputs):
    """The fetched runtime reads version 1; the message says what to do about version 3."""
    path = exported.folder / "MultiTask_export_segment.mindir"
    done = run(programs / "main", *arguments_for(case, inputs, mindir_path=path))
    assert done.returncode == 1
    assert "convert the exported .onnx file" in done.stderr


def test_model_of_another_kind(programs, inputs, case):
    import onnx
    from onnx import TensorProto, helper

    shape = [1, 3, 8, 8]
    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", info[:1], info[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)])
    model.ir_version = 6
    onnx.save(model, str(inputs / "relu.onnx"))
    assert run(programs / "convert", inputs / "relu.onnx", inputs / "relu.mindir").returncode == 0
    done = run(programs / "main", *arguments_for(case, inputs, mindir_path=inputs / "relu.mindir"))
    assert done.returncode == 1
    assert "must have two inputs, image and keypoints" in done.stderr


def test_devices_that_are_not_there(case, programs, inputs):
    done = run(programs / "main", *arguments_for(case, inputs, device_id=1))
    assert done.returncode == 1 and "no CPU device 1" in done.stderr
    done = run(programs / "main", *arguments_for(case, inputs, device_target="Ascend", device_id=3))
    if done.returncode:  # without an Ascend
        assert "on Ascend device 3" in done.stderr and "no such device or driver" in done.stderr
        assert not (inputs / "out").exists()


def test_full_disk(case, programs, inputs):
    """A file size limit of one embedding stands for the full disk: writing fails part-way."""

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20))

    done = run(programs / "main", *arguments_for(case, inputs), preexec_fn=limit)
    assert done.returncode == 1
    assert "cannot write" in done.stderr and "File too large" in done.stderr
    # id_logits has 28 bytes: nothing came under a final name, nor stayed under a temporary one
    assert list((inputs / "out").iterdir()) == []


def test_output_folder_that_cannot_be(case, programs, inputs):
    (inputs / "out").write_text("a file")
    done = run(programs / "main", *arguments_for(case, inputs))
    assert done.returncode == 1 and f"cannot create the folder {inputs / 'out'}" in done.stderr


@pytest.mark.parametrize(
    "change",
    [
        {"batch": "two"},
        {"batch": "0"},
        {"warmup": "-1"},
        {"device_target": "GPU"},
        {"device_id": "1x"},
        {"on_error": "retry"},
        {"mindir_path": None},
        {"input0_path": ""},
        {"surprise": "1"},
    ],
)
def test_wrong_usage(case, programs, inputs, change):
    done = run(programs / "main", *arguments_for(case, inputs, **change))
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and "Usage: main --mindir_path" in done.stderr


def test_help(programs):
    done = run(programs / "main", "--help")
    assert done.returncode == 0 and "--on_error" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ([], 2),
        (["a.onnx", "b.bin"], 2),
        (["a.onnx", "b.mindir", "image"], 1),
        (["nothing.onnx", "b.mindir"], 1),
    ],
)
def test_converter_errors(programs, tmp_path, arguments, code):
    done = run(programs / "convert", *arguments, cwd=tmp_path)
    assert done.returncode == code and done.stderr.startswith("error: ")
    assert list(tmp_path.iterdir()) == []


def test_converter_with_wrong_shapes_or_content(programs, case, tmp_path):
    done = run(programs / "convert", case.folder / "tiny.onnx", tmp_path / "a.mindir", "image:1,x")
    assert done.returncode == 2 and "not an input shape: 'image:1,x'" in done.stderr
    (tmp_path / "junk.onnx").write_bytes(b"junk")
    done = run(programs / "convert", tmp_path / "junk.onnx", tmp_path / "a.mindir")
    assert done.returncode == 1 and "cannot convert" in done.stderr
    assert {p.name for p in tmp_path.iterdir()} == {"junk.onnx"}


@pytest.mark.slow
def test_clean_under_the_sanitizers(case, sanitized_programs, inputs):
    convert, main = (sanitized_programs / name for name in ("convert", "main"))
    shapes = "image:2,16,32,32;keypoints:2,108"
    assert run(convert, case.folder / "tiny.onnx", inputs / "m.mindir", shapes).returncode == 0
    done = run(main, *arguments_for(case, inputs, mindir_path=inputs / "m.mindir"))
    assert done.returncode == 0, done.stderr
    check_outputs(case, inputs / "out")
    shorten(inputs / "img" / "veri_data_query_img_1.bin")
    for code, changes in (
        (1, {}),
        (1, {"on_error": "continue"}),
        (1, {"mindir_path": inputs / "img" / "veri_data_query_img_0.bin"}),
        (2, {"batch": "-3"}),
        (2, {"surprise": ""}),
    ):
        done = run(main, *arguments_for(case, inputs, **changes))
        assert done.returncode == code, done.stderr
        assert "Sanitizer" not in done.stderr and "runtime error" not in done.stderr
