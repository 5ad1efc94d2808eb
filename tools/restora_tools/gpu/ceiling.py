"""Stage `ceiling`: the throughput of large matrix products, which no network exceeds."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import torch
from torch import Tensor

from restora_tools.gpu.effort import FULL, Effort
from restora_tools.gpu.nvml import watch_gpu
from restora_tools.gpu.places import Places, Row
from restora_tools.gpu.states import StateName
from restora_tools.gpu.turns import identity_of, time_turns

_SIDE = 8192
_SMALL_SIDE = 256  # on a CPU, for trying out


def measure_ceilings(
    places: Places, report: Callable[[str], None], *, device: str, effort: Effort = FULL
) -> StateName:
    """One row a type: TFLOP/s, or TOP/s of 8-bit integers, on random data."""
    side = _SIDE if device == "cuda" else _SMALL_SIDE
    rows = [_measure(name, side, device, effort) for name in ("fp16", "fp32", "int8")]
    places.add_rows("ceiling", rows, key=("precision",))
    for row in rows:
        report(f"{row['precision']}: {row.get('tflops', row.get('not_measured'))} TFLOP/s")
    return "done"


def _measure(name: str, side: int, device: str, effort: Effort) -> Row:
    row: Row = {"precision": name, "side": side, "torch": torch.__version__, "device": device}
    try:
        product = _product(name, side, device)
        with watch_gpu(identity_of(device)) as watch:
            times = time_turns([(name, product)], device, effort)[name]
    except (RuntimeError, AttributeError) as error:
        return {**row, "not_measured": str(error).splitlines()[0]}
    tflops = round(2 * side**3 / statistics.median(times) / 1e9, 4)
    return {**row, "tflops": tflops, "gpu_state": watch.summary()}


def _product(name: str, side: int, device: str) -> Callable[[], Tensor]:
    if name == "int8":
        a, b = (torch.randint(-128, 128, (side, side), device=device).to(torch.int8) for _ in "ab")
        # cuBLASLt multiplies rows by columns: the second matrix lies column by column
        columns = b.t().contiguous().t()
        multiply: Callable[[Tensor, Tensor], Tensor] = torch._int_mm  # the only 8-bit product
        return lambda: multiply(a, columns)
    dtype = {"fp16": torch.float16, "fp32": torch.float32}[name]
    x, y = (torch.randn(side, side, device=device, dtype=dtype) for _ in "xy")
    return lambda: x @ y
