import os
import re

import pytest

from mtn_core.cli import main
from mtn_core.errors import ConfigError, DataError
from mtn_core.export.lite import convert_for_lite, find_onnx, input_shapes, mind_ir_version


def fake_converter(folder, body):
    path = folder / "converter_lite"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def test_version_of_a_real_file(exported):
    assert mind_ir_version(exported.folder / "MultiTask_export_segment.mindir") == 3


@pytest.mark.parametrize("content", [b"", b"\xff" * 40, b"nonsense, not a protocol buffer"])
def test_something_else(tmp_path, content):
    path = tmp_path / "a.mindir"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.mindir is not a"):
        mind_ir_version(path)


def test_truncated(exported, tmp_path):
    path = tmp_path / "a.mindir"
    path.write_bytes((exported.folder / "MultiTask_export_segment.mindir").read_bytes()[:9999])
    with pytest.raises(DataError, match="not a whole MindIR file"):
        mind_ir_version(path)


def test_shapes(tools):
    spec = tools.make_spec(heatmaps=True, image_size=64)
    assert input_shapes(spec, 4) == "image:4,39,64,64;keypoints:4,108"


def test_onnx_file_that_is_needed(tiny_export):
    assert find_onnx(tiny_export.path.with_suffix(".mindir"), tiny_export.spec) == tiny_export.path
    tiny_export.path.unlink()
    with pytest.raises(FileNotFoundError, match="--file_format MINDIR ONNX"):
        find_onnx(tiny_export.path, tiny_export.spec)


def test_command_of_a_release_converter(tiny_export, tmp_path):
    writes = f'echo "$@" > "{tmp_path}/seen"; echo it > "${{3#--outputFile=}}.mindir"'
    converter = fake_converter(tmp_path, writes)
    (tmp_path / "m.mindir").write_text("of before")
    convert_for_lite(tiny_export.path, tmp_path / "m.mindir", converter, batch=2)
    assert (tmp_path / "m.mindir").read_text() == "it\n"
    said = (tmp_path / "seen").read_text().strip()
    *words, out = sorted(re.split(" (?=--)", said), key=lambda w: "output" in w)
    assert ".mtn-partial-" in out, "a whole file or none"
    assert words == [
        "--fmk=ONNX",
        f"--modelFile={tiny_export.path}",
        "--saveType=MINDIR",
        "--inputShape=image:2,3,32,32;keypoints:2,108",
    ]


def test_converter_that_fails(tiny_export, tmp_path):
    converter = fake_converter(tmp_path, "echo no memory >&2; exit 3")
    with pytest.raises(DataError, match=r"exit code 3\): no memory"):
        convert_for_lite(tiny_export.path, tmp_path / "m.mindir", converter)
    silent = fake_converter(tmp_path, "exit 0")
    (tmp_path / "m.mindir").write_text("of before")
    with pytest.raises(DataError, match=r"did not convert .*\(exit code 0\): it said nothing"):
        convert_for_lite(tiny_export.path, tmp_path / "m.mindir", silent)
    assert (tmp_path / "m.mindir").read_text() == "of before"
    assert not list(tmp_path.glob(".*")), "nothing is left of either"


def test_bad_arguments(tiny_export, tmp_path, capsys):
    with pytest.raises(
        ConfigError, match=r"the converter .* does not exist; build it with .*build\.sh"
    ):
        convert_for_lite(tiny_export.path, tmp_path / "m.mindir", tmp_path / "nothing")
    with pytest.raises(ConfigError, match=r"must be named \.mindir"):
        convert_for_lite(tiny_export.path, tmp_path / "m.bin", "true")
    arguments = ["--mindir_path", str(tiny_export.path), "--converter", "/bin/true"]
    with pytest.raises(SystemExit, match="2"):
        main(["to-lite", *arguments, "--out", str(tmp_path / "m.mindir"), "--batch", "0"])
    assert "--batch: expected 1 or more, got 0" in capsys.readouterr().err


def test_real_converter(tiny_export, programs, tmp_path, capsys):
    out = tmp_path / "m.mindir"
    arguments = ["--mindir_path", str(tiny_export.path), "--converter", str(programs / "convert")]
    assert main(["to-lite", *arguments, "--out", str(out), "--batch", "3"]) == 0
    assert mind_ir_version(out) == 1
    assert os.access(out, os.R_OK | os.W_OK)
