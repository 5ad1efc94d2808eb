"""Bodies of HTTP requests and answers: JSON, and tensors as bytes behind it (the binary extension).

Protocol: docs/protocol/extension_binary_data.md of github.com/triton-inference-server/server
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from restora.backends.base import Batch
from restora.errors import RequestError
from restora.serve.v2.tensors import GivenTensor, InferRequest

HEADER_LENGTH = "Inference-Header-Content-Length"
MAX_HEADER_BYTES = 1 << 20

_SHARED_MEMORY = "shared_memory_region"


@dataclass(frozen=True, slots=True)
class HttpInferRequest:
    """binary: whether the answer's tensors are wanted as bytes."""

    request: InferRequest
    binary: bool


def read_body(body: bytes, header_length: str | None) -> HttpInferRequest:
    """A request from its body.

    header_length: of the header HEADER_LENGTH: bytes of JSON before the bytes of tensors; None: all
        of the body is JSON

    Raises RequestError for a body that is not as the protocol says.
    """
    length = _parse_length(header_length, len(body))
    values = _parse_json(body[:length])
    rest = memoryview(body)[length:]
    inputs = []
    for one in _objects(values, "inputs"):
        tensor, used = _read_input(one, rest)
        inputs.append(tensor)
        rest = rest[used:]
    if len(rest):
        raise RequestError(
            f"the body goes on for {len(rest)} bytes after the tensors that the JSON names"
        )
    parameters = _object(values.get("parameters", {}), "parameters")
    outputs = _objects(values, "outputs") if values.get("outputs") else None
    wanted = [_read_output(one) for one in outputs or ()]
    default = _flag(parameters, "binary_data_output", False)
    binary = [default if given is None else given for _, given in wanted]
    request = InferRequest(
        tuple(inputs),
        None if outputs is None else tuple(name for name, _ in wanted),
        _text(values.get("id", ""), "id"),
        timeout_of(parameters),
    )
    return HttpInferRequest(request, any(binary) if wanted else default)


def write_body(
    name: str, version: str, request: HttpInferRequest, output: str, datatype: str, result: Batch
) -> tuple[bytes, dict[str, str]]:
    """The answer's body, and its headers."""
    tensor: dict[str, Any] = {"name": output, "datatype": datatype, "shape": list(result.shape)}
    answer: dict[str, Any] = {"model_name": name, "model_version": version, "outputs": [tensor]}
    if request.request.id:
        answer["id"] = request.request.id
    if not request.binary:
        tensor["data"] = result.reshape(-1).tolist()
        return json.dumps(answer).encode(), {"Content-Type": "application/json"}
    data = to_bytes(result)
    tensor["parameters"] = {"binary_data_size": len(data)}
    head = json.dumps(answer).encode()
    headers = {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(head))}
    return head + data, headers


def to_bytes(array: Batch) -> bytes:
    """Row-major and little-endian."""
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()


def timeout_of(parameters: Mapping[str, Any]) -> float | None:
    """Seconds of the parameter timeout, which is in microseconds; 0 is none. Raises RequestError
    for anything but a whole number of them."""
    value = parameters.get("timeout", 0)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 53:
        raise RequestError(f"the parameter timeout must be microseconds, got {value!r}")
    return value / 1e6 or None


def _parse_length(text: str | None, size: int) -> int:
    if text is None:
        return size
    if not (text.isascii() and text.isdecimal() and len(text) < 12 and int(text) <= size):
        raise RequestError(
            f"{HEADER_LENGTH} must be the number of bytes of JSON in a body of {size}, "
            f"got {text[:40]!r}"
        )
    if int(text) > MAX_HEADER_BYTES:
        raise RequestError(f"JSON before tensors may have {MAX_HEADER_BYTES} bytes, got {text}")
    return int(text)


def _parse_json(data: bytes) -> dict[str, Any]:
    try:
        values = json.loads(data)
    except RecursionError as error:
        raise RequestError("the request's JSON is nested too deeply") from error
    except ValueError as error:
        raise RequestError(f"the request's JSON cannot be read: {error}") from error
    return _object(values, "the request")


def _read_input(one: dict[str, Any], rest: memoryview) -> tuple[GivenTensor, int]:
    """The tensor, and how many bytes behind the JSON are its."""
    name, datatype = _text(one.get("name"), "name"), _text(one.get("datatype"), "datatype")
    shape = one.get("shape")
    if not isinstance(shape, list) or not all(_is_size(size) for size in shape):
        raise RequestError(f"the shape of {name} must be a list of whole numbers, got {shape!r}")
    parameters = _object(one.get("parameters", {}), f"parameters of {name}")
    if _SHARED_MEMORY in parameters:
        raise RequestError("tensors in shared memory are not supported: send them in the request")
    size = parameters.get("binary_data_size")
    if size is None:
        values = one.get("data")
        if not isinstance(values, list):
            raise RequestError(f"{name} has neither data nor binary_data_size")
        return GivenTensor(name, datatype, tuple(shape), values=values), 0
    if not _is_size(size) or not 0 <= size <= len(rest):
        raise RequestError(
            f"binary_data_size of {name} must be bytes of the {len(rest)} that follow, got {size!r}"
        )
    return GivenTensor(name, datatype, tuple(shape), raw=rest[:size]), size


def _read_output(one: dict[str, Any]) -> tuple[str, bool | None]:
    """The name, and whether it is wanted as bytes; None: as the request says."""
    name = _text(one.get("name"), "name")
    parameters = _object(one.get("parameters", {}), f"parameters of {name}")
    if _SHARED_MEMORY in parameters or parameters.get("classification"):
        raise RequestError("outputs in shared memory or as classes are not supported")
    if "binary_data" not in parameters:
        return name, None
    return name, _flag(parameters, "binary_data", False)


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 40


def _objects(values: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = values.get(name)
    if not isinstance(found, list):
        raise RequestError(f"{name} must be a list of objects, got {type(found).__name__}")
    return [_object(one, f"one of {name}") for one in found]


def _object(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RequestError(f"{name} must be a JSON object, got {type(value).__name__}")
    return value


def _text(value: object, name: str) -> str:
    if not isinstance(value, str) or len(value) > 1000:
        raise RequestError(f"{name} must be a text of up to 1000 characters")
    return value


def _flag(parameters: dict[str, Any], name: str, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise RequestError(f"the parameter {name} must be true or false, got {value!r}")
    return value
