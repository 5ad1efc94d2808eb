"""Facts about `restora doctor`."""

from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from restora import doctor
from restora.artifact import read_artifact
from restora.backends import CpuOptions
from restora.backends.ncnn.module import VulkanDevice
from restora.backends.trial import TrialResult, new_trial, write_trial
from restora.cli.doctor import findings_table
from restora.doctor import Finding, can_restore, choose_by_findings, examine
from restora.models import DEFAULT_MODEL, find_artifact


def test_extras_in_advice_keep_their_brackets() -> None:
    console = Console(width=120, record=True, file=StringIO())
    advice = "pip install 'restora[export]'"
    console.print(findings_table([Finding("export", "missing", "no torch [yet]", advice)]))
    text = console.export_text()
    assert advice in text
    assert "no torch [yet]" in text


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", none)
    for name in ("HOME", "XDG_CACHE_HOME", "RESTORA_MODELS", "RESTORA_PLANS"):
        monkeypatch.delenv(name, raising=False)
    found = {finding.what: finding for finding in examine()}
    assert (found["model folder"].state, found["model folder"].advice) == (
        "failed",
        "set RESTORA_MODELS",
    )
    assert found["default model"].state == "ok"
    for what in ("face model", "face detector"):
        assert "None" not in found[what].advice


def test_ncnn_is_listed_with_its_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    devices = [
        VulkanDevice(0, "Radeon", software=False),
        VulkanDevice(1, "lavapipe", software=True),
    ]
    monkeypatch.setattr(doctor, "find_devices", lambda _: devices)
    monkeypatch.setattr(doctor, "import_ncnn", lambda: SimpleNamespace(__version__="1.2"))
    (found,) = (finding for finding in doctor.examine() if finding.what == "ncnn session")
    assert found.detail == "ncnn 1.2, with Vulkan on 0: Radeon, 1: lavapipe (software)"


def findings(**states: str) -> list[Finding]:
    """All four backends missing, and the bundled model running, but for what is given."""
    found = dict.fromkeys(("TensorRT", "CUDA", "OpenVINO", "CPU"), "missing") | states
    backends = [
        Finding(f"{name} session", state, f"{name} is {state}")  # type: ignore[arg-type]
        for name, state in found.items()
    ]
    return [*backends, Finding("default model", "ok", "runs")]


@pytest.mark.parametrize(
    ("states", "backend"),
    [
        ({"CPU": "ok"}, "cpu"),
        ({"CPU": "ok", "CUDA": "ok"}, "cuda"),
        ({"CPU": "ok", "OpenVINO": "ok"}, "cpu"),  # without bf16 it is no faster
        ({"CUDA": "ok", "TensorRT": "ok"}, "tensorrt"),
    ],
)
def test_the_fastest_backend_that_starts_is_chosen(states: dict[str, str], backend: str) -> None:
    assert choose_by_findings(findings(**states)).detail.startswith(f"photos run on {backend}")


def test_openvino_is_chosen_for_its_bf16() -> None:
    found = findings(CPU="ok")
    found[2] = Finding("OpenVINO session", "ok", "runs in bf16")
    assert choose_by_findings(found).detail.startswith("photos run on openvino, not on tensorrt: ")


def test_what_a_trial_found_is_chosen_behind_nvidia_gpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = choose_by_findings(findings(CPU="ok", OpenVINO="ok"), "ncnn")
    assert chosen.detail == (
        "photos run on ncnn, as `restora tune` found, not on tensorrt: TensorRT is missing; "
        "cuda: CUDA is missing"
    )
    cuda = choose_by_findings(findings(CPU="ok", CUDA="ok"), "ncnn")
    assert cuda.detail.startswith("photos run on cuda")
    monkeypatch.setenv("RESTORA_TRIALS", str(tmp_path))
    artifact = read_artifact(find_artifact(DEFAULT_MODEL, "uint8"))
    result = TrialResult("cpu", "fp32", 1.0)
    write_trial(new_trial(artifact, CpuOptions(), side=64, results=[result]))
    (found,) = (finding for finding in examine() if finding.what == "auto")
    assert found.detail.startswith("photos run on cpu, as `restora tune` found")


def test_a_machine_without_any_backend_is_told_so() -> None:
    chosen = choose_by_findings(findings())
    assert (chosen.state, chosen.what) == ("failed", "auto")
    assert "CPU is missing" in chosen.detail


def test_photos_can_be_restored_with_the_bundled_model_on_the_cpu() -> None:
    assert can_restore(findings(CPU="ok"))
    assert not can_restore(findings(CUDA="ok"))
    failed = Finding("default model", "failed", "")
    assert not can_restore([*findings(CPU="ok")[:-1], failed])
