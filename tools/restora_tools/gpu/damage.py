"""Stage `damage`: the networks that find and repair damage, on whole photos and beside the CPU."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import numpy as np

from restora import DamageOptions
from restora.artifact import Io, Kind
from restora.backends import OpenedSession, Session, SessionOptions, choose_session
from restora.backends.options import BackendChoice
from restora.damage.mask import Mask
from restora.damage.open import open_damage
from restora.damage.stage import DamageStage
from restora.image import Photo, Pixels, decode_photo
from restora.models import find_artifact
from restora_tools.gpu.effort import FULL, Effort
from restora_tools.gpu.nvml import watch_gpu
from restora_tools.gpu.places import Places, Row
from restora_tools.gpu.states import StateName
from restora_tools.gpu.verdicts import SAME_MASK

_LARGE = (4000, 3000)  # width and height of the photo that is timed


def measure_damage(
    places: Places,
    report: Callable[[str], None],
    *,
    backend: BackendChoice = "tensorrt",
    pci_bus_id: str | None = None,
    size: tuple[int, int] = _LARGE,
    effort: Effort = FULL,
) -> StateName:
    """One row. "failed" if the mask of the bundled print is not that of the CPU, or a pixel outside
    the mask changes. Engines are built if they are not in the folder.

    pci_bus_id: of the GPU whose clocks are recorded
    size: width and height of the photo that is timed, prints side by side
    """
    os.environ["RESTORA_PLANS"] = str(places.plans)
    photo = decode_photo((files("restora") / "data" / "print.jpg").read_bytes())
    with _open_stage("cpu") as (stage, _):
        _, expected = stage.repair(photo)
    with _open_stage(backend) as (stage, sessions):
        repaired, outcome = stage.repair(photo)
        large = Photo(_lay_out(photo.pixels, size))
        stage.repair(large)  # allocates, and captures graphs
        with watch_gpu(pci_bus_id) as watch:
            runs = [stage.repair(large)[1].seconds for _ in range(effort.repeats)]
        precisions = {opened.session.info.kind: opened.precision for opened in sessions}
    overlap = _overlap(outcome.mask, expected.mask)
    changed = _count_changed(photo.pixels, repaired.pixels, outcome.mask)
    find_s, repair_s = (statistics.median(run[key] for run in runs) for key in ("find", "repair"))
    megapixels = size[0] * size[1] / 1e6
    row: Row = {
        "photo": f"{size[0]}x{size[1]}",
        "precisions": precisions,
        "find_s": round(find_s, 4),
        "repair_s": round(repair_s, 4),
        "mp_per_s": round(megapixels / (find_s + repair_s), 3),
        "runs": len(runs),
        "mask_overlap": round(overlap, 5),
        "changed_outside": changed,
        "gpu_state": watch.summary(),
    }
    places.add_rows("damage", [row], key=("photo",))
    report(
        f"{megapixels:.1f} MP: found in {find_s:.3f} s, repaired in {repair_s:.3f} s; the masks of "
        f"the print overlap by {overlap:.2%}; {changed} pixels outside changed"
    )
    return "done" if overlap >= SAME_MASK and not changed else "failed"


@contextmanager
def _open_stage(backend: BackendChoice) -> Iterator[tuple[DamageStage, list[OpenedSession]]]:
    sessions: list[OpenedSession] = []

    def open_one(path: Path, _kind: Kind, _io: Io) -> Session:
        sessions.append(choose_session(path, options=SessionOptions(backend=backend)))
        return sessions[-1].session

    try:
        yield open_damage(DamageOptions(), find=find_artifact, open_session=open_one), sessions
    finally:
        for opened in sessions:
            opened.session.close()


def _lay_out(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Copies of a picture side by side, as many as fill this width and height."""
    width, height = size
    rows, columns = -(-height // pixels.shape[0]), -(-width // pixels.shape[1])
    return np.ascontiguousarray(np.tile(pixels, (rows, columns, 1))[:height, :width])


def _overlap(found: Mask | None, expected: Mask | None) -> float:
    """The pixels of both masks, of those of either; 0 without a mask."""
    if found is None or expected is None:
        return 0.0
    return float((found & expected).sum() / max((found | expected).sum(), 1))


def _count_changed(before: Pixels, after: Pixels, mask: Mask | None) -> int:
    """Pixels outside the mask that differ."""
    changed = (before != after).any(-1)
    return int((changed if mask is None else changed & ~mask).sum())
