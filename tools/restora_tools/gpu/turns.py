"""Time functions on a device that PyTorch waits for; they take turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch

from restora_tools.gpu.effort import Effort


def time_turns(
    ways: Sequence[tuple[str, Callable[[], object]]], device: str, effort: Effort
) -> dict[str, list[float]]:
    """ms of one run of each way, one value a repeat."""
    times: dict[str, list[float]] = {name: [] for name, _ in ways}
    for turn in range(effort.repeats + 1):  # the first turn warms up
        for name, run in ways:
            _wait(device)
            started = time.perf_counter()
            for _ in range(effort.runs):
                run()
            _wait(device)
            if turn:
                times[name].append((time.perf_counter() - started) * 1e3 / effort.runs)
    return times


def identity_of(device: str) -> str | None:
    """The UUID of PyTorch's GPU, for NVML; None if PyTorch does not know it."""
    if device != "cuda":
        return None
    uuid = getattr(torch.cuda.get_device_properties(0), "uuid", None)
    return None if uuid is None else f"GPU-{uuid}"


def name_of(device: str) -> str:
    """The name of the card, for the rows."""
    return torch.cuda.get_device_name(0) if device == "cuda" else "CPU, for trying out"


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
