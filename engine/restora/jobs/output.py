"""Write the result of one photo."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from restora.errors import OptionError
from restora.faces.pipeline import FaceOutcome
from restora.image import Photo, write_photo
from restora.image.compare import make_comparison
from restora.jobs.disk import digest_of_file, prepare_folder
from restora.jobs.extras import Extras, FaceNames
from restora.restoration import Restoration

_COMPARISON_QUALITY = 90


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """How results are written.

    root: the folder that all files must lie in; None: any folder
    extras: files to write beside a result, by the result's path
    """

    root: Path | None = None
    quality: int = 95
    strip_metadata: bool = False
    extras: Mapping[Path, Extras] = field(default_factory=dict)


def write_result(target: Path, before: Photo, result: Restoration, writing: WriteOptions) -> str:
    """Write the extras and then the result. Returns the sha256 of the result.

    Raises OutputError or ImageError.
    """
    extras = writing.extras.get(target, Extras())
    if extras.comparison is not None:
        comparison = make_comparison(before, result.photo)
        write_photo(comparison, extras.comparison, quality=_COMPARISON_QUALITY, inside=writing.root)
    if extras.mask is not None:
        _write_mask(extras.mask, result, writing.root)
    if extras.faces is not None:
        _write_faces(extras.faces, result.faces, writing.root)
    write_photo(
        result.photo,
        target,
        quality=writing.quality,
        strip_metadata=writing.strip_metadata,
        inside=writing.root,
    )
    return digest_of_file(target)


def _write_mask(path: Path, result: Restoration, root: Path | None) -> None:
    """White where something was repaired, of the size of the input."""
    if result.damage is None:
        raise OptionError("saving masks needs a Restorer with damage=DamageOptions()")
    mask = result.damage.mask
    if mask is None:
        mask = np.zeros(result.damage.size, bool)
    write_photo(Photo(mask.astype(np.uint8) * np.uint8(255)), path, inside=root)


def _write_faces(names: FaceNames, faces: Iterable[FaceOutcome], root: Path | None) -> None:
    """Write cropped_faces, restored_faces and cmp, as the published script does."""
    for index, face in enumerate(faces):
        if face.crop is None or face.restored is None:
            continue
        both = np.concatenate((face.crop, face.restored), axis=1)
        for path, pixels in zip(names.paths(index), (face.crop, face.restored, both), strict=True):
            prepare_folder(path, root)
            write_photo(Photo(pixels), path, inside=root)
