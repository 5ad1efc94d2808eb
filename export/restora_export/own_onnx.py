"""Read the weights of an artifact of restora as a checkpoint.

That works for SRVGGNetCompact in FP32, whose graph holds the weights as they are. Those of RRDBNet
are folded into each other for speed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor

from restora.artifact import artifact_from_bytes
from restora.artifact.half_weights import HALF_SUFFIX
from restora.artifact.info import METADATA_KEY
from restora.artifact.load import MAX_ONNX_BYTES
from restora.artifact.onnx_wire import read_onnx_facts
from restora.errors import ArtifactError, CheckpointError
from restora_export.stored_tensor import StoredTensor

_PREFIX = "network."


@dataclass(frozen=True, slots=True)
class OwnWeights:
    """tensors: by their published keys; sha256: of the checkpoint that the artifact was made of"""

    tensors: dict[str, StoredTensor]
    sha256: str


def read_own_onnx(stream: BinaryIO) -> OwnWeights | None:
    """The weights of an artifact; None for an ONNX file of another exporter.

    Raises CheckpointError if the artifact does not hold its weights as they were.
    """
    stream.seek(0)
    data = stream.read(MAX_ONNX_BYTES)
    try:
        if METADATA_KEY not in read_onnx_facts(data).metadata:
            return None
        info = artifact_from_bytes(data).info
    except ArtifactError as error:
        raise CheckpointError(str(error)) from error
    if not info.architecture.startswith("SRVGGNetCompact") or info.precision != "fp32":
        raise CheckpointError(
            "only fp32 artifacts of SRVGGNetCompact hold their weights as they were, this is "
            f"{info.architecture} in {info.precision}: give its checkpoint"
        )
    tensors = {}
    for tensor in onnx.load_model_from_string(data).graph.initializer:
        key = tensor.name.removesuffix(HALF_SUFFIX)
        if key.startswith(_PREFIX):
            values = numpy_helper.to_array(tensor)
            values = values.reshape(len(values)) if values.ndim == 3 else values  # of a PReLU
            tensors[key.removeprefix(_PREFIX)] = _stored(values)
    return OwnWeights(tensors, info.weights_sha256)


def _stored(values: NDArray[np.generic]) -> StoredTensor:
    return StoredTensor(values.shape, torch.float32, values.nbytes, partial(_tensor, values))


def _tensor(values: NDArray[np.generic]) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))
