"""Stage `peers`: the same networks in PyTorch and ONNX Runtime, on the same GPU."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from restora.artifact import measure_psnr
from restora.errors import RestoraError
from restora_benchmarks.pictures import make_pictures
from restora_tools.gpu.effort import FULL, Effort
from restora_tools.gpu.nvml import watch_gpu
from restora_tools.gpu.ort_run import OrtRun, cuda_ways, tensorrt_ways
from restora_tools.gpu.places import Places, Row
from restora_tools.gpu.states import StateName
from restora_tools.gpu.subjects import Subject
from restora_tools.gpu.torch_run import COMPILED, EAGER, Pictures, TorchRun, Way, prepare_torch
from restora_tools.gpu.turns import identity_of, time_turns

Run = TorchRun | OrtRun
_ORT_WAYS = {"onnxruntime": cuda_ways, "ort-tensorrt": tensorrt_ways}


def measure_peers(
    places: Places,
    subject: Subject,
    kind: str,
    report: Callable[[str], None],
    *,
    device: str,
    effort: Effort = FULL,
) -> StateName:
    """One row for each way of a kind ("eager", "compiled", ...), which take turns.

    A way that is not here is a row that says why. Accuracy is measured against eager PyTorch in
    FP32, on the batch that is timed.
    """
    prepare_torch()
    batch = make_pictures(subject.shape)
    ready: list[tuple[str, Run]] = []
    rows: list[Row] = []
    for name, make in _ways(places, subject, kind, device):
        row: Row = {"model": subject.name, "way": name}
        try:
            run = make()
            mean, least = measure_psnr(run(batch), _reference(places, subject, batch, device))
        except (RuntimeError, RestoraError, ImportError, LookupError) as error:
            words = f"{type(error).__name__}: {error}".splitlines()[0]
            rows.append({**row, "not_measured": words})
            continue
        ready.append((name, run))
        rows.append({**row, "psnr_mean": round(mean, 2), "psnr_min": round(least, 2)})
    with watch_gpu(identity_of(device)) as watch:
        times = time_turns([(name, _on(run, batch)) for name, run in ready], device, effort)
    for row in rows:
        if row["way"] in times:
            row |= _figures(times[row["way"]], subject)
            row["gpu_state"] = watch.summary()
        report(f"{row['way']}: " + (row.get("not_measured") or f"{row['ms']:.2f} ms"))
    places.add_rows("peers", rows, key=("model", "way"))
    return "done"


def _ways(
    places: Places, subject: Subject, kind: str, device: str
) -> Iterator[tuple[str, Callable[[], Run]]]:
    if kind in _ORT_WAYS:
        artifacts = {
            precision: places.artifact(subject, precision)
            for precision in ("fp32", "fp16")
            if places.has(subject, precision)
        }
        if "fp32" not in artifacts:
            artifacts["fp32"] = places.artifact(subject)  # its row says that it is not there
        for name, path, provider in _ORT_WAYS[kind](artifacts):
            yield name, _of_ort(path, provider)
        return
    ways: Sequence[Way] = COMPILED if kind == "compiled" else EAGER
    for way in ways:
        yield way.name, _of_torch(subject, way, device)


def _of_torch(subject: Subject, way: Way, device: str) -> Callable[[], Run]:
    return lambda: TorchRun(subject.network.make(), way, device=device)


def _of_ort(path: Path, provider: str) -> Callable[[], Run]:
    return lambda: OrtRun(path, provider)


def _on(run: Run, batch: Pictures) -> Callable[[], object]:
    return lambda: run.on_device(batch)


def _reference(places: Places, subject: Subject, batch: Pictures, device: str) -> Pictures:
    """What eager PyTorch gives in FP32, kept for the other kinds."""
    shape = "x".join(map(str, subject.shape[:3]))
    file = places.root / "reference" / f"{subject.name}.{shape}.npy"
    if file.exists():
        found: Pictures = np.load(file)
        return found
    with torch.inference_mode():
        answer = TorchRun(subject.network.make(), EAGER[0], device=device)(batch)
    file.parent.mkdir(parents=True, exist_ok=True)
    np.save(file, answer)
    return answer


def _figures(times: list[float], subject: Subject) -> dict[str, Any]:
    ms = statistics.median(times)
    return {
        "batch": subject.batch,
        "side": subject.side,
        "ms": round(ms, 4),
        "ms_all": [round(value, 4) for value in times],
        "input_mp_per_s": round(float(np.prod(subject.shape[:3])) / ms / 1e3, 3),
        "torch": torch.__version__,
    }
