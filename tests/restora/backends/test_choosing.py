"""Which backend a model gets, and the reasons why other backends are not used."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest

from cuda_bindings_double import FakeDriver, FakeNvrtc
from fakes import NearestSession, open_on_cpu, tiny_artifact, with_selfcheck
from pycuda_double import FakeCuda
from restora.artifact import Artifact, SelfCheck
from restora.backends import PlanOptions, SessionOptions, choose_session, onnxruntime_cuda
from restora.backends import choose as opening
from restora.backends import driver as driver_module
from restora.backends.onnxruntime_cuda import OnnxRuntimeCudaSession
from restora.backends.tensorrt import open as plans
from restora.backends.tensorrt.cuda import Device, start_driver
from restora.errors import (
    DeviceLostError,
    DeviceMemoryError,
    MissingBackendError,
    MissingModelError,
    OptionError,
    SessionError,
)
from restora.image import Photo
from restora.options import RestoreOptions
from restora.pipeline import Restorer
from restora.tiling import Tiling
from restora.upsample import Upsampler
from tensorrt_double import VERSIONS, FakeTensorRT

NO_DRIVER = "no NVIDIA driver: libcuda is not on this machine"
CPU = SessionOptions(backend="cpu")


@pytest.fixture
def no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise MissingBackendError(NO_DRIVER)

    for module in (driver_module, plans):
        monkeypatch.setattr(module, "require_driver", refuse)

    def none(*_: Any) -> Any:
        raise MissingBackendError("the test has none")

    monkeypatch.setitem(opening._OPENERS, "openvino", none)


def checked(precision: str = "fp32") -> Artifact:
    artifact = tiny_artifact(precision=precision)
    image = np.random.default_rng(0).integers(0, 256, (2, 16, 24, 3), np.uint8)
    session = choose_session(tiny_artifact(), options=CPU).session
    return with_selfcheck(artifact, SelfCheck(image, session.run(image)))


class World:
    """A machine with a GPU, made of doubles."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, version: str, tmp_path: Path) -> None:
        self.cuda = FakeCuda()
        self.trt = FakeTensorRT(version)
        self.trt.world.cuda = self.cuda
        self.trt.world.network = choose_session(tiny_artifact(), options=CPU).session.run
        driver = FakeDriver(self.cuda)
        monkeypatch.setenv("RESTORA_PLANS", str(tmp_path / "plans"))
        for module in (driver_module, plans):
            monkeypatch.setattr(module, "require_driver", lambda: None)
        monkeypatch.setattr(plans, "import_tensorrt", lambda: self.trt)
        monkeypatch.setattr(plans, "import_pycuda", lambda: self.cuda)
        monkeypatch.setattr(plans, "import_driver", lambda: driver)
        monkeypatch.setattr(plans, "import_nvrtc", FakeNvrtc)


@pytest.fixture(params=VERSIONS)
def gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    return World(monkeypatch, request.param, tmp_path)


def files(folder: Path, precisions: Sequence[str]) -> Path:
    """NAME.onnx and its neighbors."""
    for precision in precisions:
        name = "tiny.onnx" if precision == "fp32" else f"tiny.{precision}.onnx"
        (folder / name).write_bytes(checked(precision).onnx)
    return folder / "tiny.onnx"


SMALL = PlanOptions(tile=32, batches=(1, 2), max_tile=64)


@pytest.mark.usefixtures("no_driver")
def test_without_a_gpu_the_cpu_is_chosen_and_it_is_said_why() -> None:
    opened = choose_session(tiny_artifact())
    assert opened.backend == "cpu"
    assert opened.describe() == "tiny runs on cpu in fp32"
    assert opened.describe_choice() == (
        f"tiny runs on cpu in fp32 (tensorrt, cuda: {NO_DRIVER}; openvino: the test has none)"
    )


@pytest.mark.usefixtures("no_driver")
@pytest.mark.parametrize("backend", ["tensorrt", "cuda"])
def test_an_asked_backend_never_gives_way(backend: Any) -> None:
    with pytest.raises(MissingBackendError, match="no NVIDIA driver"):
        choose_session(tiny_artifact(), options=SessionOptions(backend=backend))


