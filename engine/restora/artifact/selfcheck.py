"""A picture and its right answer travel with every artefact, so that what is built from it on
another machine can be checked there, without PyTorch.

Kept as PNG in the ONNX file's metadata: 8 bits for uint8 pictures, 16 for float32.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from restora.artifact.info import ArtifactInfo
from restora.errors import ArtifactError

METADATA_KEY = "restora.selfcheck"
Picture = NDArray[np.uint8 | np.float32]
_WHITE_16 = np.float32(65535)


@dataclass(frozen=True, slots=True, eq=False)
class SelfCheck:
    """A batch that the network takes, and PyTorch FP32's answer to it.

    image   (batch, height, width, 3), in the artefact's io dtype
    answer  the same, `scale` times larger
    """

    image: Picture
    answer: Picture

    def to_json(self) -> str:
        return json.dumps({"image": _encode(self.image), "answer": _encode(self.answer)})


def selfcheck_from_json(text: str, info: ArtifactInfo) -> SelfCheck:
    """Raises ArtifactError if the text is damaged or does not fit the artefact."""
    try:
        values: dict[str, Any] = json.loads(text)
        image, answer = (_decode(values[name], info) for name in ("image", "answer"))
    except (ValueError, KeyError, TypeError, cv2.error) as error:
        raise ArtifactError(f"the artefact's self-check cannot be read: {error}") from error
    batch, height, width, _ = image.shape
    if answer.shape != (batch, height * info.scale, width * info.scale, 3):
        raise ArtifactError(
            f"the artefact's self-check does not fit: {image.shape} gives {answer.shape}"
        )
    return SelfCheck(image, answer)


def measure_psnr(got: Picture, expected: Picture) -> tuple[float, float]:
    """Mean and least PSNR in dB over the pictures of a batch; 150 for equal ones."""
    white = 255.0 if expected.dtype == np.uint8 else 1.0
    difference = (got.astype(np.float64) - expected.astype(np.float64)) / white
    errors = np.square(difference).mean((1, 2, 3))
    psnrs = [150.0 if error == 0 else float(min(150.0, -10 * np.log10(error))) for error in errors]
    if not np.isfinite(difference).all():
        return 0.0, 0.0
    return float(np.mean(psnrs)), min(psnrs)


def _encode(batch: Picture) -> dict[str, Any]:
    """Pictures of a batch below each other in one PNG."""
    tall = batch.reshape(-1, *batch.shape[2:])
    if batch.dtype == np.float32:
        tall = np.rint(tall * _WHITE_16).astype(np.uint16)
    done, data = cv2.imencode(".png", tall)
    assert done
    return {"batch": len(batch), "png": base64.b64encode(data.tobytes()).decode()}


def _decode(value: dict[str, Any], info: ArtifactInfo) -> Picture:
    data = np.frombuffer(base64.b64decode(value["png"], validate=True), np.uint8)
    tall = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    depth = np.uint8 if info.io == "uint8" else np.uint16
    batch = int(value["batch"])
    if tall is None or tall.dtype != depth or tall.ndim != 3 or batch < 1 or len(tall) % batch:
        raise ValueError("no picture of the right kind")
    pictures = np.asarray(tall).reshape(batch, -1, *tall.shape[1:])
    if info.io == "uint8":
        return pictures.astype(np.uint8)
    return (pictures / _WHITE_16).astype(np.float32)
