"""Facts about the description of a machine's GPUs."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from restora.errors import MissingBackendError
from restora_benchmarks import machine


def nvml_of(names: dict[bytes, str]) -> Any:
    """NVML, which finds GPUs by address; a clock that it cannot read raises."""

    class NVMLError(Exception):
        pass

    def clock(handle: bytes, number: int) -> int:
        if number == 2:
            raise NVMLError
        return 1980

    return SimpleNamespace(
        NVMLError=NVMLError,
        NVML_CLOCK_SM=1,
        NVML_CLOCK_MEM=2,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByPciBusId=lambda address: address,
        nvmlDeviceGetName=lambda handle: names[handle],
        nvmlSystemGetDriverVersion=lambda: "570.1",
        nvmlDeviceGetClockInfo=clock,
        nvmlDeviceGetMaxClockInfo=clock,
    )


def test_only_gpus_that_this_process_may_use_are_described(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under CUDA_VISIBLE_DEVICES the numbers of NVML are those of other GPUs."""
    names = {b"0000:0B:00.0": "first", b"0000:65:00.0": "second"}
    monkeypatch.setitem(sys.modules, "pynvml", nvml_of(names))
    monkeypatch.setattr(machine, "list_pci_bus_ids", lambda: ["0000:65:00.0"])
    assert machine.describe_gpus() == [
        {"name": "second", "driver": "570.1", "sm_mhz": 1980, "sm_mhz_most": 1980}
    ]


def test_without_a_driver_there_are_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> list[str]:
        raise MissingBackendError("no NVIDIA driver")

    monkeypatch.setattr(machine, "list_pci_bus_ids", refuse)
    assert machine.describe_gpus() == []