@pytest.mark.usefixtures("no_driver")
def test_an_asked_gpu_rules_out_the_cpu() -> None:
    with pytest.raises(
        MissingBackendError,
        match=r"no backend that can run tiny works on this machine: install one with "
        r"pip install 'restora\[gpu\]'; tensorrt, cuda: no NVIDIA",
    ):
        choose_session(tiny_artifact(), options=SessionOptions(device="gpu"))
    with pytest.raises(OptionError, match="contradict each other"):
        SessionOptions(backend="cpu", device="gpu")
    with pytest.raises(OptionError, match=r"'gpu:N' with N in 0\.\.255, got 'gpu:-1'"):
        SessionOptions(device="gpu:-1")


@pytest.mark.usefixtures("no_driver")
def test_the_device_cpu_tries_no_gpu() -> None:
    opened = choose_session(tiny_artifact(), options=SessionOptions(device="cpu"))
    assert "tensorrt" not in opened.describe_choice()
    assert "cuda" not in opened.describe_choice()


def test_what_is_here_and_fails_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_args: Any) -> Any:
        raise SessionError("the GPU is on fire")

    monkeypatch.setitem(opening._OPENERS, "tensorrt", fail)
    monkeypatch.setitem(opening._OPENERS, "cuda", lambda *_: (NearestSession(), "fp32"))
    with caplog.at_level(logging.WARNING):
        opened = choose_session(tiny_artifact())
    assert opened.backend == "cuda"
    assert "tiny cannot run on tensorrt: the GPU is on fire" in caplog.text
    assert "(tensorrt: the GPU is on fire)" in opened.describe_choice()


