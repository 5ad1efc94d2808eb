"""The self-check: a small image and its expected result in the metadata of every artifact.

It checks what another machine builds from the artifact, without PyTorch. Both images are stored as
PNG, with 8 bits for uint8 images and 16 bits for float32, of which the answer uses 12.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restora.artifact.info import ArtifactInfo
from restora.artifact.schema import nested, parse_json, read_fields, text, whole
from restora.errors import ArtifactError, ShapeError

METADATA_KEY = "restora.selfcheck"
_MOST_PIXELS = 1 << 23
_MOST_PNG_CHARACTERS = 1 << 26
_MOST_PICTURES = 64
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_CHUNKS = (b"IHDR", b"IDAT", b"IEND")
# of PNG, by the number of channels
_COLOR_TYPES = {1: (0, "a gray"), 3: (2, "an RGB"), 4: (6, "an RGBA")}
Picture = NDArray[np.uint8 | np.float32]
_WHITE_16 = np.float32(65535)
# what an answer of 16 bits is rounded to: an error of 83 dB, above all thresholds, and a PNG of
# two thirds of the size
_ANSWER_STEP = 16
_BATCH = {"batch": whole(1, _MOST_PICTURES), "png": text(_MOST_PNG_CHARACTERS)}
_RULES = {name: nested(_BATCH, lambda **batch: batch, name=name) for name in ("image", "answer")}


@dataclass(frozen=True, slots=True, eq=False)
class SelfCheck:
    """A batch of images and the result of PyTorch in FP32.

    image: (batch, height, width, channels), in the io dtype of the artifact
    answer: the result, `scale` times larger
    """

    image: Picture
    answer: Picture

    def to_json(self) -> str:
        answer = _encode(self.answer, step=_ANSWER_STEP)
        return json.dumps({"image": _encode(self.image), "answer": answer})


def selfcheck_from_json(json_text: str, info: ArtifactInfo) -> SelfCheck:
    """Parse a self-check. Raises ArtifactError if it is damaged, too large, or does not match."""
    import cv2  # here, since an interpreter that runs PyTorch alone reads metadata without OpenCV

    try:
        values = parse_json(json_text, maximum=2 * _MOST_PNG_CHARACTERS + 1000, what="it")
        fields = read_fields(values, _RULES, what="it")
        image, answer = (
            _decode(name=name, info=info, **fields[name]) for name in ("image", "answer")
        )
    except (ValueError, cv2.error) as error:
        raise ArtifactError(f"the artifact's self-check cannot be used: {error}") from error
    batch, height, width, _ = image.shape
    multiple, side = info.size_multiple, info.side
    taken = height % multiple == 0 == width % multiple and side in (None, height)
    if not taken or (side is not None and height != width):
        raise ArtifactError(
            f"the artifact's self-check does not match: {info.model} does not accept images of "
            f"{height} x {width}"
        )
    if answer.shape != (batch, height * info.scale, width * info.scale, info.output_channels):
        raise ArtifactError(
            f"the artifact's self-check does not match: {image.shape} gives {answer.shape}"
        )
    return SelfCheck(image, answer)


def measure_psnr(got: Picture, expected: Picture) -> tuple[float, float]:
    """Mean and minimum PSNR in dB over the images of a batch; 150 for identical images.

    Raises ShapeError unless both have the same shape.
    """
    if got.shape != expected.shape:
        raise ShapeError(f"the images must have shape {expected.shape}, got {got.shape}")
    white = 255.0 if expected.dtype == np.uint8 else 1.0
    difference = (got.astype(np.float64) - expected.astype(np.float64)) / white
    errors = np.square(difference).mean((1, 2, 3))
    psnrs = [150.0 if error == 0 else float(min(150.0, -10 * np.log10(error))) for error in errors]
    if not np.isfinite(difference).all():
        return 0.0, 0.0
    return float(np.mean(psnrs)), min(psnrs)


def _encode(batch: Picture, *, step: int = 1) -> dict[str, Any]:
    """Encode the images of a batch, stacked vertically, as one PNG.

    step: what values of 16 bits are multiples of
    """
    import cv2

    tall = batch.reshape(-1, *batch.shape[2:])
    if batch.dtype == np.float32:
        steps = np.rint(tall * (_WHITE_16 / step))
        tall = np.minimum(steps * step, _WHITE_16).astype(np.uint16)
    done, data = cv2.imencode(".png", tall, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    assert done
    return {"batch": len(batch), "png": base64.b64encode(data.tobytes()).decode()}


def _decode(*, batch: int, png: str, name: str, info: ArtifactInfo) -> Picture:
    """Decode the images of a PNG. Raises ValueError or cv2.error."""
    import cv2

    data = base64.b64decode(png, validate=True)
    depth = 8 if info.io == "uint8" else 16
    channels = info.input_channels if name == "image" else info.output_channels
    width, rows = _read_png_size(data, depth=depth, channels=channels, name=name)
    if rows % batch:
        raise ValueError(f"{name} must hold {batch} images stacked vertically, has {rows} rows")
    tall = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    expected = np.uint8 if depth == 8 else np.uint16
    if tall is None or tall.dtype != expected or tall.size != rows * width * channels:
        raise ValueError(f"{name} must be a valid PNG of {width} x {rows}")
    pictures = np.asarray(tall).reshape(batch, -1, width, channels)
    if depth == 8:
        return pictures.astype(np.uint8)
    return (pictures / _WHITE_16).astype(np.float32)


def _read_png_size(data: bytes, *, depth: int, channels: int, name: str) -> tuple[int, int]:
    """Read width and height of a PNG. Raises ValueError unless they are small and all chunks lie
    within the data, since OpenCV allocates memory before it checks the data."""
    if data[:8] != _PNG_SIGNATURE:
        raise ValueError(f"{name} must be a PNG image")
    position, size = 8, None
    while position < len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        kind = data[position + 4 : position + 8]
        content = data[position + 8 : position + 8 + length]
        if kind not in _PNG_CHUNKS or len(data) < position + 12 + length:
            raise ValueError(f"{name} must be a complete PNG image without other chunks")
        if (kind == b"IHDR") != (size is None):
            raise ValueError(f"{name} must be a PNG image with one header")
        if size is None:
            color, words = _COLOR_TYPES[channels]
            if length != 13 or content[8:] != bytes((depth, color, 0, 0, 0)):
                raise ValueError(f"{name} must be {words} PNG of {depth} bits")
            size = int.from_bytes(content[:4], "big"), int.from_bytes(content[4:8], "big")
        position += 12 + length
    if size is None or not 0 < size[0] * size[1] <= _MOST_PIXELS:
        raise ValueError(f"{name} must have from 1 to {_MOST_PIXELS} pixels, claims {size}")
    return size
