"""Facts about trials: what they measure, when they hold, and that "auto" follows them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fakes import make_info, open_on_cpu, tiny_artifact, with_selfcheck
from processes import run
from restora.artifact import Artifact, SelfCheck, read_artifact
from restora.backends import (
    CpuOptions,
    OpenedSession,
    SessionOptions,
    choose_session,
    cores,
    trial,
    tune,
)
from restora.backends.base import Batch, SizeLimits
from restora.backends.trial import TrialResult, new_trial, order_backends, read_trial, write_trial
from restora.errors import (
    AccuracyGateError,
    MissingBackendError,
    OptionError,
    OutputError,
    RestoraError,
)
from restora.models import DEFAULT_MODEL, find_artifact

LITE = find_artifact(DEFAULT_MODEL, "uint8")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RESTORA_TRIALS", str(tmp_path / "trials"))
    return tmp_path / "trials"


def artifact() -> Artifact:
    image = np.random.default_rng(0).integers(0, 200, (1, 16, 24, 3), np.uint8)
    answer = open_on_cpu(tiny_artifact()).run(image)
    return with_selfcheck(tiny_artifact(), SelfCheck(image, answer))


def keep(*results: tuple[str, str, float], cpu: CpuOptions | None = None) -> Path:
    made = [TrialResult(*result) for result in results]  # type: ignore[arg-type]
    return write_trial(new_trial(artifact(), cpu or CpuOptions(), side=64, results=made))


def order(**options: Any) -> list[tuple[str, str]]:
    asked = order_backends(artifact(), SessionOptions(**options))
    return [(backend, given.precision) for backend, given in asked]


def test_without_a_trial_the_rule_of_thumb_holds() -> None:
    rule = ["tensorrt", "cuda", "openvino", "cpu"]
    assert order() == [(backend, "auto") for backend in rule]


def test_the_fastest_of_a_trial_goes_first_behind_nvidia_gpus() -> None:
    keep(("cpu", "fp32", 3.0), ("ncnn", "fp32", 2.0), ("openvino", "bf16", 2.5))
    assert order() == [
        ("tensorrt", "auto"),
        ("cuda", "auto"),
        ("ncnn", "fp32"),
        ("openvino", "bf16"),
        ("cpu", "fp32"),
        ("openvino", "auto"),
        ("cpu", "auto"),
    ]


def test_a_trial_obeys_the_device_and_the_precision() -> None:
    keep(("ncnn-vulkan", "fp16", 1.0), ("ncnn", "fp32", 2.0), ("openvino", "bf16", 2.5))
    assert order(device="cpu")[:2] == [("ncnn", "fp32"), ("openvino", "bf16")]
    assert order(device="cpu", precision="bf16")[0] == ("openvino", "bf16")
    assert order(device="gpu") == [
        ("tensorrt", "auto"), ("cuda", "auto"), ("ncnn-vulkan", "fp16"),
    ]  # fmt: skip


def test_auto_opens_what_was_fastest_and_passes_its_self_check(tmp_path: Path) -> None:
    pytest.importorskip("ncnn")
    path = tmp_path / "tiny.onnx"
    path.write_bytes(artifact().onnx)
    cpu = SessionOptions(device="cpu")
    assert choose_session(path, options=cpu).backend != "ncnn"
    keep(("cpu", "fp32", 3.0), ("ncnn", "fp32", 2.0))
    assert choose_session(path, options=cpu).backend == "ncnn"


def test_a_trial_holds_for_this_artifact_these_threads_and_these_versions_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keep(("cpu", "fp32", 3.0), cpu=CpuOptions(threads=3))
    three = CpuOptions(threads=3)
    assert read_trial(artifact(), three) is not None
    assert read_trial(artifact(), CpuOptions(threads=4)) is None
    assert read_trial(tiny_artifact(scale=4), three) is None
    with monkeypatch.context() as patch:
        patch.setattr(trial, "version", lambda _: "0.0.1")
        assert read_trial(artifact(), three) is None
    monkeypatch.setattr(trial, "name_cpu", lambda: "another CPU")
    assert read_trial(artifact(), three) is None


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"format": 1}', '{"results": [{"backend": "abacus"}]}', "\udcff"],
)
def test_a_damaged_trial_is_ignored_with_a_warning(
    text: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = keep(("ncnn", "fp32", 1.0))
    path.write_bytes(os.fsencode(text))
    assert order()[0] == ("tensorrt", "auto")
    assert order()[2] == ("openvino", "auto")
    assert "is ignored" in caplog.text


@pytest.mark.parametrize(
    ("name", "value"), [("seconds", -1), ("backend", "auto"), ("precision", 3)]
)
def test_a_trial_with_a_wrong_value_is_ignored(name: str, value: object) -> None:
    path = keep(("ncnn", "fp32", 1.0))
    content = json.loads(path.read_text())
    content["results"][0][name] = value
    path.write_text(json.dumps(content))
    assert read_trial(artifact(), CpuOptions()) is None


def test_without_trials_choosing_a_backend_imports_nothing_of_them(tmp_path: Path) -> None:
    code = "import sys; from restora.backends import choose_session, SessionOptions\n"
    code += "choose_session(sys.argv[1], options=SessionOptions(device='cpu'))\n"
    code += "print('restora.backends.trial' in sys.modules)"
    for folder, imported in ((tmp_path / "none", "False"), (tmp_path, "True")):
        done = subprocess.run(
            [sys.executable, "-c", code, str(LITE)],
            env={**os.environ, "RESTORA_TRIALS": str(folder)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == imported


def test_a_trial_that_cannot_be_kept_is_an_output_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write_bytes(b"")
    with pytest.raises(OutputError, match="cannot be made"):
        keep(("cpu", "fp32", 1.0))
    monkeypatch.setattr(trial, "trial_folder", lambda: None)
    with pytest.raises(OutputError, match="set RESTORA_TRIALS"):
        keep(("cpu", "fp32", 1.0))
    assert read_trial(artifact(), CpuOptions()) is None


class Clock:
    """Moves when a session runs."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class TimedSession:
    """Takes its times in turn, the last one again and again."""

    def __init__(self, clock: Clock, times: list[float]) -> None:
        self.info = make_info(size_multiple=2)
        self.limits = SizeLimits(multiple=2)
        self.clock, self.times = clock, times
        self.shapes: list[tuple[int, ...]] = []
        self.closed = False

    def run(self, batch: Batch) -> Batch:
        self.clock.now += self.times[min(len(self.shapes), len(self.times) - 1)]
        self.shapes.append(batch.shape)
        return batch.repeat(2, axis=1).repeat(2, axis=2)

    def close(self) -> None:
        self.closed = True


