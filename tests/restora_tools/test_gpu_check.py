"""Facts about the check of a GPU machine: every stage runs, on doubles and with PyTorch's CPU."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tensorrt_double
from cuda_bindings_double import FakeDriver, FakeNvrtc
from gpu_artifacts import put_artifacts
from pycuda_double import FakeCuda
from restora.backends import SessionOptions, open_session
from restora.backends.cuda_packages import CudaPart
from restora.backends.tensorrt.session import TensorRTSession
from restora.errors import MissingBackendError
from restora_tools import gpu_check
from restora_tools.gpu import checks, device_check, sessions
from restora_tools.gpu.build import build
from restora_tools.gpu.effort import QUICK
from restora_tools.gpu.job import Job
from restora_tools.gpu.machine import Modules
from restora_tools.gpu.places import Places
from restora_tools.gpu.report import make_table, merge
from restora_tools.gpu.run_step import Settings, run_step
from restora_tools.gpu.speed import measure
from restora_tools.gpu.states import State, StateName, write_state
from restora_tools.gpu.steps import Step, choose_steps, find_step
from restora_tools.gpu.sweep import sweep
from restora_tools.gpu.verdicts import make_verdicts
from tensorrt_double import VERSIONS, FakeTensorRT

ROOT = Path(__file__).parents[2]
TINY = [
    step
    for step in choose_steps(["device", "ceiling", "*:tiny:*"])
    if step.kind not in ("compiled", "onnxruntime", "ort-tensorrt")  # as in test_peers
]
DUMP = {
    "Layers": [
        {"Name": "conv_first + PRelu_1", "LayerType": "CaskConvolution", "TacticName": "sm90_a"},
        {"Name": "Reformatting CopyNode for Input Tensor 0", "LayerType": "Reformat"},
    ]
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Places:
    """A folder after the stage `prepare`."""
    places = Places(tmp_path_factory.mktemp("gpu"))
    put_artifacts(places)
    return places


class Machine:
    """A GPU made of doubles, and a folder of its own with the prepared artifacts."""

    def __init__(self, prepared: Places, folder: Path, version: str) -> None:
        trt, cuda = FakeTensorRT(version), FakeCuda()
        trt.world.cuda = cuda
        network = open_session(prepared.artifact(TINY_SUBJECT), options=SessionOptions("cpu"))
        trt.world.network = network.run
        self.modules = Modules(trt, cuda, FakeDriver(cuda), FakeNvrtc())
        self.places = Places(folder)
        self.said: list[str] = []
        (folder / "artifacts").symlink_to(prepared.root / "artifacts")

    @property
    def world(self) -> Any:
        return self.modules.trt.world

    def run(self, step: Step | str, **words: Any) -> StateName:
        """Run a step until it is not left, and note its state."""
        step = find_step(step) if isinstance(step, str) else step
        settings = Settings(effort=QUICK, modules=lambda: self.modules, torch_device="cpu", **words)
        state: StateName = "left"
        while state == "left":
            state = run_step(step, self.places, self.said.append, settings)
        write_state(self.places, State(step.name, state, self.said[-1]))
        return state

    def run_all(self, steps: Sequence[str]) -> list[StateName]:
        return [self.run(step) for step in steps]

    def rows(self, stage: str) -> list[dict[str, Any]]:
        return self.places.rows(stage)


TINY_SUBJECT = gpu_check.TINY


@pytest.fixture(params=VERSIONS)
def machine(
    request: pytest.FixtureRequest, prepared: Places, tmp_path: Path, monkeypatch: Any
) -> Machine:
    give_inspector(monkeypatch)
    return Machine(prepared, tmp_path, request.param)


@pytest.fixture
def newest(prepared: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """One version is enough where the versions do not differ."""
    give_inspector(monkeypatch)
    return Machine(prepared, tmp_path, VERSIONS[-1])


def give_inspector(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the double's engines have layers, and report a time for each."""

    def execute(trt: Any, context: Any, stream_handle: int) -> bool:
        profiler = context._set.get("profiler")
        if profiler is not None:
            for layer in DUMP["Layers"]:
                profiler.report_layer_time(layer["Name"], 0.5)
        done: bool = real(trt, context, stream_handle)
        return done

    behaviors = tensorrt_double.BEHAVIORS
    real = behaviors["IExecutionContext", "execute_async_v3"]
    monkeypatch.setitem(behaviors, ("IExecutionContext", "execute_async_v3"), execute)
    for key, give in {
        ("ICudaEngine", "create_engine_inspector"): lambda trt, _engine: trt.EngineInspector(),
        ("EngineInspector", "get_engine_information"): lambda *_: json.dumps(DUMP) + "\0",
    }.items():
        monkeypatch.setitem(behaviors, key, give)


