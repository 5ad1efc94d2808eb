"""Store weights as float16 where that loses nothing; restora.artifact.half_weights reads them."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from restora.artifact.half_weights import HALF_SUFFIX, expand_weights
from restora.errors import ArtifactError

_SMALLEST = 1024  # elements; smaller constants are not worth a node


def compact_weights(data: bytes) -> bytes:
    """An ONNX file whose large float32 constants are stored as float16, with a Cast node each.

    Constants that float16 does not represent exactly stay as they are, so the network computes the
    same. The file is about half as large if it was made of a float16 checkpoint.

    Raises ArtifactError if the original could not be had back.
    """
    model = onnx.load_model_from_string(data)
    graph = model.graph
    casts = []
    for tensor in graph.initializer:
        halves = _halves_of(tensor)
        if halves is None:
            continue
        name, tensor.name = tensor.name, tensor.name + HALF_SUFFIX
        tensor.data_type, tensor.raw_data = TensorProto.FLOAT16, halves.tobytes()
        casts.append(helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(model, full_check=True)
    compact = bytes(model.SerializeToString(deterministic=True))
    if expand_weights(compact) != data:
        raise ArtifactError(
            "the compact file must hold the same network, and it does not: export without compact"
        )
    return compact


def _halves_of(tensor: TensorProto) -> np.ndarray | None:
    """The values as float16, or None if the tensor is small, or of values that do not fit."""
    if tensor.data_type != TensorProto.FLOAT or not tensor.HasField("raw_data"):
        return None
    values = numpy_helper.to_array(tensor)
    if values.size < _SMALLEST:
        return None
    with np.errstate(over="ignore"):
        halves = values.astype("<f2")
    return halves if np.array_equal(halves.astype(np.float32), values) else None
