"""Time of one batch on the device, by CUDA events: with CUDA graphs, and without."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from restora.backends.tensorrt.loaded import LoadedPlan
from restora.backends.tensorrt.network import EngineRunner
from restora_benchmarks.pictures import make_pictures
from restora_tools.gpu.effort import Effort
from restora_tools.gpu.machine import Modules

_WARM_UP = 5  # the second run captures a graph
_REPEAT_MS = 500  # at most, so that slow networks take no minutes


@dataclass(frozen=True, slots=True)
class DeviceTime:
    """ms of one batch, one value a repeat; which of them took turns with each other.

    no_graphs: why `graphs` was measured without them; "" if graphs were launched
    """

    graphs: list[float] = field(default_factory=list)
    plain: list[float] = field(default_factory=list)
    graphs_launched: int = 0
    no_graphs: str = ""

    @property
    def ms(self) -> float:
        return statistics.median(self.graphs)


def time_batches(
    modules: Modules,
    load: Callable[[], list[LoadedPlan]],
    shape: tuple[int, int, int, int],
    effort: Effort,
) -> DeviceTime:
    """Time runs of one shape on plans that `load` gives, once for each way."""
    plans = load()
    device = plans[0].device
    cuda = device.cuda
    times: dict[bool, list[float]] = {True: [], False: []}
    with device.current():
        stream = device.make_stream()
        network = EngineRunner(device, plans, stream, driver=modules.driver)
        plain = EngineRunner(device, load(), stream, driver=None)
        begin, end = cuda.Event(), cuda.Event()
        for runner in (network, plain):
            # copied before, never again: the network alone is timed
            cuda.memcpy_htod_async(runner.input_for(shape), make_pictures(shape), stream)
            for _ in range(_WARM_UP):
                runner.enqueue(shape)
        stream.synchronize()
        one_ms = _time_runs(plain, shape, stream, begin, end, 1)
        runs = max(1, min(effort.runs, round(_REPEAT_MS / one_ms)))
        for _ in range(effort.repeats):
            for with_graphs, runner in ((True, network), (False, plain)):
                times[with_graphs].append(_time_runs(runner, shape, stream, begin, end, runs))
        stats = network.stats()
        why = stats.graphs_error or "; ".join(modules.missing) or "no graph was launched"
        launched = stats.graphs_launched
        found = DeviceTime(times[True], times[False], launched, "" if launched else why)
        network.close()
        plain.close()
        # PyCUDA frees these with their last reference, while their context is current
        del stream, begin, end, network, plain, runner, plans
    return found


def _time_runs(
    runner: EngineRunner,
    shape: tuple[int, int, int, int],
    stream: Any,
    begin: Any,
    end: Any,
    runs: int,
) -> float:
    begin.record(stream)
    for _ in range(runs):
        runner.enqueue(shape)
    end.record(stream)
    end.synchronize()
    return float(begin.time_till(end)) / runs
