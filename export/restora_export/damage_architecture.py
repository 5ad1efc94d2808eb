"""Detect the networks that find and repair damage, and their sizes, from a state dict."""

from dataclasses import dataclass

from torch import nn

from restora_export.key_shapes import State, shape_of
from restora_export.reference import DamageDetector, Repairer


@dataclass(frozen=True, slots=True)
class DamageDetectorSpec:
    """Hyperparameters of a DamageDetector."""

    features: tuple[int, int, int, int]

    def build(self) -> nn.Module:
        return DamageDetector(self.features)

    def __str__(self) -> str:
        return f"DamageDetector, {', '.join(map(str, self.features))} features"


@dataclass(frozen=True, slots=True)
class RepairerSpec:
    """Hyperparameters of a Repairer."""

    features: tuple[int, int, int]

    def build(self) -> nn.Module:
        return Repairer(self.features)

    def __str__(self) -> str:
        return f"Repairer, {', '.join(map(str, self.features))} features"


def detect_damage_architecture(state: State) -> DamageDetectorSpec | RepairerSpec | None:
    """Returns None for other networks."""
    if "mask_head.weight" in state:
        keys = [
            f"{name}.conv.weight" for name in ("stem", "to_quarter", "to_eighth", "to_sixteenth")
        ]
        half, quarter, eighth, sixteenth = (shape_of(state, key, 4)[0] for key in keys)
        return DamageDetectorSpec((half, quarter, eighth, sixteenth))
    if "fill_head.weight" in state:
        half = shape_of(state, "from_quarter.weight", 4)[0]
        quarter, eighth = shape_of(state, "from_eighth.weight", 4)[:2]
        return RepairerSpec((half, quarter, eighth))
    return None
