"""Files made to hurt: what is no regular file, names, giants, bombs, lies in every format.

Most must fail, each with its error; those whose pixels are sound must be restored.
"""

from __future__ import annotations

from restora_tools.endurance.hostile.bombs import make_bombs
from restora_tools.endurance.hostile.broken import make_cut_files, make_moving_files, make_odd_files
from restora_tools.endurance.hostile.png import make_lying_pngs
from restora_tools.endurance.hostile.special import make_giants, make_hard_names, make_special_files
from restora_tools.endurance.hostile.tiff import make_lying_tiffs
from restora_tools.endurance.pictures import PictureFile


def make_hostile() -> list[PictureFile]:
    """About 120 that must fail, and some that must be restored."""
    return [
        *make_special_files(),
        *make_giants(),
        *make_hard_names(),
        *make_lying_pngs(),
        *make_lying_tiffs(),
        *make_bombs(),
        *make_moving_files(),
        *make_cut_files(),
        *make_odd_files(),
    ]
