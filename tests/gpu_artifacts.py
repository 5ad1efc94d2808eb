"""Artifacts of the network with which the GPU check is tried out, as the stage `prepare` makes
them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from export_cache import kept
from restora.artifact import Precision
from restora_tools.gpu.places import Places
from restora_tools.gpu.prepare import prepare
from restora_tools.gpu.subjects import TINY

PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16")


def put_artifacts(places: Places) -> None:
    """Put the FP32 and FP16 artifacts where a check expects them."""
    for precision in PRECISIONS:
        path = places.artifact(TINY, precision)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(kept(path.name, _maker(precision)))


def _maker(precision: Precision) -> Callable[[], bytes]:
    def make() -> bytes:
        with TemporaryDirectory() as folder:
            places = Places(Path(folder))
            prepare(places, TINY, precision, print)
            return places.artifact(TINY, precision).read_bytes()

    return make
