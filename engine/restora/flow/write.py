"""Write what was made of one photo."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from restora.errors import OutputError, UnsafePathError
from restora.image import Photo, make_comparison, write_photo
from restora.joint import FaceOutcome
from restora.restoration import Restoration
from restora.runs.resume import digest_of_file


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """How results are written.

    root    the folder that nothing may leave; None: anywhere
    suffix  of the files of restored faces
    """

    root: Path | None = None
    quality: int = 95
    strip_metadata: bool = False
    compare: bool = False
    save_faces: bool = False
    suffix: str = ""


def write_result(target: Path, before: Photo, result: Restoration, writing: WriteOptions) -> str:
    """Write the result, and what is asked for besides, the result last. Returns its sha256.

    Raises OutputError or ImageError.
    """
    if writing.compare:
        path = target.with_name(f"{target.stem}_compare.jpg")
        write_photo(make_comparison(before, result.photo), path, quality=90, inside=writing.root)
    if writing.save_faces:
        _write_faces(target, result.faces, writing)
    write_photo(
        result.photo,
        target,
        quality=writing.quality,
        strip_metadata=writing.strip_metadata,
        inside=writing.root,
    )
    return digest_of_file(target)


def prepare_folder(target: Path, root: Path | None) -> None:
    """Make the target's folder, never through a link that leaves `root`.

    Raises UnsafePathError or, if it cannot be made, OutputError.
    """
    resolved = target.parent.resolve()
    if root is not None and not resolved.is_relative_to(root.resolve()):
        raise UnsafePathError(f"{target} would be written outside {root}: {resolved}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{target.parent} cannot be made: {error.strerror}") from error


def _write_faces(target: Path, faces: Iterable[FaceOutcome], writing: WriteOptions) -> None:
    """cropped_faces, restored_faces and cmp, named as the published script names them."""
    ending = f"_{writing.suffix}" if writing.suffix else ""
    root = writing.root or target.parent
    for index, face in enumerate(faces):
        if face.crop is None or face.restored is None:
            continue
        name = f"{target.stem}_{index:02d}"
        pictures = {
            f"cropped_faces/{name}.png": face.crop,
            f"restored_faces/{name}{ending}.png": face.restored,
            f"cmp/{name}.png": np.concatenate((face.crop, face.restored), axis=1),
        }
        for path, pixels in pictures.items():
            prepare_folder(root / path, root)
            write_photo(Photo(pixels), root / path, inside=root)
