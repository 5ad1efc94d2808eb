"""Facts about the check of a GPU machine: every stage runs, on doubles and with PyTorch's CPU."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuda_bindings_double import FakeDriver, FakeNvrtc
from pycuda_double import FakeCuda
from restora.backends import SessionOptions, open_session
from restora.errors import MissingBackendError
from restora_tools import gpu_check
from restora_tools.gpu.machine import Modules, read_state
from restora_tools.gpu.places import Places
from restora_tools.gpu.subjects import SUBJECTS, TINY, choose_subjects
from tensorrt_double import VERSIONS, FakeTensorRT

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder after the stage `prepare`."""
    folder = tmp_path_factory.mktemp("gpu")
    arguments = ["--out", str(folder), "--subjects", "tiny", "--stage", "prepare", "--half"]
    assert gpu_check.main(arguments) == 0
    return folder


def modules_for(prepared: Path, version: str) -> Modules:
    trt, cuda = FakeTensorRT(version), FakeCuda()
    trt.world.cuda = cuda
    artifact = prepared / "artifacts" / "tiny.onnx"
    trt.world.network = open_session(artifact, options=SessionOptions(backend="cpu")).run
    return Modules(trt, cuda, FakeDriver(cuda), FakeNvrtc())


@pytest.fixture(params=VERSIONS)
def machine(
    request: pytest.FixtureRequest, prepared: Path, tmp_path: Path, monkeypatch: Any
) -> tuple[Modules, Path]:
    """A GPU made of doubles, and a folder of its own with the prepared artifacts."""
    modules = modules_for(prepared, request.param)
    monkeypatch.setattr(gpu_check, "import_modules", lambda: modules)
    (tmp_path / "artifacts").symlink_to(prepared / "artifacts")
    return modules, tmp_path


def run_stage(folder: Path, *words: str) -> int:
    chosen = [] if "--precisions" in words else ["--precisions", "fp16,fp32"]
    return gpu_check.main(["--out", str(folder), "--subjects", "tiny", *chosen, *words])


def test_all_stages_together_prove_a_machine(
    machine: tuple[Modules, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    modules, folder = machine
    assert run_stage(folder, "--device", "cpu") == 0
    result = json.loads((folder / "gpu.json").read_text())
    assert result["gpu"]["name"] == "NVIDIA Double"
    assert {row["gate"] for row in result["build"]} == {"passed"}
    assert len(result["build"]) == 4
    checks = {row["check"] for row in result["verify"]}
    assert "tiles joined on the device are those of the CPU" in checks
    assert all(row["passed"] for row in result["verify"])
    assert [line["precision"] for line in result["lines"]] == ["fp16", "fp32"]
    for line in result["lines"]:
        assert line["psnr_mean"] > 60
        assert line["end_to_end_share"] > 0
        assert set(line["against"]) >= {"eager PyTorch FP32"}
    ways = {row["way"]: row for row in result["peers"]}
    assert ways["eager PyTorch FP32"]["psnr_mean"] > 60
    assert "error" in ways["ONNX Runtime CUDA FP32"]
    assert modules.cuda.live == 0
    assert modules.cuda.retained == 1
    assert run_stage(folder, "--stage", "report") == 0
    assert json.loads((folder / "gpu.json").read_text())["gpu"] == result["gpu"]


def test_int8_is_built_where_there_is_an_artifact_of_it(machine: tuple[Modules, Path]) -> None:
    _, folder = machine
    words = ("--precisions", "fp32,int8")
    assert run_stage(folder, *words, "--stage", "prepare") == 0
    assert (folder / "artifacts" / "tiny.int8.onnx").exists()
    assert run_stage(folder, *words, "--stage", "build") == 0
    asked = [row["asked"] for row in Places(folder).rows("build")]
    assert asked == ["fp32", "fp32", "int8", "int8"]
    assert run_stage(folder, *words, "--stage", "verify") == 0
    (folder / "artifacts" / "tiny.int8.onnx").unlink()
    subject = choose_subjects("tiny")[0]
    assert Places(folder).offered(subject, ["fp32", "int8"]) == ["fp32"]


def test_a_stage_goes_on_where_it_stopped(machine: tuple[Modules, Path]) -> None:
    modules, folder = machine
    assert run_stage(folder, "--stage", "build", "--budget", "-1") == 3
    assert modules.trt.world.builds == []
    assert run_stage(folder, "--stage", "build") == 0
    builds = len(modules.trt.world.builds)
    assert run_stage(folder, "--stage", "build") == 0
    assert len(modules.trt.world.builds) == builds


def test_what_fails_is_a_row_and_not_the_end(machine: tuple[Modules, Path]) -> None:
    modules, folder = machine
    modules.trt.world.fail = lambda _build: "no tactic for this layer"
    assert run_stage(folder, "--stage", "build") == 1
    rows = Places(folder).rows("build")
    assert len(rows) == 2
    assert all("no tactic for this layer" in row["error"] for row in rows)
    assert run_stage(folder, "--stage", "verify") == 1
    assert run_stage(folder, "--stage", "speed") == 0
    assert all("error" in row for row in Places(folder).rows("speed"))
    assert run_stage(folder, "--stage", "report") == 0


def test_a_wrong_result_is_found(machine: tuple[Modules, Path]) -> None:
    modules, folder = machine
    assert run_stage(folder, "--stage", "build") == 0
    right, calls = modules.trt.world.network, []

    def moody(image: np.ndarray) -> np.ndarray:
        calls.append(1)
        answer = right(image).astype(np.int64)
        return answer + (len(calls) % 5 == 0) * 40

    modules.trt.world.network = moody
    assert run_stage(folder, "--stage", "verify") == 1
    failed = [row for row in Places(folder).rows("verify") if not row["passed"]]
    assert failed
    assert "levels at most" in failed[0]["detail"]


def test_without_a_gpu_the_stages_say_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> Modules:
        raise MissingBackendError("TensorRT is not installed")

    monkeypatch.setattr(gpu_check, "import_modules", refuse)
    assert run_stage(tmp_path, "--stage", "build") == 1
    assert "build: skipped: TensorRT is not installed" in capsys.readouterr().out


def test_the_tensorrt_stages_run_with_numpy_opencv_onnx_tensorrt_and_pycuda_alone(
    prepared: Path, tmp_path: Path
) -> None:
    """In a checkout where nothing is installed; any other import fails."""
    (tmp_path / "artifacts").symlink_to(prepared / "artifacts")
    path = ":".join(str(ROOT / name) for name in ("engine", "benchmarks", "tools", "tests"))
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "bare_machine.py"), str(tmp_path)],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": path, "PATH": "", "HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert "tiny, fp32: 6 checks, all hold" in done.stdout
    result = json.loads((tmp_path / "gpu.json").read_text())
    assert [line["precision"] for line in result["lines"]] == ["fp32"]
    assert "error" not in result["lines"][0]


def test_subjects_are_chosen_by_name() -> None:
    assert choose_subjects("all") == SUBJECTS
    assert choose_subjects("tiny") == TINY
    with pytest.raises(SystemExit, match="unknown subjects: nothing"):
        choose_subjects("nothing")


def test_without_nvml_the_state_is_empty() -> None:
    assert read_state() == {} or "error" in read_state() or "celsius" in read_state()
