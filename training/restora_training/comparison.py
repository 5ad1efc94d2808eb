"""Compare a student with its teacher and with bicubic enlargement."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from restora import Restorer
from restora.errors import OptionError
from restora.models.resolve import artifact_finder
from restora.options import RestoreOptions
from restora_training.data.pairs import Pair, Pixels

_TIMED_RUNS = 3


@dataclass(frozen=True, slots=True)
class Row:
    """One network on the held-out pairs. PSNR in dB; MP/s of input pixels.

    psnr_teacher: None for the teacher itself
    megabytes: of the artifact; None for bicubic enlargement
    """

    name: str
    psnr_teacher: float | None
    psnr_truth: float
    ssim_truth: float
    megapixels_per_s: float
    megabytes: float | None


def compare_on(
    teacher: str | Path,
    student: str | Path,
    pairs: Sequence[Pair],
    restore_options: RestoreOptions | None = None,
) -> tuple[Row, ...]:
    """Measure teacher, student and bicubic enlargement on pairs of the teacher, in turns.

    teacher, student: name of a model, or path of an artifact or a checkpoint

    Raises OptionError without pairs.
    """
    if not pairs:
        raise OptionError("a comparison needs at least one pair")
    with (
        Restorer(teacher, options=restore_options) as large,
        Restorer(student, options=restore_options) as small,
    ):
        ways: dict[str, Callable[[Pixels], Pixels]] = {
            "teacher": lambda pixels: _restored(large, pixels),
            "student": lambda pixels: _restored(small, pixels),
            "bicubic": lambda pixels: _enlarge(pixels, large.scale),
        }
        seconds = _time_in_turns(ways, pairs[0].degraded)
        sizes = {
            "teacher": _megabytes_of(teacher),
            "student": _megabytes_of(student),
            "bicubic": None,
        }
        names = {"teacher": large.model, "student": small.model, "bicubic": "bicubic"}
        return tuple(
            _measure(names[way], run, pairs, seconds[way], sizes[way], against=way != "teacher")
            for way, run in ways.items()
        )


def _measure(
    name: str,
    run: Callable[[Pixels], Pixels],
    pairs: Sequence[Pair],
    seconds: float,
    megabytes: float | None,
    *,
    against: bool,
) -> Row:
    to_teacher, to_truth, ssim = [], [], []
    for pair in pairs:
        made = run(pair.degraded)
        truth = pair.answer if pair.clean is None else pair.clean
        if against:
            to_teacher.append(peak_signal_noise_ratio(pair.answer, made, data_range=255))
        to_truth.append(peak_signal_noise_ratio(truth, made, data_range=255))
        ssim.append(structural_similarity(truth, made, data_range=255, channel_axis=2))
    pixels = pairs[0].degraded.shape[0] * pairs[0].degraded.shape[1]
    return Row(
        name,
        float(np.mean(to_teacher)) if against else None,
        float(np.mean(to_truth)),
        float(np.mean(ssim)),
        pixels / 1e6 / seconds,
        megabytes,
    )


def _time_in_turns(ways: dict[str, Callable[[Pixels], Pixels]], pixels: Pixels) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in ways}
    for name in ways:
        ways[name](pixels)  # the first run of a session is slower
    for _ in range(_TIMED_RUNS):
        for name, run in ways.items():
            started = time.perf_counter()
            run(pixels)
            times[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in times.items()}


def _restored(restorer: Restorer, pixels: Pixels) -> Pixels:
    return np.asarray(restorer.restore(pixels).photo.pixels, np.uint8)


def _enlarge(pixels: Pixels, scale: int) -> Pixels:
    size = (pixels.shape[1] * scale, pixels.shape[0] * scale)
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def _megabytes_of(model: str | Path) -> float:
    artifact = artifact_finder(model, None)(model, "uint8", "upsampler")
    return artifact.stat().st_size / 1e6
