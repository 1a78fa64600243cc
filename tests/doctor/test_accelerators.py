"""What is said of CPU, GPU and Ascend, from made-up machines."""

import pytest

from mtn_core.doctor import accelerators
from mtn_core.doctor.accelerators import check_ascend, check_cpu, check_gpu

WORKS = {
    "sum": 12.0,
    "devices": {"GPU": (0, ""), "Ascend": (0, "")},
    "plugins": ["libmindspore_gpu.so.11.6"],
}


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Nothing but a processor."""
    for name in ("CUDA_HOME", "ASCEND_TOOLKIT_HOME", "ASCEND_HOME_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(accelerators, "DEVICES", tmp_path / "dev")
    (tmp_path / "dev").mkdir()
    monkeypatch.setattr(accelerators.shutil, "which", lambda name: None)
    monkeypatch.setattr(accelerators, "_installed_wheels", list)
    monkeypatch.setattr(accelerators, "_why_not", lambda library: f"{library}: no such file")
    monkeypatch.setattr(accelerators, "_is_installed", lambda name: False)
    return tmp_path


def test_the_cpu_must_compute():
    assert check_cpu(WORKS).state == "ok"
    assert check_cpu({"error": "no module"}).lacks == ("MindSpore",)
    assert "summed to 11" in check_cpu(WORKS | {"sum": 11}).lacks[0]
    assert "SIGFPE" in check_cpu({"broken": "SIGFPE"}).lacks[0]


def test_a_machine_without_a_gpu(machine):
    finding = check_gpu(WORKS)
    assert finding.state == "missing"
    assert finding.lacks[0].startswith("NVIDIA's driver: libcuda.so.1")
    assert finding.lacks[1].startswith("CUDA 11")
    assert finding.mend[-1] == "bash scripts/install.sh gpu"


def test_a_driver_without_libraries_needs_the_installation_alone(machine, monkeypatch):
    monkeypatch.setattr(accelerators, "_why_not", lambda library: "")
    finding = check_gpu(WORKS)
    assert finding.lacks == ("CUDA 11: neither its wheels nor CUDA_HOME",)
    assert finding.mend == ("bash scripts/install.sh gpu",)


def test_what_mindspore_says_is_passed_on_when_all_seems_there(machine, monkeypatch):
    monkeypatch.setattr(accelerators, "_why_not", lambda library: "")
    monkeypatch.setattr(accelerators, "_installed_wheels", lambda: ["nvidia-cudnn-cu11"])
    facts = WORKS | {"devices": {"GPU": (0, "cudaGetDeviceCount failed [35]")}}
    assert check_gpu(facts).lacks == ("MindSpore says: cudaGetDeviceCount failed [35]",)
    assert check_gpu(WORKS | {"devices": {"GPU": (2, "")}}).state == "ok"


def test_a_machine_without_ascend(machine):
    finding = check_ascend(WORKS)
    assert finding.state == "missing" and len(finding.lacks) == 3
    assert "npu-smi" in finding.mend[0]
    assert f"install CANN, then: source {accelerators.CANN}" in finding.mend


def test_ascend_without_its_environment(machine, monkeypatch):
    (machine / "dev" / "davinci0").touch()
    (machine / "dev" / "davinci_manager").touch()
    script = machine / "set_env.sh"
    script.touch()
    monkeypatch.setattr(accelerators, "CANN", script)
    monkeypatch.setattr(accelerators, "_is_installed", lambda name: True)
    finding = check_ascend(WORKS)
    assert finding.found == "davinci0"
    assert finding.mend == (f"source {script}",)
    assert check_ascend(WORKS | {"devices": {"Ascend": (8, "")}}).state == "ok"
