"""Correct the colors of faded and yellowed prints."""

from restora.color.correct import (
    ColorCorrection,
    ColorMode,
    correct_color,
    correct_photo,
    find_correction,
)

__all__ = ["ColorCorrection", "ColorMode", "correct_color", "correct_photo", "find_correction"]
