"""Stage `prepare`: artifacts with their reference answers, by PyTorch on the CPU."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path

from restora.artifact import Precision
from restora_tools.gpu.places import Places
from restora_tools.gpu.subjects import Subject


def prepare(
    places: Places,
    subjects: Sequence[Subject],
    precisions: Sequence[Precision],
    report: Callable[[str], None],
) -> None:
    """Export what is not there yet. Each file passes the exporter's own gate."""
    for subject in subjects:
        missing = [p for p in precisions if not places.artifact(subject, p).exists()]
        if not missing:
            continue
        if _copy_bundled(places, subject, missing):
            continue
        for precision in missing:
            path = places.artifact(subject, precision)
            if precision == "int8":
                _quantize(places, subject, report)
                continue
            started = time.perf_counter()
            subject.network.export(path, precision)
            report(f"{path.name}: {time.perf_counter() - started:.0f} s")


def _quantize(places: Places, subject: Subject, report: Callable[[str], None]) -> None:
    """All inner layers of an upsampler in 8 bits; recipe weights say nothing about accuracy."""
    from restora.artifact import check_accuracy, read_artifact
    from restora.atomic import write_atomically
    from restora.errors import AccuracyGateError
    from restora_calibration.calibration_set import photo_tile_set
    from restora_tools.whole_int8 import quantize_whole

    if subject.is_face:
        report(f"{subject.name}: no INT8 of a face network")
        return
    path = places.artifact(subject, "int8")
    made = quantize_whole(read_artifact(places.artifact(subject)), photo_tile_set())
    try:
        check_accuracy(made.info)
    except AccuracyGateError as error:
        report(f"{path.name} is not made: {error}")
        return
    write_atomically(path, made.onnx)
    report(f"{path.name}: {made.info.quantization}")


def _copy_bundled(places: Places, subject: Subject, precisions: Sequence[Precision]) -> bool:
    """The bundled model is measured as it is shipped. False if it is another one."""
    for precision in precisions:
        path = places.artifact(subject, precision)
        bundled = Path(str(files("restora") / "data" / path.name))
        if not bundled.is_file():
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bundled.read_bytes())
    return True
