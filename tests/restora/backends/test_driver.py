"""The driver is started first; what prevents it is one clear line."""

import ctypes
from typing import Any

import pytest

from restora.artifact import Artifact
from restora.backends import SessionOptions, choose_session, driver
from restora.backends.driver import Driver, list_pci_bus_ids, require_driver
from restora.errors import MissingBackendError

NAMES = {100: b"CUDA_ERROR_NO_DEVICE", 803: b"CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"}


class FakeLibcuda:
    """The functions of libcuda that are called before anything else.

    starts: what cuInit returns
    """

    def __init__(self, *, starts: int = 0, version: int = 12040, gpus: int = 2) -> None:
        self.starts, self.version, self.gpus = starts, version, gpus
        self.started = False

    def cuInit(self, flags: int) -> int:  # noqa: N802
        assert flags == 0
        self.started = self.starts == 0
        return self.starts

    def cuDriverGetVersion(self, version: Any) -> int:  # noqa: N802
        version._obj.value = self.version
        return 0

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        assert self.started, "cuInit comes first"
        count._obj.value = self.gpus
        return 0

    def cuDeviceGet(self, device: Any, index: int) -> int:  # noqa: N802
        device._obj.value = 70 + index
        return 0

    def cuDeviceGetPCIBusId(self, text: Any, size: int, device: Any) -> int:  # noqa: N802
        text.value = f"0000:{device.value}:00.0".encode()
        assert len(text.value) < size
        return 0

    def cuGetErrorName(self, code: int, name: Any) -> int:  # noqa: N802
        name._obj.value = NAMES.get(code)
        return 0 if code in NAMES else 1


def put(monkeypatch: pytest.MonkeyPatch, library: FakeLibcuda | OSError) -> None:
    def load(name: str) -> FakeLibcuda:
        assert name == "libcuda.so.1"
        if isinstance(library, OSError):
            raise library
        return library

    monkeypatch.setattr(ctypes, "CDLL", load)
    assert driver.ctypes is ctypes


def test_gpus_are_listed_by_the_addresses_that_nvml_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, FakeLibcuda())
    assert list_pci_bus_ids() == ["0000:70:00.0", "0000:71:00.0"]


def test_a_driver_that_starts_tells_its_cuda_and_its_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, FakeLibcuda(version=13010))
    assert require_driver() == Driver(cuda=(13, 1), gpus=2)


@pytest.mark.parametrize(
    ("library", "message"),
    [
        (
            OSError("libcuda.so.1: cannot open shared object file: No such file or directory"),
            "no NVIDIA driver: libcuda.so.1 is not on this machine",
        ),
        (OSError("libcuda.so.1: wrong ELF class"), "library cannot be loaded: .*wrong ELF class"),
        (FakeLibcuda(starts=100), r"CUDA_VISIBLE_DEVICES .*\(CUDA_ERROR_NO_DEVICE\)"),
        (FakeLibcuda(starts=803), r"restart the machine.*\(CUDA_ERROR_SYSTEM_DRIVER_MISMATCH\)"),
        (FakeLibcuda(starts=999), r"`nvidia-smi` must work first \(error 999 of CUDA\)"),
        (FakeLibcuda(gpus=0), "no GPU that this process may use"),
    ],
)
def test_what_prevents_the_driver_is_one_line(
    monkeypatch: pytest.MonkeyPatch, library: FakeLibcuda | OSError, message: str
) -> None:
    put(monkeypatch, library)
    with pytest.raises(MissingBackendError, match=message) as raised:
        require_driver()
    assert "\n" not in str(raised.value)


def test_auto_goes_on_to_the_cpu_where_the_driver_does_not_start(
    monkeypatch: pytest.MonkeyPatch, tiny_x2: Artifact
) -> None:
    put(monkeypatch, FakeLibcuda(starts=803))
    opened = choose_session(tiny_x2, options=SessionOptions(backend="auto"))
    opened.session.close()
    assert opened.backend in ("cpu", "openvino")
    refused = dict(opened.refused)
    assert refused["tensorrt"] == refused["cuda"]
    assert "restart the machine" in opened.describe_choice()


@pytest.mark.parametrize("backend", ["tensorrt", "cuda"])
def test_an_asked_backend_says_why_the_driver_does_not_start(
    monkeypatch: pytest.MonkeyPatch, tiny_x2: Artifact, backend: Any
) -> None:
    put(monkeypatch, FakeLibcuda(starts=803))
    with pytest.raises(MissingBackendError, match=r"the NVIDIA driver does not start: .*restart"):
        choose_session(tiny_x2, options=SessionOptions(backend=backend))