@contextmanager
def sessions(
    monkeypatch: pytest.MonkeyPatch, **given: TimedSession | RestoraError
) -> Iterator[Callable[..., Any]]:
    """Each by its backend and precision, such as cpu_fp32; all others are not installed."""

    def choose(_path: Path, *, options: SessionOptions) -> OpenedSession:
        found = given.get(f"{options.backend}_{options.precision}")
        if not isinstance(found, TimedSession):
            raise found or MissingBackendError("not installed")
        return OpenedSession(found, options.backend, options.precision)  # type: ignore[arg-type]

    monkeypatch.setattr(tune, "choose_session", choose)
    monkeypatch.setattr(tune, "_PAUSE_S", 0)
    yield tune.tune
    assert all(session.closed for session in given.values() if isinstance(session, TimedSession))


def test_a_trial_compares_medians_of_turns_without_the_first_run(
    monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(artifact().onnx)
    clock, notes = Clock(), []
    slow = TimedSession(clock, [0.1, 4.0])
    # its first run and one other are slow
    fast = TimedSession(clock, [90.0, 2.0, 2.0, 50.0, 2.0])
    refused = AccuracyGateError("42 dB")
    with sessions(monkeypatch, cpu_fp32=slow, ncnn_fp32=fast, openvino_bf16=refused) as measure:
        made = measure(path, side=65, report=notes.append, clock=clock)
    megapixels = 64 * 64 / 1e6
    assert made.results == (
        TrialResult("ncnn", "fp32", 2.0 / megapixels),
        TrialResult("cpu", "fp32", 4.0 / megapixels),
    )
    assert set(slow.shapes) == set(fast.shapes) == {(1, 64, 64, 3)}
    # enough time was measured after the fewest turns
    assert len(slow.shapes) == len(fast.shapes) == 4
    assert "openvino in bf16: 42 dB" in notes
    assert "openvino in fp32: not installed" in notes
    assert read_trial(read_artifact(path), CpuOptions()) == made
    assert [path.name in notes[-1] for path in folder.iterdir()] == [True]


def test_what_is_close_to_the_fastest_of_its_precision_runs_on_larger_tiles_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As of those of a photo: the order may be another one there."""
    clock = Clock()
    small, large = 128 * 128 / 1e6, 256 * 256 / 1e6
    given = {
        "cpu_fp32": TimedSession(clock, [5.0] * 4 + [12.0]),
        "ncnn_fp32": TimedSession(clock, [4.0] * 4 + [24.0]),
        "openvino_fp32": TimedSession(clock, [5.3]),
        "openvino_bf16": TimedSession(clock, [3.9] * 4 + [8.0]),
    }
    with sessions(monkeypatch, **given) as measure:
        made = measure(LITE, clock=clock)
    assert made.side == 256
    assert [(r.backend, r.precision, r.seconds) for r in made.results] == [
        ("openvino", "bf16", pytest.approx(8.0 / large)),
        ("cpu", "fp32", pytest.approx(12.0 / large)),
        ("openvino", "fp32", pytest.approx(5.3 / small)),
        ("ncnn", "fp32", pytest.approx(24.0 / large)),
    ]
    assert {shape[1] for shape in given["openvino_fp32"].shapes} == {128}


def test_a_backend_whose_small_tiles_overlap_more_counts_as_slower(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    lean, greedy = TimedSession(clock, [1.1]), TimedSession(clock, [1.0])
    area = {id(lean): 1.1, id(greedy): 1.5}
    with sessions(monkeypatch, cpu_fp32=lean, ncnn_fp32=greedy) as measure:
        made = measure(LITE, side=100, area=lambda session: area[id(session)], clock=clock)
    assert [(result.backend, result.seconds) for result in made.results] == [
        ("cpu", pytest.approx(1.1 * 1.1 / 0.01)),
        ("ncnn", pytest.approx(1.5 / 0.01)),
    ]


def test_fast_networks_take_more_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    fast = TimedSession(clock, [0.001])
    with sessions(monkeypatch, cpu_fp32=fast) as measure:
        measure(LITE, clock=clock)
    assert [shape[1] for shape in fast.shapes] == [128] * 16 + [256] * 16


def test_options_limit_what_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, notes = Clock(), []
    only = TimedSession(clock, [1.0])
    with sessions(monkeypatch, openvino_bf16=only, cpu_fp32=TimedSession(clock, [1.0])) as measure:
        options = SessionOptions(precision="bf16", device="cpu")
        tune_results = measure(LITE, options, report=notes.append, clock=clock).results
        tune_names = [(result.backend, result.precision) for result in tune_results]
        assert tune_names == [("openvino", "bf16")]
        assert [note.partition(":")[0] for note in notes[:-1]] == ["ncnn in bf16"]
        measure(LITE, clock=clock)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        (SessionOptions(backend="cpu"), OptionError, "takes the backend 'auto'"),
        (SessionOptions(precision="int8"), MissingBackendError, "in the precision int8"),
    ],
)
def test_a_trial_of_nothing_is_an_error(
    options: SessionOptions, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        tune.tune(LITE, options)


def test_a_trial_takes_networks_of_pictures_in_fp32(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="got restora-lite-x2: upsampler, int8"):
        tune.tune(LITE.with_name("restora-lite-x2.int8.onnx"))
    path = tmp_path / "other.onnx"
    path.write_bytes(tiny_artifact(kind="detector").onnx)
    with pytest.raises(OptionError, match="tiny: detector"):
        tune.tune(path)
    with pytest.raises(OptionError, match="side must be at least 2, got 1"):
        tune._choose_sides(make_info(), 1)
    assert tune._choose_sides(replace(make_info(), side=64), None) == [64]


def test_a_gpu_that_computes_on_the_cpu_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    from restora.backends.ncnn import module

    software = module.VulkanDevice(0, "lavapipe", software=True)
    monkeypatch.setattr(module, "import_ncnn", lambda: None)
    monkeypatch.setattr(module, "choose_device", lambda *_: software)
    clock, notes = Clock(), []
    with sessions(monkeypatch, cpu_fp32=TimedSession(clock, [1.0])) as measure:
        measure(LITE, report=notes.append, clock=clock)
    assert "ncnn-vulkan in fp16: lavapipe computes on the CPU" in notes


def test_the_command_shows_the_trial(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clock = Clock()
    with sessions(monkeypatch, cpu_fp32=TimedSession(clock, [1.0])):
        done = run(tmp_path, "tune", "restora-lite-x2", "--json", "--threads", "3")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["threads"] == 3
    assert [row["backend"] for row in shown["results"]] == ["cpu"]
    monkeypatch.setattr("restora.backends.tune.choose_session", choose_session)
    done = run(tmp_path, "tune", "nothing")
    assert done.returncode == 5, done.stderr


def test_the_cpu_has_a_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    listed = tmp_path / "cpuinfo"
    listed.write_text("processor\t: 0\nmodel name\t: A CPU\x07 9\nmodel name\t: A CPU 9\n")
    monkeypatch.setattr(cores, "_CPU_INFO", listed)
    assert cores.name_cpu() == "A CPU 9"
    listed.unlink()
    assert cores.name_cpu()
