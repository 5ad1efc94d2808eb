"""Facts about running an artifact on the CPU."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from fakes import tiny_artifact
from restora.artifact import Artifact
from restora.backends import CpuOptions, SessionOptions, cores, open_session
from restora.backends.onnxruntime_cpu import OnnxRuntimeCpuSession
from restora.errors import (
    MissingBackendError,
    NonFiniteOutputError,
    SessionError,
    ShapeError,
)


def test_a_session_keeps_shape_and_type(tiny_x2: Artifact) -> None:
    session = open_session(tiny_x2)
    batch = np.full((3, 4, 6, 3), 200, np.uint8)
    result = session.run(batch)
    assert result.shape == (3, 8, 12, 3)
    assert result.dtype == np.uint8
    assert result[0, 4, 4, 0] == 200


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (np.zeros((1, 4, 4, 3), np.float32), "takes uint8 pictures, got float32"),
        (np.zeros((4, 4, 3), np.uint8), r"shape \(batch, height, width, 3\)"),
        (np.zeros((1, 4, 4, 1), np.uint8), r"got \(1, 4, 4, 1\)"),
        (np.zeros((1, 0, 4, 3), np.uint8), "no empty side"),
        (np.zeros((1, 5, 4, 3), np.uint8), "multiples of 2, got 5 x 4"),
    ],
)
def test_a_batch_laid_out_otherwise_is_refused(
    tiny_x2: Artifact, batch: np.ndarray, message: str
) -> None:
    with pytest.raises(ShapeError, match=message):
        open_session(tiny_x2).run(batch)


@pytest.mark.parametrize("gain", [float("nan"), float("inf"), 1e38])
@pytest.mark.parametrize("io", ["uint8", "float32"])
def test_nan_and_inf_are_an_error_even_when_the_picture_is_uint8(gain: float, io: str) -> None:
    session = OnnxRuntimeCpuSession(tiny_artifact(io=io, gain=gain))  # type: ignore[arg-type]
    batch = np.full((2, 4, 4, 3), 255, io)
    if gain == 1e38 and io == "float32":
        batch *= 4  # 255 * 1e38 * 4 is past float32
    with pytest.raises(NonFiniteOutputError, match="returned NaN or Inf"):
        session.run(batch)


def test_eight_threads_on_one_session_never_mix_pictures(tiny_x2: Artifact) -> None:
    session = open_session(tiny_x2, options=SessionOptions(cpu=CpuOptions(threads=1)))
    rng = np.random.default_rng(0)
    batches = [rng.integers(0, 256, (1, 2 * (i % 7 + 1), 8, 3), np.uint8) for i in range(100)]
    expected = [session.run(batch) for batch in batches]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(session.run, batches))
    assert all(np.array_equal(a, b) for a, b in zip(expected, results, strict=True))


def test_a_closed_session_says_so(tiny_x2: Artifact) -> None:
    session = open_session(tiny_x2)
    session.close()
    with pytest.raises(SessionError, match="closed"):
        session.run(np.zeros((1, 2, 2, 3), np.uint8))


def test_a_graph_that_onnx_runtime_cannot_load_is_a_session_error(tiny_x2: Artifact) -> None:
    broken = tiny_x2.onnx.replace(b"Transpose", b"Transmute")
    with pytest.raises(SessionError, match="cannot load tiny"):
        OnnxRuntimeCpuSession(Artifact(tiny_x2.info, broken))


def test_every_setting_still_gives_the_same_picture(tiny_x2: Artifact) -> None:
    batch = np.random.default_rng(1).integers(0, 256, (1, 8, 8, 3), np.uint8)
    expected = open_session(tiny_x2).run(batch)
    for options in (
        CpuOptions(threads=1, spinning=True),
        CpuOptions(memory_arena=False),
        CpuOptions(memory_pattern=True),
        CpuOptions(arm64_bf16=True),
    ):
        assert np.array_equal(
            open_session(tiny_x2, options=SessionOptions(cpu=options)).run(batch), expected
        )


@pytest.mark.parametrize(
    ("version", "options", "spins"),
    [
        ("1.25.3", CpuOptions(), ("0", "200")),
        ("1.26.0", CpuOptions(), ("1", "200")),
        ("2.0.0", CpuOptions(), ("1", "200")),
        ("1.26.0", CpuOptions(spinning=True), ("1", None)),
    ],
)
def test_idle_threads_wait_briefly_where_onnx_runtime_can_limit_that(
    version: str,
    options: CpuOptions,
    spins: tuple[str, str | None],
    tiny_x2: Artifact,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(onnxruntime, "__version__", version)
    entries: dict[str, str] = {}

    class Options(onnxruntime.SessionOptions):  # type: ignore[misc]
        def add_session_config_entry(self, name: str, value: str) -> None:
            entries[name] = value
            super().add_session_config_entry(name, value)

    monkeypatch.setattr(onnxruntime, "SessionOptions", Options)
    OnnxRuntimeCpuSession(tiny_x2, options).close()
    found = (
        entries.get(f"session.intra_op.{name}") for name in ("allow_spinning", "spin_duration_us")
    )
    assert tuple(found) == spins


def test_without_onnx_runtime_the_error_says_what_to_install(
    tiny_x2: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "restora.backends.onnxruntime_cpu", raising=False)
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.delitem(sys.modules, "restora.backends.openvino_cpu", raising=False)
    with pytest.raises(MissingBackendError, match=r"pip install 'restora\[cpu\]'"):
        open_session(tiny_x2)


def test_a_container_quota_limits_the_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quota = tmp_path / "cpu.max"
    monkeypatch.setattr(cores, "_CGROUP_V2", quota)
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda _: set(range(8)))
    for text, expected in (("150000 100000", 2), ("max 100000", 8), ("10000 100000", 1)):
        quota.write_text(text)
        assert cores.count_allowed_cores() == expected
