"""Find the damage of a scanned print and repair it, before it is enlarged."""

from restora.damage.options import DamageOptions, Find
from restora.damage.stage import DamageOutcome, DamageStage

__all__ = ["DamageOptions", "DamageOutcome", "DamageStage", "Find"]
