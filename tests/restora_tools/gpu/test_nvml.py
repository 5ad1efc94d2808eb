"""Facts about reading the state of a GPU, with a stand-in for NVML."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from restora_tools.gpu.nvml import summarize, watch_gpu


class FakeNvml:
    """Two GPUs, in NVML's order."""

    NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU = 1, 2, 0

    class NVMLError(Exception):
        """Any error."""

    def __init__(self) -> None:
        self.by_pci = {"0000:0A:00.0": "first", "0000:0B:00.0": "second"}
        self.by_uuid = {"GPU-1": "first", "GPU-2": "second"}

    def nvmlInit(self) -> None:  # noqa: N802
        pass

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:  # noqa: N802
        raise AssertionError("NVML's index is not CUDA's")

    def nvmlDeviceGetHandleByPciBusId(self, name: str) -> str:  # noqa: N802
        return self._find(self.by_pci, name)

    def nvmlDeviceGetHandleByUUID(self, name: str) -> str:  # noqa: N802
        return self._find(self.by_uuid, name)

    def _find(self, known: dict[str, str], name: str) -> str:
        if name not in known:
            raise self.NVMLError("Not Found")
        return known[name]

    def nvmlDeviceGetClockInfo(self, handle: str, clock: int) -> int:  # noqa: N802
        return {"first": 210, "second": 1980}[handle]

    def nvmlDeviceGetTemperature(self, handle: str, sensor: int) -> int:  # noqa: N802
        return 50

    def nvmlDeviceGetPowerUsage(self, handle: str) -> int:  # noqa: N802
        return 200_000

    def nvmlDeviceGetUtilizationRates(self, handle: str) -> Any:  # noqa: N802
        return SimpleNamespace(gpu=90)

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: str) -> int:  # noqa: N802
        return 4


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    fake = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", fake)  # type: ignore[arg-type]
    return fake


@pytest.mark.parametrize("identity", ["0000:0B:00.0", "GPU-2"])
def test_a_gpu_is_found_by_its_bus_or_uuid_and_never_by_its_number(
    nvml: FakeNvml, identity: str
) -> None:
    with watch_gpu(identity) as watch:
        pass
    found = watch.summary()
    assert found["sm_mhz"] == [1980, 1980, 1980]
    assert found["busy"] == [0.9, 0.9, 0.9]
    assert found["throttle_reasons"] == 4


def test_figures_have_a_least_a_median_and_a_most() -> None:
    same = {"sm_mhz": 1980, "memory_mhz": 2619, "celsius": 50, "busy": 0.9}
    readings = [
        {**same, "watt": watt, "throttle_reasons": reasons}
        for watt, reasons in ((100, 1), (300, 4), (200, 0))
    ]
    found = summarize(readings)
    assert found["watt"] == [100, 200, 300]
    assert found["throttle_reasons"] == 5
    assert summarize([*readings, {"error": "gone"}]) == {"not_measured": "gone"}


def test_what_cannot_be_read_says_why(nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    def summary(identity: str | None) -> dict[str, Any]:
        with watch_gpu(identity) as watch:
            pass
        return watch.summary()

    assert "NVML does not find GPU-9: Not Found" in summary("GPU-9")["not_measured"]
    assert "which GPU" in summary(None)["not_measured"]
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert summary("GPU-1") == {"not_measured": "nvidia-ml-py is not installed"}