def test_all_steps_together_prove_a_machine(machine: Machine) -> None:
    for step in TINY:
        assert machine.run(step) == "done", (step.name, machine.said[-5:])
    for stage in ("ceiling", "peers"):  # as if PyTorch had run on that GPU
        file = machine.places.root / "rows" / f"{stage}.json"
        file.write_text(file.read_text().replace("CPU, for trying out", "NVIDIA Double"))
    result = merge(machine.places, TINY)
    rows = [row for rows in result.values() if isinstance(rows, list) for row in rows]
    cards = {row["card"] for row in rows if "at" in row}
    assert cards == {"NVIDIA Double"}
    must = [verdict for verdict in result["verdicts"] if verdict["must"]]
    outcomes = {verdict["statement"]: verdict["outcome"] for verdict in must}
    assert set(outcomes.values()) <= {"holds", "not measured"}
    for statement in (
        "the kernels for tiles compile for this GPU",
        "tiny fp16: CUDA graphs are captured and used",
        "tiny fp16: tiles are blended on the GPU",
        "tiny fp16: seams are blended as on the CPU",
        "tiny fp16: a session runs while another one captures",
        "tiny fp16: it is timed through CUDA graphs",
    ):
        assert outcomes[statement] == "holds", statement
    for line in result["lines"]:
        assert line["psnr_mean"] > 60
        assert line["graphs_launched"] > 0
        assert line["card"] == "NVIDIA Double"
        assert set(line["against"]) == {"eager PyTorch FP32", "eager PyTorch FP16 channels_last"}
    assert {line["precision"]: line["mfu"] for line in result["lines"]}.keys() == {"fp16", "fp32"}
    (photo,) = result["photos"]
    assert photo["computed_share"] >= 1
    assert photo["device_share"] > 0
    assert photo["blended_on_gpu"] == photo["photos"]
    assert (photo["plain_runs"], photo["results_copied"]) == (0, 0)
    assert photo["gpu_state"]["not_measured"]
    assert {(row["batch"], row["side"]) for row in result["sweep"]} == {(2, 32), (1, 48), (3, 32)}
    assert result["layers"][0]["copies_time_share"] == 0.5
    assert "tiny" in make_table(result)
    gc.collect()  # results in pinned memory go with their last reference
    assert machine.modules.cuda.live == 0


def test_figures_of_two_cards_are_not_divided(newest: Machine) -> None:
    newest.run_all(["ceiling", "peers:tiny:eager", "build:tiny:fp32", "speed:tiny:fp32"])
    (line,) = merge(newest.places, TINY)["lines"]
    assert "mfu" not in line
    assert line["mfu_not_measured"] == "there is no ceiling of fp32 on NVIDIA Double: run ceiling"
    assert line["against"] == {}


def test_a_network_is_built_one_plan_a_call_and_each_once(machine: Machine) -> None:
    settings = Settings(modules=lambda: machine.modules)
    step = find_step("build:tiny:fp32")
    states = [run_step(step, machine.places, print, settings) for _ in range(3)]
    assert states == ["left", "done", "done"]
    assert len(machine.world.builds) == 2
    profiles = [row["profile"] for row in machine.rows("build")]
    assert profiles == ["1x8x8 to 1x64x64", "2x32x32"]


def test_a_build_over_its_budget_says_so_and_keeps_what_it_timed(newest: Machine) -> None:
    assert newest.run("build:tiny:fp32", budget_s=-1) == "over budget"
    (row,) = newest.rows("build")
    assert row["error"] == "over its budget of -1 s"
    assert list(newest.places.plans.glob("*.timing"))
    assert newest.run("build:tiny:fp32") == "done"


