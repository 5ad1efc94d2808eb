"""Facts about ncnn sessions: the pictures of ONNX Runtime, behind the self-check."""

from __future__ import annotations

import logging
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from damage_fakes import MAGENTA, detector_artifact, gray_picture
from export_cache import kept
from fakes import make_info, open_on_cpu, tiny_artifact, with_selfcheck
from restora.artifact import Artifact, SelfCheck, artifact_from_bytes, read_artifact
from restora.artifact.tensors import HIDDEN_LEVEL, SEEN_LEVEL
from restora.backends import CpuOptions, SessionOptions
from restora.backends.ncnn.module import choose_device, find_devices, import_ncnn
from restora.backends.ncnn.net import Arithmetic
from restora.backends.ncnn.open import open_on_cpu as open_ncnn
from restora.backends.ncnn.open import open_on_vulkan
from restora.backends.ncnn.session import NcnnSession
from restora.errors import (
    AccuracyGateError,
    DeviceMemoryError,
    MissingBackendError,
    NonFiniteOutputError,
    SessionError,
    ShapeError,
)
from restora.models import DEFAULT_MODEL, find_artifact

if TYPE_CHECKING:
    from restora.artifact import Io, Kind

ncnn = pytest.importorskip("ncnn")


@cache
def has_vulkan() -> bool:
    return bool(find_devices(ncnn))


@pytest.fixture
def vulkan() -> None:
    if not has_vulkan():
        pytest.skip("no Vulkan device")


def lite(io: Io = "uint8") -> Artifact:
    return read_artifact(find_artifact(DEFAULT_MODEL, io))


def exported(name: str) -> Artifact:
    """A tiny random network of each form, exported as the published ones are."""

    def export() -> bytes:
        from recipe import fill_network
        from restora_export.onnx_file import onnx_bytes, onnx_from_network
        from restora_export.reference import RRDBNet, SRVGGNetCompact

        network = {
            "rrdb-x4": RRDBNet(4, 8, 4, 1),
            "rrdb-x2": RRDBNet(2, 8, 4, 1),
            "srvgg-prelu": SRVGGNetCompact(4, 8, 2, "prelu"),
            "srvgg-relu": SRVGGNetCompact(3, 8, 1, "relu"),
        }[name]
        fill_network(network, 3, name.partition("-")[0])
        info = make_info(
            scale=network.scale, size_multiple=network.size_multiple, elements_per_pixel=128.0
        )
        return onnx_bytes(onnx_from_network(network.eval(), io="uint8"), info)

    return artifact_from_bytes(kept(name, export))


def checked(answer_off_by: int = 0) -> Artifact:
    image = np.random.default_rng(0).integers(0, 200, (2, 16, 24, 3), np.uint8)
    answer = open_on_cpu(tiny_artifact()).run(image) + np.uint8(answer_off_by)
    return with_selfcheck(tiny_artifact(), SelfCheck(image, answer))


def picture(artifact: Artifact, *shape: int) -> np.ndarray[Any, Any]:
    values = np.random.default_rng(1).random((*shape, 3), np.float32)
    return (values * 255).astype(np.uint8) if artifact.info.io == "uint8" else values


@pytest.mark.parametrize(
    "name",
    ["rrdb-x4", pytest.param("rrdb-x2", marks=pytest.mark.slow), "srvgg-prelu", "srvgg-relu"],
)
def test_exported_networks_give_the_pictures_of_onnx_runtime(name: str) -> None:
    artifact = exported(name)
    batch = picture(artifact, 2, 12, 20)
    expected = open_on_cpu(artifact).run(batch)
    assert expected.std() > 5
    got = NcnnSession(artifact).run(batch)
    assert got.dtype == np.uint8
    assert np.abs(got.astype(int) - expected).max() <= 1  # values near .5 round either way


