"""Read the weights of an artifact of restora as a checkpoint.

That works for SRVGGNetCompact in FP32, whose graph holds the weights as they are. Those of RRDBNet
are folded into each other for speed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
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
_CONV = re.compile(r"network\.body\.([0-9]+)\.weight")


@dataclass(frozen=True, slots=True)
class OwnWeights:
    """tensors: by their published keys
    architecture, sha256, license: of the checkpoint that the artifact was made of
    """

    tensors: dict[str, StoredTensor]
    architecture: str
    sha256: str
    license: str


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
    graph = onnx.load_model_from_string(data).graph
    constants = {
        tensor.name.removesuffix(HALF_SUFFIX): numpy_helper.to_array(tensor)
        for tensor in graph.initializer
    }
    tensors = {
        name.removeprefix(_PREFIX): _stored(values)
        for name, values in constants.items()
        if name.startswith(_PREFIX)
    }
    tensors |= {key: _stored(constants[name].reshape(-1)) for key, name in _slopes_of(graph)}
    return OwnWeights(tensors, info.architecture, info.weights_sha256, info.license)


def _slopes_of(graph: onnx.GraphProto) -> Iterator[tuple[str, str]]:
    """Published keys of the slopes of each PReLU, and the names of the constants that hold them.

    The exporter reshapes the slopes, and so renames them. They belong to the module behind the
    convolution.
    """
    weights = {node.output[0]: node.input[1] for node in graph.node if node.op_type == "Conv"}
    for node in graph.node:
        found = _CONV.fullmatch(weights.get(node.input[0], "")) if node.op_type == "PRelu" else None
        if found is not None:
            yield f"body.{int(found[1]) + 1}.weight", node.input[1]


def _stored(values: NDArray[np.generic]) -> StoredTensor:
    return StoredTensor(values.shape, torch.float32, values.nbytes, partial(_tensor, values))


def _tensor(values: NDArray[np.generic]) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))
