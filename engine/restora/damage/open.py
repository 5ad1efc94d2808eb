"""Open the networks that find and repair damage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from restora.artifact import Io, Kind
from restora.backends import Session
from restora.damage.networks import DamageFinder, PhotoRepairer
from restora.damage.options import DamageOptions
from restora.damage.stage import DamageStage
from restora.errors import OptionError
from restora.models import FindArtifact

OpenSession = Callable[[Path, Kind, Io], Session]

DETECTOR_MODEL, REPAIRER_MODEL = "restora-damage", "restora-repair"


def open_damage(
    options: DamageOptions, *, find: FindArtifact, open_session: OpenSession
) -> DamageStage:
    """Open the repairer and, if damage is looked for, the detector.

    find: returns the path of an artifact
    open_session: opens a session for uint8 images

    Raises the errors of read_mask; MissingModelError if a network is not on this machine.
    """
    finder = None
    if options.find != "off":
        path = find(options.detector or DETECTOR_MODEL, "uint8", "damage-detector")
        finder = DamageFinder(open_session(path, "damage-detector", "uint8"))
    path = find(options.repairer or REPAIRER_MODEL, "uint8", "repairer")
    repairer = PhotoRepairer(open_session(path, "repairer", "uint8"))
    return DamageStage(finder, repairer, options)


def damage_options_of(damage: DamageOptions | bool | None) -> DamageOptions | None:
    """The options of the stage; None if it is off. Raises OptionError for anything else."""
    if isinstance(damage, DamageOptions):
        return damage
    if damage is None or damage is False:
        return None
    if damage is True:
        return DamageOptions()
    raise OptionError(f"damage must be True, False, None or DamageOptions, got {damage!r}")


def variant_of_damage(
    stage: DamageStage | None, damage: DamageOptions | bool | None
) -> DamageStage | None:
    """The same networks with other options; None: as they are, False: no repair.

    Raises OptionError for options that need networks that are not open.
    """
    if damage is None or stage is None or damage is False:
        if stage is None and damage:
            raise OptionError("damage is repaired by networks, which are not open: open them too")
        return stage if damage is None else None
    return stage.with_options(DamageOptions() if damage is True else damage)
