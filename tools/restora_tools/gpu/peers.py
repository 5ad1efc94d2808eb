"""Stage `peers`: the same networks in PyTorch, on the same GPU, and its matrix-product ceiling."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from restora.artifact import measure_psnr
from restora.backends.base import Batch
from restora.errors import RestoraError
from restora_benchmarks.pictures import make_pictures
from restora_tools.gpu.machine import read_state
from restora_tools.gpu.places import Places, Row
from restora_tools.gpu.subjects import Subject

REPEATS = 5
_RUNS = 10
_CEILING_SIDE = 8192
_SMALL_SIDE = 256  # on a CPU, for trying out


def measure_peers(
    places: Places,
    subjects: Sequence[Subject],
    report: Callable[[str], None],
    *,
    device: str = "cuda",
    repeats: int = REPEATS,
    runs: int = _RUNS,
) -> None:
    """One row for each subject and way; the ways of one subject take turns."""
    ceilings = {name: measure_ceiling(dtype, device) for name, dtype in _CEILINGS.items()}
    places.add_rows("ceiling", [{"device": device, "tflops": ceilings}], key=("device",))
    report(f"matrix products: {ceilings} TFLOP/s")
    for subject in subjects:
        before = read_state()
        rows = list(_measure_subject(places, subject, device, repeats, runs))
        after = read_state()
        rows = [{**row, "state_before": before, "state_after": after} for row in rows]
        places.add_rows("peers", rows, key=("model", "way"))
        for row in rows:
            words = row.get("error") or f"{row['ms']:.2f} ms, PSNR {row['psnr_mean']:.1f} dB"
            report(f"{row['model']}, {row['way']}: {words}")


_CEILINGS = {"fp16": torch.float16, "fp32": torch.float32}


def measure_ceiling(dtype: torch.dtype, device: str) -> float:
    """TFLOP/s of a large square matrix product on random data."""
    side = _CEILING_SIDE if device == "cuda" else _SMALL_SIDE
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    times = _time([("product", lambda: a @ b)], device, repeats=5, runs=5)["product"]
    return round(2 * side**3 / statistics.median(times) / 1e9, 1)


def _measure_subject(
    places: Places, subject: Subject, device: str, repeats: int, runs: int
) -> Iterator[Row]:
    selfcheck = places.family(subject)[0].read_selfcheck()
    assert selfcheck is not None
    batch = make_pictures(subject.shape)
    ready: list[tuple[str, Callable[[], object]]] = []
    accuracy: dict[str, tuple[float, float]] = {}
    for way, make in _ways(subject, places, device).items():
        try:
            run = make()
            accuracy[way] = measure_psnr(run(selfcheck.image), selfcheck.answer)
            run(batch)
        except (RuntimeError, RestoraError, ImportError) as error:
            yield {"model": subject.name, "way": way, "error": str(error).splitlines()[0]}
            continue
        ready.append((way, lambda run=run: run.on_device(batch)))  # type: ignore[misc]
    times = _time(ready, device, repeats=repeats, runs=runs)
    for way, values in times.items():
        mean, least = accuracy[way]
        yield {
            "model": subject.name,
            "way": way,
            "batch": subject.batch,
            "side": subject.side,
            "ms": round(statistics.median(values), 4),
            "ms_all": [round(value, 4) for value in values],
            "psnr_mean": round(mean, 2),
            "psnr_min": round(least, 2),
            "torch": torch.__version__,
        }


class TorchRun:
    """One way of running a network in PyTorch, on batches of pictures."""

    def __init__(
        self, network: nn.Module, *, device: str, half: bool, channels_last: bool, compiled: bool
    ) -> None:
        self.device, self.half, self.channels_last = device, half, channels_last
        network = network.to(device)
        if half:
            network = network.half()
        if channels_last:
            network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._forward: Callable[[Tensor], Tensor] = torch.compile(network) if compiled else network
        self._inputs: dict[tuple[int, ...], Tensor] = {}
        self._face = hasattr(network, "stylegan_decoder")

    def __call__(self, batch: Batch) -> Batch:
        """Pictures to pictures, uint8."""
        with torch.inference_mode():
            y = self._run(self._upload(batch)).float().clamp(0, 1)
            pixels = (y * 255).round().to(torch.uint8)
        return pixels.permute(0, 2, 3, 1).contiguous().cpu().numpy()

    def on_device(self, batch: Batch) -> Tensor:
        """The network alone, on pictures that are on the device already."""
        if batch.shape not in self._inputs:
            self._inputs[batch.shape] = self._upload(batch)
        with torch.inference_mode():
            return self._run(self._inputs[batch.shape])

    def _run(self, x: Tensor) -> Tensor:
        if self._face:
            y: Tensor = (self._forward(x * 2 - 1) + 1) / 2
            return y
        return self._forward(x)

    def _upload(self, batch: Batch) -> Tensor:
        x = torch.from_numpy(np.ascontiguousarray(batch)).to(self.device)
        x = x.permute(0, 3, 1, 2).float() / 255
        if self.half:
            x = x.half()
        return x.contiguous(
            memory_format=torch.channels_last if self.channels_last else torch.contiguous_format
        )


class OrtCudaRun:
    """ONNX Runtime on CUDA, from host to host: it offers no other way through our session."""

    def __init__(self, places: Places, subject: Subject) -> None:
        from restora.backends.onnxruntime_cuda import OnnxRuntimeCudaSession

        self._session = OnnxRuntimeCudaSession(places.family(subject)[0])

    def __call__(self, batch: Batch) -> Batch:
        return self._session.run(batch)

    def on_device(self, batch: Batch) -> Batch:
        return self._session.run(batch)


def _ways(
    subject: Subject, places: Places, device: str
) -> dict[str, Callable[[], TorchRun | OrtCudaRun]]:
    def in_torch(*, half: bool, channels_last: bool, compiled: bool) -> Callable[[], TorchRun]:
        return lambda: TorchRun(
            subject.network.make(),
            device=device,
            half=half,
            channels_last=channels_last,
            compiled=compiled,
        )

    return {
        "eager PyTorch FP32": in_torch(half=False, channels_last=False, compiled=False),
        "eager PyTorch FP16 channels_last": in_torch(half=True, channels_last=True, compiled=False),
        "torch.compile FP16 channels_last": in_torch(half=True, channels_last=True, compiled=True),
        "ONNX Runtime CUDA FP32": lambda: OrtCudaRun(places, subject),
    }


def _time(
    ways: Sequence[tuple[str, Callable[[], object]]], device: str, *, repeats: int, runs: int
) -> dict[str, list[float]]:
    """ms of one run of each way, one value a repeat; the ways take turns."""
    times: dict[str, list[float]] = {name: [] for name, _ in ways}
    for turn in range(repeats + 1):  # the first turn warms up
        for name, run in ways:
            _wait(device)
            started = time.perf_counter()
            for _ in range(runs):
                run()
            _wait(device)
            if turn:
                times[name].append((time.perf_counter() - started) * 1e3 / runs)
    return times


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
