"""Stage `prepare`: artifacts with their reference answers, by PyTorch on the CPU."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from restora.artifact import Precision
from restora_tools.gpu.places import Places
from restora_tools.gpu.states import StateName
from restora_tools.gpu.subjects import Subject


def prepare(
    places: Places, subject: Subject, precision: Precision, report: Callable[[str], None]
) -> StateName:
    """Export one artifact, unless it is there. It passes the exporter's own gate."""
    path = places.artifact(subject, precision)
    if path.exists():
        report(f"{path.name} is there")
        return "done"
    if _copy_bundled(path):
        if precision == "int8":  # which TensorRT builds with FP16 around it, if it can
            _copy_bundled(places.artifact(subject, "int8_fp16"))
        report(f"{path.name} is the bundled one")
        return "done"
    started = time.perf_counter()
    if precision == "int8":
        return _quantize(places, subject, report)
    subject.network.export(path, precision)
    report(f"{path.name}: {time.perf_counter() - started:.0f} s")
    return "done"


def _copy_bundled(path: Path) -> bool:
    """The bundled network is measured as it ships. False if it is another one."""
    bundled = Path(str(files("restora") / "data" / path.name))
    if not bundled.is_file():
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bundled.read_bytes())
    return True


def _quantize(places: Places, subject: Subject, report: Callable[[str], None]) -> StateName:
    """All inner layers of an upsampler in 8 bits; recipe weights say nothing about accuracy."""
    from restora.artifact import check_accuracy, read_artifact
    from restora.atomic import write_atomically
    from restora_calibration.calibration_set import photo_tile_set
    from restora_tools.whole_int8 import quantize_whole

    path = places.artifact(subject, "int8")
    made = quantize_whole(read_artifact(places.artifact(subject)), photo_tile_set())
    check_accuracy(made.info)
    write_atomically(path, made.onnx)
    report(f"{path.name}: {made.info.quantization}")
    return "done"
