"""Tables of where the components of aligned faces are, made with the project's face parser."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from restora.atomic import write_atomically
from restora.backends import open_session
from restora.errors import OptionError, RestoraError
from restora.faces.open import PARSER_MODEL
from restora.models.resolve import artifact_finder
from restora_calibration.folders import list_photos, read_pixels
from restora_training.components import COMPONENTS, PUBLISHED, place_from_parsing

logger = logging.getLogger(__name__)

_SIDE = 512


def write_components(
    faces: Path, output: Path, *, report: Callable[[str], None] = logger.info
) -> int:
    """Find the components of all faces in a folder and write the table that a recipe takes as
    data.faces.

    faces: folder of aligned faces
    report: called with a line about each face that is left out, or that lacks eyes or a mouth

    Returns the number of faces. Raises OptionError if there is none, MissingModelError without the
    parser.
    """
    find = artifact_finder(None, None)
    session = open_session(find(PARSER_MODEL, "uint8", "parser"))
    table = {}
    try:
        side = session.info.side
        assert side is not None
        for path in list_photos(faces):
            try:
                pixels = read_pixels(path)
            except RestoraError as error:
                report(f"{path} is left out: {error}")
                continue
            sized = np.asarray(cv2.resize(pixels, (side, side)), np.uint8)
            parsed = session.run(sized[None])[0, ..., 0].astype(np.uint8)
            labels = cv2.resize(parsed, (_SIDE, _SIDE), interpolation=cv2.INTER_NEAREST)
            integers = np.asarray(labels, np.uint8)
            places = {name: place_from_parsing(name, integers) for name in COMPONENTS}
            found = {name: place for name, place in places.items() if place is not None}
            table[path.name] = found
            missing = [name for name in PUBLISHED if name not in found]
            if missing:
                report(f"{path} shows no {', '.join(missing)}")
    finally:
        session.close()
    if not table:
        raise OptionError(f"there are no faces in {faces}")
    write_atomically(output, json.dumps(table, indent=1).encode())
    return len(table)