def test_fp16_that_fails_its_gate_is_not_replaced_by_fp32(machine: Machine) -> None:
    right = machine.world.network
    machine.world.network = lambda image: 255 - right(image).astype(np.int64)
    assert machine.run("build:tiny:fp16") == "failed"
    assert "fails its gate" in machine.said[-1]
    assert len(machine.world.builds) == 1
    assert machine.run("speed:tiny:fp16") == "failed"
    assert "run build:tiny:fp16" in machine.said[-1]
    assert machine.rows("speed") == []
    machine.world.network = right
    assert machine.run("build:tiny:fp16") == "failed"  # it is remembered
    assert machine.run("build:tiny:fp16", retry=True) == "done"


def test_speed_is_that_of_the_plan_for_all_sizes_until_the_other_one_is_built(
    newest: Machine,
) -> None:
    subject = replace(TINY_SUBJECT, batch=1)
    job = Job(newest.modules, newest.places, subject, "fp32", newest.said.append)
    plans = []
    for state in ("left", "done"):
        assert build(job, budget_s=60) == state
        assert measure(job, effort=QUICK) == "done"
        plans += [row["plan"] for row in newest.rows("speed")]
    assert plans == ["1x8x8 to 1x64x64", "1x32x32"]


def test_int8_is_judged_by_its_own_gate(newest: Machine) -> None:
    """45 dB pass the gate of INT8 (40 dB), and would fail the one of FP16."""
    step = Step("build", "tiny", "int8")
    assert newest.run(Step("prepare", "tiny", "int8")) == "done"
    assert newest.run(step) == newest.run("build:tiny:fp32") == "done"
    right = newest.world.network

    def a_little_off(image: np.ndarray) -> np.ndarray:
        answer: np.ndarray = right(image).astype(np.int64)
        return answer + np.where(np.indices(answer.shape).sum(0) % 2, 2, -1)

    newest.world.network = a_little_off
    newest.run(Step("verify", "tiny", "int8"))
    passed = {row["check"]: row["passed"] for row in newest.rows("verify")}
    assert passed["it passes its gate"] is True
    assert passed["tiles joined on the device are near the CPU's"] is True
    newest.run("verify:tiny:fp32")
    row = next(
        row
        for row in newest.rows("verify")
        if row["precision"] == "fp32" and row["check"] == "it passes its gate"
    )
    assert row["passed"] is False


def test_without_the_blend_kernel_the_check_fails(newest: Machine) -> None:
    newest.modules = Modules(
        newest.modules.trt,
        newest.modules.cuda,
        newest.modules.driver,
        None,
        ("no cuda-bindings here",),
    )
    assert newest.run("device") == "failed"
    failed = [row for row in newest.rows("loads") if not row["passed"]]
    assert newest.said[-1].startswith("the kernels for tiles compile for this GPU: FAILS")
    assert {row["detail"] for row in failed} == {"no cuda-bindings here"}
    assert len(failed) == 2
    assert newest.run_all(["build:tiny:fp32", "verify:tiny:fp32"]) == ["done", "failed"]
    assert "tiles are blended on the GPU" in newest.said[-1]
    assert newest.run_all(["speed:tiny:fp32"]) == ["done"]
    newest.run("build:tiny:fp16")
    newest.run("speed:tiny:fp16")
    assert newest.run("photos:tiny:fp16") == "failed"


def test_photos_are_measured_after_batches(newest: Machine) -> None:
    newest.run("build:tiny:fp16")
    assert newest.run("photos:tiny:fp16") == "failed"
    assert newest.said[-1] == "PlanError: run speed:tiny:fp16 first"