def test_rrdbnet_runs_in_two_parts_of_one_network_in_less_memory() -> None:
    whole, cut = NcnnSession(tiny_artifact()), NcnnSession(exported("rrdb-x4"))
    assert whole.limits.bytes_per_call == 0
    assert cut.limits.bytes_per_call > 0
    batch = picture(exported("rrdb-x4"), 2, 150, 20)
    expected = open_on_cpu(exported("rrdb-x4")).run(batch)
    assert np.abs(cut.run(batch).astype(int) - expected).max() <= 1


@pytest.mark.parametrize("io", ["uint8", "float32"])
def test_the_bundled_model_passes_its_self_check_and_gives_the_pictures_of_onnx_runtime(
    io: Io,
) -> None:
    session = open_ncnn(lite(io), SessionOptions())
    assert session.precision == "fp32"
    batch = picture(lite(io), 2, 24, 36)
    difference = np.abs(session.run(batch).astype(float) - open_on_cpu(lite(io)).run(batch))
    # a Winograd convolution in FP32 rounds in the fifth digit
    assert difference.max() <= (1 if io == "uint8" else 1e-4)
    assert (difference == 0).mean() > 0.99 or io == "float32"


def damage_batch(kind: Kind, side: int) -> np.ndarray[Any, Any]:
    """A smooth picture with noise and a bright line; for a repairer, with a mask of that line: the
    color of its left half counts."""
    rng = np.random.default_rng(3)
    waves = 120 + 60 * np.sin(np.arange(side) / 9)[:, None] * np.cos(np.arange(side) / 13)
    pixels = np.clip(waves[..., None] + rng.normal(0, 4, (side, side, 3)), 0, 255)
    mask = np.zeros((side, side, 1), bool)
    mask[side // 2 - 1 : side // 2 + 2, 6:-6] = True
    pixels[mask[..., 0]] = 240
    batch = pixels.astype(np.uint8)[None]
    masks = np.where(mask, HIDDEN_LEVEL, 0).astype(np.uint8)[None]
    masks[:, :, : side // 2] = np.where(mask[:, : side // 2], SEEN_LEVEL, 0)
    return np.concatenate((batch, masks), 3) if kind == "repairer" else batch


DAMAGE: dict[Kind, str] = {"damage-detector": "restora-damage", "repairer": "restora-repair"}


@pytest.mark.parametrize("kind", DAMAGE)
def test_networks_for_damage_give_the_masks_and_the_pictures_of_onnx_runtime(kind: Kind) -> None:
    artifact = read_artifact(find_artifact(DAMAGE[kind], "uint8", kind))
    batch = damage_batch(kind, 96)
    expected = open_on_cpu(artifact).run(batch)
    exact = open_ncnn(artifact, SessionOptions()).run(batch)
    assert exact.shape == expected.shape
    assert expected.std() > 5
    assert np.abs(exact.astype(int) - expected).max() <= 1
    rounded = open_ncnn(artifact, SessionOptions(precision="bf16")).run(batch)
    assert 0 < np.abs(rounded.astype(int) - expected).max() < 30
    if kind == "repairer":
        outside = batch[..., 3] == 0
        assert np.array_equal(rounded[outside], batch[..., :3][outside])
        assert rounded[~outside].max() < 235  # the line is gone


@pytest.mark.usefixtures("vulkan")
@pytest.mark.parametrize("kind", DAMAGE)
def test_vulkan_runs_networks_for_damage(kind: Kind) -> None:
    artifact = read_artifact(find_artifact(DAMAGE[kind], "uint8", kind))
    batch = damage_batch(kind, 64)
    session = open_on_vulkan(artifact, SessionOptions(precision="fp32"))
    assert np.abs(session.run(batch).astype(int) - open_on_cpu(artifact).run(batch)).max() <= 1
    session.close()


def test_a_detector_without_a_sigmoid_gives_its_clipped_planes() -> None:
    batch = gray_picture(16, 24)[None].copy()
    batch[0, 4:8] = MAGENTA
    got = NcnnSession(detector_artifact()).run(batch)
    assert np.array_equal(got, open_on_cpu(detector_artifact()).run(batch))
    assert got.shape == (1, 16, 24, 1)


def test_bf16_differs_a_little_and_passes_its_gate() -> None:
    exact, rounded = (
        open_ncnn(lite("float32"), SessionOptions(precision=precision))
        for precision in ("fp32", "bf16")
    )
    assert rounded.precision == "bf16"
    batch = picture(lite("float32"), 1, 24, 36)
    difference = np.abs(exact.run(batch) - rounded.run(batch)).max()
    assert 1e-4 < difference < 0.1


@pytest.mark.parametrize(("precision", "off_by"), [("auto", 1), ("fp32", 1), ("bf16", 9)])
def test_a_self_check_that_fails_refuses_the_session(precision: Any, off_by: int) -> None:
    open_ncnn(checked(), SessionOptions(precision=precision))
    with pytest.raises(AccuracyGateError, match="tiny must reach a PSNR of"):
        open_ncnn(checked(off_by), SessionOptions(precision=precision))
    with pytest.raises(AccuracyGateError, match="no self-check"):
        open_ncnn(tiny_artifact(), SessionOptions(precision=precision))


def test_a_precision_that_would_silently_be_another_is_refused() -> None:
    with pytest.raises(MissingBackendError, match="fp32, fp16 or bf16, not in int8"):
        open_ncnn(checked(), SessionOptions(precision="int8"))
    if not ncnn.cpu_support_arm_asimdhp():
        with pytest.raises(MissingBackendError, match="ARM CPUs"):
            open_ncnn(checked(), SessionOptions(precision="fp16"))


def test_wrong_batches_nan_and_closed_sessions_are_errors() -> None:
    session = NcnnSession(tiny_artifact(), CpuOptions(threads=1))
    with pytest.raises(ShapeError, match="multiples of 2"):
        session.run(np.zeros((1, 7, 8, 3), np.uint8))
    for io in ("uint8", "float32"):
        broken = NcnnSession(tiny_artifact(io=io, gain=float("nan")))  # type: ignore[arg-type]
        with pytest.raises(NonFiniteOutputError):
            broken.run(np.ones((1, 8, 8, 3), io))
    session.close()
    with pytest.raises(SessionError, match="is closed"):
        session.run(np.zeros((1, 8, 8, 3), np.uint8))


def test_threads_share_a_session_and_results_stay() -> None:
    session = NcnnSession(tiny_artifact(), CpuOptions(threads=1))
    batches = [np.full((2, 8 + 2 * n, 8, 3), 10 * n, np.uint8) for n in range(12)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(session.run, batches))
    for number, result in enumerate(results):
        assert result.shape == (2, 16 + 4 * number, 16, 3)
        assert abs(int(result[1, 8, 8, 0]) - 10 * number) <= 1


class FailingNcnn:
    """The module, whose networks return these codes."""

    __version__ = "1.2"

    def __init__(self, *, param: int = 0, model: int = 0, extract: int = 0) -> None:
        self._codes = param, model, extract
        self.Mat = lambda array: SimpleNamespace(clone=lambda: array)

    def Net(self) -> Any:  # noqa: N802
        param, model, extract = self._codes
        extractor = SimpleNamespace(input=lambda *_: 0, extract=lambda _: (extract, None))
        return SimpleNamespace(
            opt=SimpleNamespace(),
            load_param_mem=lambda _: param,
            load_model=lambda _: model,
            create_extractor=lambda: extractor,
        )


@pytest.mark.parametrize(
    ("codes", "kind", "message"),
    [
        ({"param": -1}, SessionError, "ncnn 1.2 cannot load tiny: its layers"),
        ({"model": -1}, SessionError, "ncnn 1.2 cannot load tiny: its weights"),
        ({"extract": -100}, DeviceMemoryError, "a tile of 8 x 10: use smaller tiles"),
        ({"extract": -1}, SessionError, "ncnn 1.2 failed on tiny with input .*: code -1"),
    ],
)
def test_what_ncnn_refuses_is_a_session_error(
    codes: dict[str, int],
    kind: type[SessionError],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("restora.backends.ncnn.session.import_ncnn", lambda: FailingNcnn(**codes))
    with pytest.raises(SessionError, match=message) as caught:
        NcnnSession(tiny_artifact()).run(np.zeros((1, 8, 10, 3), np.uint8))
    assert type(caught.value) is kind


@pytest.mark.usefixtures("vulkan")
@pytest.mark.parametrize("io", ["uint8", "float32"])
def test_vulkan_in_fp32_gives_the_pictures_of_onnx_runtime(io: Io) -> None:
    session = open_on_vulkan(lite(io), SessionOptions(precision="fp32"))
    batch = picture(lite(io), 1, 24, 36)
    difference = np.abs(session.run(batch).astype(float) - open_on_cpu(lite(io)).run(batch))
    assert difference.max() <= (1 if io == "uint8" else 1e-4)
    session.close()


@pytest.mark.usefixtures("vulkan")
def test_vulkan_takes_images_whose_planes_are_not_aligned() -> None:
    """ncnn aligns planes to 16 bytes; those of a view of an array follow each other at once."""
    artifact = exported("srvgg-relu")
    batch = picture(artifact, 1, 15, 5)
    device = choose_device(ncnn, None)
    got = NcnnSession(artifact, device=device).run(batch)
    assert np.abs(got.astype(int) - open_on_cpu(artifact).run(batch)).max() <= 1


@pytest.mark.usefixtures("vulkan")
def test_vulkan_computes_in_fp16_if_the_self_check_passes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO):
        session = open_on_vulkan(lite("float32"), SessionOptions())
        # neither FP16 nor FP32 reaches the gate against an answer that is 9 levels off
        with pytest.raises(AccuracyGateError, match="in fp32 it reaches"):
            open_on_vulkan(checked(9), SessionOptions())
    assert "not in fp16 with FP16 arithmetic" in caplog.text
    assert session.precision == "fp16"
    assert "in fp16" in caplog.text
    batch = picture(lite("float32"), 1, 24, 36)
    difference = np.abs(session.run(batch) - open_on_cpu(lite("float32")).run(batch)).max()
    assert 1e-4 < difference < 0.1


@pytest.mark.usefixtures("vulkan")
def test_a_vulkan_device_that_is_not_there_is_an_error() -> None:
    with pytest.raises(MissingBackendError, match="there is no Vulkan device 200, only 0: "):
        choose_device(ncnn, 200)


def test_without_a_vulkan_device_nothing_runs_on_the_cpu_instead() -> None:
    absent = SimpleNamespace(get_gpu_count=lambda: 0)
    with pytest.raises(MissingBackendError, match="there is no Vulkan device: install"):
        choose_device(absent, None)


def test_without_ncnn_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ncnn", None)
    with pytest.raises(MissingBackendError, match=r"pip install 'restora\[ncnn\]'"):
        NcnnSession(tiny_artifact())


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ({}, (None, "100000")),
        ({"OMP_WAIT_POLICY": "PASSIVE"}, ("PASSIVE", None)),
        ({"GOMP_SPINCOUNT": "7"}, (None, "7")),
    ],
)
def test_idle_threads_wait_briefly_unless_the_user_says_otherwise(
    given: dict[str, str],
    seen: tuple[str | None, str | None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """OpenMP reads its environment when it is loaded."""
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    tmp_path.joinpath("ncnn.py").write_text(
        f"import os; seen = tuple(os.environ.get(name) for name in {names})"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "ncnn")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert import_ncnn().seen == seen
    assert tuple(os.environ.get(name) for name in names) == tuple(map(given.get, names))


def test_half_arithmetic_is_described() -> None:
    assert Arithmetic("fp16", half=True).describe() == "fp16 with FP16 arithmetic"
