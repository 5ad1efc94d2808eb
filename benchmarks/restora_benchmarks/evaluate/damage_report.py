"""What the evaluation of damage measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from restora_benchmarks.evaluate.damage_figures import (
    Detection,
    KindFigures,
    PhotoFigures,
    Repair,
)
from restora_benchmarks.evaluate.marked import MarkedFigures


@dataclass(frozen=True, slots=True)
class DamageReport:
    """What was measured; see docs/damage.md for each figure.

    detection: by kind of damage
    repair: by mask and method, of pairs with all kinds of damage
    scratch_repair: the same of pairs with scratches
    false_share: by kind of clean picture, the share of pixels in the mask
    find_mp_per_s, repair_mp_per_s: megapixels of photos per second
    marked: by name, of photos with real damage that was marked by hand
    kinds: by kind of damage, of pairs with all kinds, repaired with the found mask
    by_photo: by the name of the photo, or its path in the folder
    """

    photos: int
    pairs: int
    detection: Mapping[str, Detection]
    repair: Mapping[str, Repair]
    scratch_repair: Mapping[str, Repair]
    false_share: Mapping[str, float]
    find_mp_per_s: float
    repair_mp_per_s: float
    marked: Mapping[str, MarkedFigures] = field(default_factory=dict)
    kinds: Mapping[str, KindFigures] = field(default_factory=dict)
    by_photo: Mapping[str, PhotoFigures] = field(default_factory=dict)

    @property
    def clean_psnr(self) -> float:
        """Of repaired clean photos to themselves, the least, in dB, at most 150."""
        return min((figures.clean_psnr for figures in self.by_photo.values()), default=150.0)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DamageReport:
        """The report that `as_dict` gave these values."""
        own = dict(values)
        own["detection"] = {kind: Detection(**row) for kind, row in own["detection"].items()}
        for part in ("repair", "scratch_repair"):
            own[part] = {name: Repair(**row) for name, row in own[part].items()}
        for part, kind, key in (
            ("marked", MarkedFigures, "detection"),
            ("by_photo", PhotoFigures, "scratches"),
        ):
            own[part] = {
                name: kind(**{**row, key: Detection(**row[key])})
                for name, row in own.get(part, {}).items()
            }
        own["kinds"] = {kind: KindFigures(**row) for kind, row in own.get("kinds", {}).items()}
        return cls(**own)