def test_packages_of_two_cuda_versions_are_told_and_do_not_fail(
    newest: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = [CudaPart("TensorRT", 12, None), CudaPart("PyCUDA", 13, 0)]
    monkeypatch.setattr(device_check, "find_cuda_parts", lambda: parts)
    assert newest.run("device") == "done"
    (verdict,) = (v for v in make_verdicts(newest.places, TINY) if "one CUDA" in v.statement)
    assert (verdict.outcome, verdict.must) == ("FAILS", False)
    assert "packages of different CUDA versions" in verdict.detail


def test_a_tensorrt_that_does_not_start_fails(
    newest: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_logger: Any) -> Any:
        raise TypeError("pybind11::init(): factory function returned nullptr")

    newest.modules.trt._made["Builder"] = refuse
    assert newest.run("device") == "failed"
    assert "does not start CUDA" in newest.said[-1]


def test_without_a_captured_graph_the_check_fails(newest: Machine) -> None:
    newest.run("build:tiny:fp32")
    newest.modules.driver.capture_fails = True
    assert newest.run("verify:tiny:fp32") == "failed"
    assert "CUDA graphs are captured and used" in newest.said[-1]
    assert newest.run("speed:tiny:fp32") == "failed"
    assert "NO GRAPHS" in newest.said[-1]
    (row,) = newest.rows("speed")
    assert row["no_graphs"]
    assert row["device_ms"] > 0


def test_a_session_that_uses_graphs_anyway_proves_nothing_about_them(
    newest: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = sessions.open_session
    monkeypatch.setattr(checks, "open_session", lambda job, graphs=True: real(job))
    newest.run("build:tiny:fp32")
    assert newest.run("verify:tiny:fp32") == "failed"
    failed = [row["check"] for row in newest.rows("verify") if row["passed"] is False]
    assert failed == ["graphs change nothing"]


def test_a_tile_that_no_plan_can_check_is_not_measured(newest: Machine) -> None:
    subject = replace(TINY_SUBJECT, sweep=((1, 96),))
    job = Job(newest.modules, newest.places, subject, "fp32", newest.said.append)
    newest.run("build:tiny:fp32")
    while sweep(job, budget_s=60, effort=QUICK) == "left":
        pass
    row = next(row for row in newest.rows("sweep") if row["side"] == 96)
    assert row["not_measured"] == "the plan that checks it takes tiles of at most 64"


def test_a_wrong_result_is_found(newest: Machine) -> None:
    newest.run("build:tiny:fp32")
    right, calls = newest.world.network, []

    def moody(image: np.ndarray) -> np.ndarray:
        calls.append(1)
        answer: np.ndarray = right(image).astype(np.int64)
        return answer + (len(calls) % 5 == 0) * 40

    newest.world.network = moody
    assert newest.run("verify:tiny:fp32") == "failed"
    failed = [row for row in newest.rows("verify") if row["passed"] is False]
    assert any("levels at most" in row["detail"] for row in failed)


def test_one_wrong_column_at_a_seam_is_found(
    newest: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is too little for the gate of the precision."""
    real = TensorRTSession.run_tiles

    def blend_otherwise(session: TensorRTSession, image: Any, **words: Any) -> Any:
        result = real(session, image, **words).copy()
        result[:, result.shape[1] // 2] ^= 2
        return result

    monkeypatch.setattr(TensorRTSession, "run_tiles", blend_otherwise)
    assert newest.run_all(["build:tiny:fp16", "verify:tiny:fp16"]) == ["done", "failed"]
    failed = [row["check"] for row in newest.rows("verify") if row["passed"] is False]
    assert failed == ["seams are blended as on the CPU"]


def test_memory_that_closing_does_not_free_is_found(
    newest: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = newest.modules.open_device()
    real = TensorRTSession.close

    def close_and_leak(session: TensorRTSession) -> None:
        real(session)
        with device.current():
            newest.modules.cuda.mem_alloc(4096)

    monkeypatch.setattr(TensorRTSession, "close", close_and_leak)
    monkeypatch.setattr(checks, "LEAK_BYTES", 3 * 4096 - 1)
    assert newest.run_all(["build:tiny:fp32", "verify:tiny:fp32"]) == ["done", "failed"]
    failed = [row["check"] for row in newest.rows("verify") if row["passed"] is False]
    assert failed == ["closing frees everything"]


def test_a_folder_never_mixes_two_cards(newest: Machine) -> None:
    assert newest.run("device") == "done"
    newest.places.add_rows("device", [{"name": "NVIDIA Other"}], key=("name",))
    for step in ("device", "build:tiny:fp32"):
        assert newest.run(step) == "skipped"
        assert "holds results of NVIDIA Other" in newest.said[-1]


def test_a_check_that_was_not_made_is_no_pass(newest: Machine) -> None:
    newest.run_all(["build:tiny:fp16", "verify:tiny:fp16"])
    check = next(r for r in newest.rows("verify") if "near the FP32 plan" in r["check"])
    assert check["passed"] is None
    assert "run build:tiny:fp32" in check["detail"]
    verdicts = make_verdicts(newest.places, [find_step("speed:tiny:fp16")])
    assert [(v.outcome, v.detail) for v in verdicts] == [("not measured", "it has not run")]


def test_the_fp32_plan_is_compared_with_those_that_were_built_before_it(newest: Machine) -> None:
    newest.run_all(["build:tiny:fp16", "build:tiny:fp32", "verify:tiny:fp32"])
    check = next(r for r in newest.rows("verify") if r["check"].startswith("the fp16 plan"))
    assert check["passed"] is True


def test_what_is_not_on_a_machine_is_skipped_with_its_reason(
    tmp_path: Path, newest: Machine
) -> None:
    def refuse() -> Modules:
        raise MissingBackendError("TensorRT is not installed")

    said: list[str] = []
    places = Places(tmp_path / "empty")
    step = find_step("build:tiny:fp32")
    assert run_step(step, places, said.append, Settings(modules=refuse)) == "skipped"
    settings = Settings(modules=lambda: newest.modules)
    assert run_step(step, places, said.append, settings) == "skipped"
    assert run_step(find_step("ceiling"), places, said.append) == "skipped"
    assert said[0] == "TensorRT is not installed"
    assert "tiny.onnx" in said[1]
    assert said[2] == "PyTorch sees no GPU here"


def test_the_command_reports_what_fails_and_writes_it_beside_other_results(
    newest: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    newest.run_all(["device", "build:tiny:fp32"])
    newest.modules.driver.capture_fails = True
    newest.run("speed:tiny:fp32")
    results = newest.places.root / "results"
    words = ["--out", str(newest.places.root), "--results", str(results)]
    assert gpu_check.main(["report", "speed:tiny:fp32", *words]) == 1
    said = capsys.readouterr().out
    assert "FAILS: tiny fp32: it is timed through CUDA graphs" in said
    result = json.loads((results / "gpu.json").read_text())
    assert result["gpu"]["name"] == "NVIDIA Double"
    assert result["lines"][0]["card"] == "NVIDIA Double"
    assert gpu_check.main(["report", "build:tiny:fp32", *words]) == 0
    assert gpu_check.main(["status", "build:tiny", *words]) == 3
    assert "1 of 2 steps are left" in capsys.readouterr().out


def test_results_without_a_gpu_are_not_written_beside_others(tmp_path: Path) -> None:
    results = tmp_path / "results"
    words = ["--out", str(tmp_path / "out"), "--results", str(results)]
    assert gpu_check.main(["report", *words]) == 3
    assert not results.exists()


def test_an_unknown_step_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu_check.main(["run", "nothing", "--out", str(tmp_path)]) == 2
    assert "no step is named 'nothing'" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["tensorrt", "torch"])
def test_the_steps_run_in_interpreters_with_little_else(
    prepared: Places, tmp_path: Path, kind: str
) -> None:
    """NumPy, OpenCV, ONNX, TensorRT and PyCUDA for those of TensorRT, NumPy and PyTorch for the
    others, in a checkout where nothing is installed; any other import fails."""
    (tmp_path / "artifacts").symlink_to(prepared.root / "artifacts")
    path = ":".join(
        str(ROOT / name) for name in ("engine", "export", "benchmarks", "tools", "tests")
    )
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "bare_machine.py"), str(tmp_path), kind],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": path, "PATH": "", "HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    if kind == "tensorrt":
        result = merge(Places(tmp_path), TINY)
        assert [line["precision"] for line in result["lines"]] == ["fp16"]
        assert not [v for v in result["verdicts"] if v["must"] and v["outcome"] == "FAILS"]
