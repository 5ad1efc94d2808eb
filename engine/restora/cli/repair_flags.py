"""Options about damage and color, which are repaired before a photo is enlarged."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from restora.cli.panels import in_panel
from restora.damage import DamageOptions
from restora.damage.options import DEFAULT_THRESHOLD, MAX_FACE_SHARE, MAX_SHARE
from restora.errors import OptionError

_prints = in_panel("Old prints")


@dataclass(frozen=True)
class RepairFlags:
    """The options; see damage_options."""

    damage: Annotated[
        Literal["off", "scratches", "all"],
        _prints(
            help="Find and repair damage. scratches: thin damage, such as scratches, hairs, dust "
            "and cracks; all: folds, stains and missing parts too."
        ),
    ] = "off"
    damage_mask: Annotated[
        Path | None,
        _prints(
            help="A picture of the photo's size, white where it is damaged: repaired besides what "
            "--damage finds, or alone without it."
        ),
    ] = None
    damage_threshold: Annotated[
        float,
        _prints(min=0, max=1, help="Minimum probability at which a pixel counts as damaged."),
    ] = DEFAULT_THRESHOLD
    damage_share: Annotated[
        float,
        _prints(min=0, max=1, help="A photo with a larger share of damage is not repaired."),
    ] = MAX_SHARE
    damage_face_share: Annotated[
        float,
        _prints(
            min=0,
            max=1,
            help="A face with a larger share of damage is left to the face network.",
        ),
    ] = MAX_FACE_SHARE
    damage_detector: Annotated[
        str | None,
        _prints(help="A damage detector: a name, an artifact or a checkpoint. Default: bundled."),
    ] = None
    damage_repairer: Annotated[
        str | None,
        _prints(help="A repairer: a name, an artifact or a checkpoint. Default: bundled."),
    ] = None
    color: Annotated[
        Literal["off", "balance", "unfade"],
        _prints(
            help="Correct colors. balance: remove a cast; unfade: restore the contrast of a faded "
            "print too. Gray and sepia stay so, and so do pictures that have not faded."
        ),
    ] = "off"

    def damage_options(self) -> DamageOptions | None:
        """None if no damage is repaired. Raises OptionError for options that contradict."""
        if self.damage == "off" and self.damage_mask is None:
            return None
        return DamageOptions(
            find=self.damage,
            mask=self.damage_mask,
            threshold=self.damage_threshold,
            max_share=self.damage_share,
            max_face_share=self.damage_face_share,
            detector=self.damage_detector,
            repairer=self.damage_repairer,
        )


@dataclass(frozen=True)
class SavedRepairFlags(RepairFlags):
    """With what a command that writes more than results takes."""

    save_mask: Annotated[
        bool, _prints("--save-mask", help="Also write what was repaired, as NAME_mask.png.")
    ] = False

    def checked_options(self, *, aligned: bool) -> DamageOptions | None:
        """Like damage_options, for a run with other options."""
        options = self.damage_options()
        if options is None and self.save_mask:
            raise OptionError("--save-mask needs --damage or --damage-mask")
        if options is not None and aligned:
            raise OptionError("--aligned faces are not repaired: leave --damage out")
        return options
