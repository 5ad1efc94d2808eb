"""Tensors in the messages of gRPC: as bytes, or as numbers in a field for each type."""

from __future__ import annotations

from typing import Any

from restora.backends import Batch
from restora.errors import RequestError
from restora.serve.v2.bodies import timeout_of, to_bytes
from restora.serve.v2.messages import CLASSES
from restora.serve.v2.tensors import GivenTensor, InferRequest

_CONTENTS = {"UINT8": "uint_contents", "FP32": "fp32_contents"}
_SHARED_MEMORY = "shared_memory_region"


def request_from(message: Any) -> InferRequest:
    """Of a ModelInferRequest. Raises RequestError for what the protocol does not allow, and for
    tensors in shared memory."""
    raw = list(message.raw_input_contents)
    inputs = list(message.inputs)
    if raw and len(raw) != len(inputs):
        raise RequestError(
            f"raw_input_contents must hold one item for each of {len(inputs)} inputs, "
            f"got {len(raw)}"
        )
    for tensor in (*inputs, *message.outputs):
        if _SHARED_MEMORY in tensor.parameters:
            raise RequestError(
                "tensors in shared memory are not supported: send them in the request"
            )
    parameters = {name: _value_of(one) for name, one in message.parameters.items()}
    return InferRequest(
        tuple(_given(tensor, raw[index] if raw else None) for index, tensor in enumerate(inputs)),
        tuple(output.name for output in message.outputs) or None,
        message.id,
        timeout_of(parameters),
    )


def write_response(
    name: str, version: str, request_id: str, output: str, datatype: str, result: Batch
) -> Any:
    """A ModelInferResponse, with the tensor as bytes."""
    response = CLASSES["ModelInferResponse"](model_name=name, model_version=version, id=request_id)
    response.outputs.add(name=output, datatype=datatype, shape=list(result.shape))
    response.raw_output_contents.append(to_bytes(result))
    return response


def _given(tensor: Any, raw: bytes | None) -> GivenTensor:
    shape = tuple(tensor.shape)
    if raw is not None:
        return GivenTensor(tensor.name, tensor.datatype, shape, raw=raw)
    field = _CONTENTS.get(tensor.datatype)
    values = [] if field is None else list(getattr(tensor.contents, field))
    return GivenTensor(tensor.name, tensor.datatype, shape, values=values)


def _value_of(parameter: Any) -> Any:
    chosen = parameter.WhichOneof("parameter_choice")
    return None if chosen is None else getattr(parameter, chosen)
