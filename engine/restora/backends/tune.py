"""Measure which backend runs an artifact fastest on this machine, and keep the result."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from restora.artifact import ArtifactInfo, read_artifact
from restora.backends.base import Session
from restora.backends.choose import choose_session
from restora.backends.options import Backend, PrecisionChoice, SessionOptions
from restora.backends.trial import Trial, TrialResult, new_trial, write_trial
from restora.errors import MissingBackendError, OptionError, RestoraError

logger = logging.getLogger(__name__)

Report = Callable[[str], None]
Key = tuple[Backend, PrecisionChoice]
Seconds = dict[Key, float]  # for a megapixel
# INT8 is not among them: "auto" does not choose it
_CANDIDATES: tuple[Key, ...] = (
    ("cpu", "fp32"),
    ("openvino", "fp32"),
    ("openvino", "bf16"),
    ("ncnn", "fp32"),
    ("ncnn", "bf16"),
    ("ncnn-vulkan", "fp32"),
    ("ncnn-vulkan", "fp16"),
)
_SMALL, _SIDE = 128, 256
# those within this factor of the fastest may be the fastest on larger tiles
_CLOSE = 1.3
_MIN_TURNS, _MAX_TURNS = 3, 15
_ENOUGH_S = 10.0  # of turns beyond the fewest
_PAUSE_S = 0.02  # in which idle threads of the runtime before fall asleep


def tune(
    path: Path,
    options: SessionOptions | None = None,
    *,
    side: int | None = None,
    area: Callable[[Session], float] | None = None,
    report: Report = logger.info,
    clock: Callable[[], float] = time.perf_counter,
) -> Trial:
    """Run an artifact on every backend that passes its self-check, and keep the trial.

    path: an upsampler or a face network in FP32
    options: precision, device and threads limit what is tried; the backend must be "auto"
    side: height and width of the tile, in pixels; None: all backends run on tiles of 128, and those
        that are among the fastest of their precision on tiles of 256
    area: how many pixels a session computes for each pixel of a photo, such as
        restora.options.computed_area: a backend that takes more memory has smaller tiles, which
        overlap more; None compares tiles alone
    report: called with a description of each backend, and why one is not tried
    clock: seconds

    From then on `backend="auto"` uses the fastest one, except that NVIDIA GPUs go first. Nothing
    else should run on the machine meanwhile.

    Raises OptionError, MissingBackendError if no backend runs the artifact, or OutputError.
    """
    options = options or SessionOptions()
    artifact = read_artifact(path)
    info = artifact.info
    if options.backend != "auto":
        raise OptionError(f"a trial takes the backend 'auto', got {options.backend!r}")
    if info.kind not in ("upsampler", "face") or info.precision != "fp32":
        raise OptionError(
            "a trial takes upsamplers and face networks in fp32, got "
            f"{info.model}: {info.kind}, {info.precision}"
        )
    sides = _choose_sides(info, side)
    sessions = _open_all(path, options, report)
    seconds: Seconds = {}
    try:
        shares = {key: area(session) if area else 1.0 for key, session in sessions.items()}
        for wanted in sides:
            fastest = {key: sessions[key] for key in _closest(seconds) or sessions}
            found = _time_all(fastest, info, wanted, clock)
            seconds |= {key: value * shares[key] for key, value in found.items()}
    finally:
        for session in sessions.values():
            session.close()
    results = [TrialResult(*key, found) for key, found in seconds.items()]
    trial = new_trial(artifact, options.cpu, side=sides[-1], results=results)
    report(f"kept in {write_trial(trial)}")
    return trial


def _choose_sides(info: ArtifactInfo, side: int | None) -> list[int]:
    if info.side is not None:
        return [info.side]
    if side is not None and side < info.size_multiple:
        raise OptionError(f"side must be at least {info.size_multiple}, got {side}")
    sides = (_SMALL, _SIDE) if side is None else (side,)
    return [wanted - wanted % info.size_multiple for wanted in sides]


def _closest(seconds: Seconds) -> list[Key]:
    """Those that are about as fast as the fastest of their precision."""
    found = []
    for group in (["fp32"], ["bf16", "fp16"]):
        members = {key: value for key, value in seconds.items() if key[1] in group}
        found += [key for key, value in members.items() if value <= _CLOSE * min(members.values())]
    return found


def _open_all(path: Path, options: SessionOptions, report: Report) -> dict[Key, Session]:
    sessions: dict[Key, Session] = {}
    allowed = options.allowed_backends()
    for backend, precision in _CANDIDATES:
        if backend not in allowed or options.precision not in ("auto", precision):
            continue
        try:
            if backend == "ncnn-vulkan":
                _require_hardware(options)
            asked = replace(options, backend=backend, precision=precision)
            sessions[backend, precision] = choose_session(path, options=asked).session
        except RestoraError as error:
            report(f"{backend} in {precision}: {error}")
    if not sessions:
        raise MissingBackendError(
            f"no backend on this machine runs {path} in the precision {options.precision}"
        )
    return sessions


def _require_hardware(options: SessionOptions) -> None:
    from restora.backends.ncnn.module import choose_device, import_ncnn

    device = choose_device(import_ncnn(), options.gpu)
    if device.software:
        raise MissingBackendError(f"{device.name} computes on the CPU")


def _time_all(
    sessions: dict[Key, Session], info: ArtifactInfo, side: int, clock: Callable[[], float]
) -> Seconds:
    """Run all in turns, so that changes of the machine's speed meet all of them."""
    values = np.random.default_rng(0).random((1, side, side, 3), np.float32)
    batch = (values * 255).astype(np.uint8) if info.io == "uint8" else values
    for session in sessions.values():
        session.run(batch)  # prepares memory and kernels
    seconds: dict[Key, list[float]] = {key: [] for key in sessions}
    begin = clock()
    for turn in range(_MAX_TURNS):
        if turn >= _MIN_TURNS and clock() - begin > _ENOUGH_S:
            break
        for key, session in sessions.items():
            time.sleep(_PAUSE_S)
            started = clock()
            session.run(batch)
            seconds[key].append(clock() - started)
    megapixels = side * side / 1e6
    return {key: statistics.median(times) / megapixels for key, times in seconds.items()}