def test_on_a_gpu_plans_are_built_once_and_run(
    gpu: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = files(tmp_path, ["fp32", "fp16"])
    with caplog.at_level(logging.WARNING):
        opened = choose_session(path, options=SessionOptions(plans=SMALL))
    assert opened.backend == "tensorrt"
    assert caplog.text.count("building tiny, fp16") == 3
    assert "fp16, for all sizes up to 64 x 64; this takes minutes, once for this GPU" in caplog.text
    assert "fp16, for 1 tile of 32 x 32; " in caplog.text
    assert "fp16, for 2 tiles of 32 x 32; " in caplog.text
    limits = opened.session.limits
    assert (limits.best_tiles, limits.best_batch, limits.max_tile) == (((32, 32),), 2, 64)
    batch = np.random.default_rng(1).integers(0, 256, (3, 32, 32, 3), np.uint8)
    assert np.array_equal(opened.session.run(batch), gpu.trt.world.network(batch))
    opened.session.close()
    caplog.clear()
    again = choose_session(path, options=SessionOptions(plans=SMALL)).session
    assert "building" not in caplog.text
    again.close()
    assert gpu.cuda.live == 0
    assert gpu.cuda.retained == 1


def test_plans_that_were_built_for_other_sizes_are_taken(gpu: World, tmp_path: Path) -> None:
    path = files(tmp_path, ["fp32", "fp16"])
    large = replace(SMALL, tile=48, batches=(3,), opt_level=1)
    choose_session(path, options=SessionOptions(plans=large)).session.close()
    builds = len(gpu.trt.world.builds)
    session = choose_session(
        path, options=SessionOptions(plans=PlanOptions(any_built=True))
    ).session
    assert (session.limits.best_tiles, session.limits.best_batch) == (((48, 48),), 3)
    assert len(gpu.trt.world.builds) == builds
    session.close()
    fp32 = SessionOptions(precision="fp32", plans=replace(SMALL, any_built=True))
    choose_session(path, options=fp32).session.close()
    assert len(gpu.trt.world.builds) > builds


def test_without_an_fp16_artifact_fp32_is_run_and_said(
    gpu: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        session = choose_session(
            files(tmp_path, ["fp32"]), options=SessionOptions(plans=SMALL)
        ).session
    if gpu.trt.__version__.startswith("8"):
        assert "building tiny, fp16" in caplog.text
    else:
        assert "tiny runs in fp32, several times slower than in fp16" in caplog.text
    session.close()


def test_a_failed_opening_gives_the_device_back(gpu: World, tmp_path: Path) -> None:
    gpu.trt.world.fail = lambda _build: "no memory for any tactic"
    with pytest.raises(Exception, match="no memory for any tactic"):
        choose_session(
            files(tmp_path, ["fp32"]), options=SessionOptions(backend="tensorrt", plans=SMALL)
        )
    assert gpu.cuda.retained == 1


def test_a_photo_is_restored_on_the_gpu_as_on_the_cpu(gpu: World, tmp_path: Path) -> None:
    path = files(tmp_path, ["fp32", "fp16"])
    photo = np.random.default_rng(2).integers(0, 256, (90, 70, 3), np.uint8)
    options = RestoreOptions(tile=32, batch=2, overlap=8)
    with Restorer(path, options=replace(options, backend="tensorrt")) as restorer:
        assert [n.describe() for n in restorer.networks] == ["tiny runs on tensorrt in fp16"]
        result = restorer.restore(photo).photo.pixels
    with closing(open_on_cpu(path)) as session:
        tiling = Tiling(size=32, overlap=8, batch=2, fixed=True)
        expected = Upsampler(session, tiling=tiling).upsample(Photo(photo)).pixels
    assert np.array_equal(result, expected)
    assert gpu.cuda.is_pinned(result)  # the GPU wrote to the very array that is encoded
    del result
    assert gpu.cuda.live == 0


def test_an_old_driver_is_told_from_none() -> None:
    cuda = FakeCuda()
    cuda.start_error = "CUDA driver version is insufficient for CUDA runtime version"
    with pytest.raises(MissingBackendError, match="the driver is too old for this CUDA"):
        start_driver(cuda)
    cuda.start_error = "no CUDA-capable device is detected"
    with pytest.raises(MissingBackendError, match="no GPU that this process may use"):
        start_driver(cuda)


class FakeOrt:
    """onnxruntime with a CUDA provider that computes on the CPU."""

    __version__ = "1.99"
    SessionOptions = onnxruntime.SessionOptions
    GraphOptimizationLevel = onnxruntime.GraphOptimizationLevel

    def __init__(self) -> None:
        self.available = ["CUDAExecutionProvider", "CPUExecutionProvider"]
        self.starts = True
        self.fails: str | None = None
        self.settings: dict[str, str] = {}
        self.OrtValue = SimpleNamespace(ortvalue_from_numpy=self._upload)

    def get_available_providers(self) -> list[str]:
        return self.available

    def _upload(self, array: np.ndarray, device: str, index: int) -> Any:
        assert (device, index) == ("cuda", 0)
        return array.copy()

    def InferenceSession(self, data: bytes, *, sess_options: Any, providers: Any) -> Any:  # noqa: N802
        ((name, self.settings),) = providers
        real = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        used = name if self.starts else "CPUExecutionProvider"
        return FakeOrtSession(self, real, used)


class FakeOrtSession:
    def __init__(self, ort: FakeOrt, real: Any, provider: str) -> None:
        self._ort, self._real, self._provider = ort, real, provider
        self.fallback = True

    def get_providers(self) -> list[str]:
        return [self._provider, "CPUExecutionProvider"]

    def disable_fallback(self) -> None:
        self.fallback = False

    def io_binding(self) -> Any:
        outputs: list[str] = []
        binding = SimpleNamespace(names=outputs)
        binding.bind_ortvalue_input = lambda name, value: setattr(binding, "feed", {name: value})
        binding.bind_output = lambda name, device, index: outputs.append(name)
        binding.get_outputs = lambda: binding.results
        return binding

    def run_with_iobinding(self, binding: Any) -> None:
        if self._ort.fails:
            raise RuntimeError(self._ort.fails)
        results = self._real.run(binding.names, binding.feed)
        binding.results = [SimpleNamespace(numpy=lambda r=result: r) for result in results]


@pytest.fixture
def ort(monkeypatch: pytest.MonkeyPatch) -> FakeOrt:
    fake = FakeOrt()
    monkeypatch.setattr(onnxruntime_cuda, "onnxruntime", fake)
    return fake


def test_the_cuda_session_gives_the_pictures_of_the_cpu(ort: FakeOrt) -> None:
    session = OnnxRuntimeCudaSession(tiny_artifact())
    batch = np.random.default_rng(0).integers(0, 256, (2, 16, 24, 3), np.uint8)
    expected = choose_session(tiny_artifact(), options=CPU).session.run(batch)
    assert np.array_equal(session.run(batch), expected)
    assert ort.settings["cudnn_conv_algo_search"] == "HEURISTIC"
    assert ort.settings["use_tf32"] == "0"
    session.close()
    with pytest.raises(SessionError, match="is closed"):
        session.run(batch)


def test_a_provider_that_is_listed_and_does_not_start_is_not_chosen(ort: FakeOrt) -> None:
    ort.starts = False
    with pytest.raises(MissingBackendError, match="is installed but does not start"):
        OnnxRuntimeCudaSession(tiny_artifact())
    ort.available = ["CPUExecutionProvider"]
    with pytest.raises(MissingBackendError, match="has no CUDA provider"):
        OnnxRuntimeCudaSession(tiny_artifact())
    ort.available = ["CUDAExecutionProvider"]
    ort.starts, ort.fails = True, "libcudnn.so.9 cannot be opened"
    with pytest.raises(MissingBackendError, match=r"does not run here: .*libcudnn"):
        OnnxRuntimeCudaSession(tiny_artifact())


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("Failed to allocate memory for requested buffer of size 123", DeviceMemoryError),
        ("CUDA failure 700: an illegal memory access was encountered", DeviceLostError),
        ("something else", SessionError),
    ],
)
def test_failures_on_cuda_are_told_apart(ort: FakeOrt, words: str, kind: type[Exception]) -> None:
    session = OnnxRuntimeCudaSession(tiny_artifact())
    ort.fails = words
    with pytest.raises(SessionError) as caught:
        session.run(np.zeros((1, 8, 8, 3), np.uint8))
    assert type(caught.value) is kind


