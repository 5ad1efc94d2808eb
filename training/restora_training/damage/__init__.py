"""A model of how prints are damaged: what a repair network learns to find and to fill.

Every defect comes from a random generator and returns the picture and the exact mask of the pixels
that it changed. Aging (faded color, texture) changes all pixels and has no mask.
"""

from restora_training.damage.layer import Damaged, Layer
from restora_training.damage.model import DEFECTS, AgingRange, DamageRange, age_photo, damage_photo

__all__ = [
    "DEFECTS",
    "AgingRange",
    "DamageRange",
    "Damaged",
    "Layer",
    "age_photo",
    "damage_photo",
]
