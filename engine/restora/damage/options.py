"""Options of the repair of damage."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from restora.checks import check_choice, check_number, set_checked
from restora.errors import OptionError

Find = Literal["off", "scratches", "all"]

DEFAULT_THRESHOLD = 0.5
MAX_SHARE = 0.25
MAX_FACE_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class DamageOptions:
    """Options of the repair of damage. Raises OptionError for an invalid value.

    find: what is looked for: "scratches": thin damage, such as scratches, hairs, dust and cracks;
        "all": folds, stains and missing parts too; "off": nothing, for a mask of one's own
    mask: pixels to repair besides those that are found, in every photo: the path of a picture of
        the size of the photo, white where it is damaged and black elsewhere; or such an array, bool
        or uint8, (height, width)
    threshold: minimum probability at which a pixel counts as damaged, 0..1; a photo in which
        fewer than 150 pixels are found, hardly any of them certain, counts as undamaged
    max_share: a photo of which more than this share is damaged is not repaired, 0..1
    max_face_share: where damage covers more than this share of a face, the face is left to the face
        network; only with faces, and not for the pixels of `mask`
    detector: name of a damage detector, or path of its artifact or checkpoint; None: bundled
    repairer: the same of a repairer
    """

    find: Find = "all"
    mask: str | Path | NDArray[Any] | None = field(default=None, compare=False)
    threshold: float = DEFAULT_THRESHOLD
    max_share: float = MAX_SHARE
    max_face_share: float = MAX_FACE_SHARE
    detector: str | Path | None = None
    repairer: str | Path | None = None

    def __post_init__(self) -> None:
        if not (self.mask is None or isinstance(self.mask, str | Path | np.ndarray)):
            raise OptionError(f"a damage mask must be a path or an array, got {self.mask!r}")
        for name in ("detector", "repairer"):
            model = getattr(self, name)
            if not (model is None or isinstance(model, str | Path)):
                raise OptionError(f"the damage {name} must be a name or a path, got {model!r}")
        set_checked(
            self,
            find=check_choice("damage", self.find, get_args(Find)),
            **{
                name: check_number(name, getattr(self, name), minimum=0, maximum=1)
                for name in ("threshold", "max_share", "max_face_share")
            },
        )
        if self.find == "off" and self.mask is None:
            raise OptionError("damage that is not looked for needs a mask: give one, or find='all'")
        if not 0 < self.threshold < 1:
            raise OptionError(f"threshold must be between 0 and 1, got {self.threshold:g}")