def test_the_precision_decides_which_artifact_is_opened(ort: FakeOrt, tmp_path: Path) -> None:
    path = files(tmp_path, ["fp32", "fp16"])
    cuda = replace(SessionOptions(), backend="cuda")
    source = opening.ArtifactRef(tiny_artifact(), path)
    assert opening.pick_artifact(source, cuda, half=True).info.precision == "fp16"
    assert opening.pick_artifact(source, cuda, half=False).info.precision == "fp32"
    asked = replace(cuda, precision="fp32")
    assert opening.pick_artifact(source, asked, half=True).info.precision == "fp32"
    with pytest.raises(
        MissingModelError, match="there is no int8 artifact of tiny, only fp32, fp16"
    ):
        opening.pick_artifact(source, replace(cuda, precision="int8"), half=True)


def test_a_neighbor_of_other_weights_is_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = files(tmp_path, ["fp32"])
    other = tiny_artifact(precision="fp16", weights_sha256="1" * 64)
    (tmp_path / "tiny.fp16.onnx").write_bytes(other.onnx)
    family = opening.ArtifactRef(checked(), path).family()
    assert [artifact.info.precision for artifact in family] == ["fp32"]
    assert "its weights are not those of" in caplog.text


def test_detectors_are_no_plans(gpu: World) -> None:
    detector = replace(tiny_artifact(), info=replace(tiny_artifact().info, kind="detector"))
    with pytest.raises(MissingBackendError, match="not for a detector"):
        choose_session(detector, options=SessionOptions(backend="tensorrt"))


def test_the_device_is_the_asked_one(gpu: World) -> None:
    with pytest.raises(MissingBackendError, match="GPU 5 is requested"):
        Device(gpu.cuda, 5)


@pytest.mark.parametrize("error", [ImportError, RuntimeError, OSError])
@pytest.mark.usefixtures("no_driver")
def test_openvino_that_does_not_start_is_like_one_that_is_missing(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    """For a user without a home directory, importing it raises RuntimeError."""
    monkeypatch.setitem(opening._OPENERS, "openvino", opening._open_openvino)
    monkeypatch.delitem(sys.modules, "restora.backends.openvino_cpu", raising=False)

    def find_spec(name: str, *_: object) -> None:
        if name == "restora.backends.openvino_cpu":
            raise error("no home directory")

    monkeypatch.setattr(sys, "meta_path", [SimpleNamespace(find_spec=find_spec), *sys.meta_path])
    assert choose_session(tiny_artifact()).backend == "cpu"
    with pytest.raises(MissingBackendError, match="no home directory"):
        choose_session(tiny_artifact(), options=SessionOptions(backend="openvino"))


@pytest.mark.usefixtures("no_driver")
def test_without_any_runtime_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none(*_: Any) -> Any:
        raise MissingBackendError("not here")

    for backend in ("tensorrt", "cuda", "cpu"):
        monkeypatch.setitem(opening._OPENERS, backend, none)
    with pytest.raises(
        MissingBackendError, match=r"works on this machine: install .*'restora\[cpu\]'"
    ):
        choose_session(tiny_artifact())
