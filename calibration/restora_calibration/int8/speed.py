"""Measure the speed of artifacts on each CPU runtime."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from restora.artifact import Artifact
from restora.backends import CpuOptions
from restora.backends.base import Batch, Session
from restora.backends.onnxruntime_cpu import OnnxRuntimeCpuSession
from restora.errors import RestoraError
from restora_calibration.timing import Times, time_in_turns

Opener = Callable[[Artifact, CpuOptions], Session]
_SIDE = 128
_BUDGET_S = 180.0


def measure_artifacts(
    artifacts: Mapping[str, Artifact],
    *,
    side: int = _SIDE,
    threads: int = 0,
    repeats: int = 5,
    budget_s: float = float("inf"),
    report: Callable[[str], None] = lambda _words: None,
) -> dict[tuple[str, str], Times]:
    """Measure the time of a tile, by (name of the artifact, runtime).

    side: side of the tile, unless the artifact has a fixed side
    repeats: of each artifact on each runtime; fewer, but at least one, if they take more than
        `budget_s` seconds

    A runtime that is not installed, or that cannot run an artifact, is reported and skipped.
    """
    options = CpuOptions(threads=threads)
    openers = _openers(report)
    runs: dict[str, Callable[[], object]] = {}
    keys: dict[str, tuple[str, str]] = {}
    first_s = 0.0
    for name, artifact in artifacts.items():
        length = artifact.info.side or side
        # speed does not depend on the pixels
        picture: Batch = np.random.default_rng(0).integers(0, 256, (1, length, length, 3), np.uint8)
        if artifact.info.io == "float32":
            picture = picture.astype(np.float32) / np.float32(255)
        for runtime, open_ in openers.items():
            try:
                session = open_(artifact, options)
                started = time.perf_counter()
                session.run(picture)
                first_s += time.perf_counter() - started
            except RestoraError as error:
                report(f"{name} is not timed on {runtime}: {error}")
                continue
            key = f"{name} on {runtime}"
            runs[key], keys[key] = partial(session.run, picture), (name, runtime)
    if (repeats + 1) * first_s > budget_s:  # another turn warms up and is not counted
        repeats = max(1, int(budget_s / first_s) - 1)
    return {keys[key]: found for key, found in time_in_turns(runs, repeats=repeats).items()}


def median_seconds(artifacts: Mapping[str, Artifact]) -> dict[tuple[str, str], float]:
    """Seconds per tile, by (name of the artifact, runtime); large networks run less often."""
    found = measure_artifacts(artifacts, budget_s=_BUDGET_S)
    return {key: times.median for key, times in found.items()}


def _openers(report: Callable[[str], None]) -> dict[str, Opener]:
    openers: dict[str, Opener] = {"ONNX Runtime": OnnxRuntimeCpuSession}
    try:
        from restora.backends.openvino_cpu import OpenVinoSession
    except ImportError as error:
        report(f"nothing is timed on OpenVINO: {error}")
        return openers
    openers["OpenVINO"] = OpenVinoSession
    openers["OpenVINO, bf16 between"] = partial(OpenVinoSession, arithmetic="bf16")
    return openers
