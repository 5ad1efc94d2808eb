"""Tensors of requests and answers: names, types and shapes, and the arrays that they hold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from restora.artifact import ArtifactInfo
from restora.artifact.tensors import INPUT, OUTPUT
from restora.backends.base import Batch
from restora.errors import RequestError, ShapeError

MAX_BATCH = 64
_TYPES = {"uint8": "UINT8", "float32": "FP32"}
_DETECTOR_COLUMNS = 16


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """What a network takes or gives.

    datatype: in the protocol's words: "UINT8" or "FP32"
    shape: with the batch; -1 for a size that may vary
    """

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class GivenTensor:
    """A tensor as a request holds it.

    raw: its bytes in row-major order, little-endian; None if it has values
    values: numbers, in nested lists or flat; None if it is raw
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    raw: bytes | memoryview | None = field(default=None, repr=False)
    values: Sequence[Any] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class InferRequest:
    """A request for one run of a network.

    outputs: names of the wanted outputs; None: all
    timeout_s: within which the answer is wanted; None: any time
    """

    inputs: tuple[GivenTensor, ...]
    outputs: tuple[str, ...] | None = None
    id: str = ""
    timeout_s: float | None = None


def input_of(info: ArtifactInfo) -> TensorSpec:
    side = info.side or -1
    return TensorSpec(INPUT, _TYPES[info.io], (-1, side, side, 3))


def output_of(info: ArtifactInfo) -> TensorSpec:
    if info.kind == "detector":
        return TensorSpec(OUTPUT, "FP32", (-1, -1, _DETECTOR_COLUMNS))
    side = -1 if info.side is None else info.side * info.scale
    channels = 1 if info.kind == "parser" else 3
    return TensorSpec(OUTPUT, _TYPES[info.io], (-1, side, side, channels))


def batch_of(request: InferRequest, info: ArtifactInfo) -> Batch:
    """The pictures of a request, (batch, height, width, 3).

    Raises RequestError for other tensors than the network has, ShapeError for a type or a shape
    that it does not take, or that the data does not fill.
    """
    spec = input_of(info)
    if request.outputs is not None and set(request.outputs) != {OUTPUT}:
        raise RequestError(
            f"{info.model} has one output, {OUTPUT!r}, the request wants "
            f"{', '.join(map(repr, request.outputs)) or 'none'}"
        )
    if [one.name for one in request.inputs] != [INPUT]:
        names = ", ".join(repr(one.name) for one in request.inputs) or "none"
        raise RequestError(f"{info.model} has one input, {INPUT!r}, the request has {names}")
    (given,) = request.inputs
    if given.datatype != spec.datatype:
        raise ShapeError(f"{INPUT} of {info.model} must be {spec.datatype}, got {given.datatype}")
    _check_shape(given.shape, spec, info)
    return _array_of(given, np.dtype(info.io))


def count_pixels(shape: Sequence[int]) -> int:
    """Of pictures of this shape, as far as it is one."""
    return math.prod(shape[:3]) if all(size > 0 for size in shape[:3]) else 0


def _check_shape(shape: tuple[int, ...], spec: TensorSpec, info: ArtifactInfo) -> None:
    """The session checks the rest: multiples, and the largest and the smallest side."""
    fits = len(shape) == len(spec.shape) and all(
        size > 0 and wanted in (-1, size) for size, wanted in zip(shape, spec.shape, strict=True)
    )
    if not fits:
        raise ShapeError(
            f"{INPUT} of {info.model} must have shape {list(spec.shape)}, -1 for any size, "
            f"got {list(shape)}"
        )
    if shape[0] > MAX_BATCH:
        raise ShapeError(f"a request holds at most {MAX_BATCH} pictures, got {shape[0]}")


def _array_of(given: GivenTensor, dtype: np.dtype[Any]) -> Batch:
    count = math.prod(given.shape)
    if given.raw is not None:
        if len(given.raw) != count * dtype.itemsize:
            raise ShapeError(
                f"{given.name} of shape {list(given.shape)} must have {count * dtype.itemsize} "
                f"bytes, got {len(given.raw)}"
            )
        little = dtype.newbyteorder("<")
        array: Batch = np.frombuffer(given.raw, little).reshape(given.shape).astype(dtype)
        return array
    return _array_of_values(given, count, dtype)


def _array_of_values(given: GivenTensor, count: int, dtype: np.dtype[Any]) -> Batch:
    try:
        values = np.asarray(given.values)
    except ValueError as error:  # rows of different lengths
        raise ShapeError(f"the data of {given.name} has rows of different lengths") from error
    if values.dtype.kind not in "iuf" or values.size != count:
        raise ShapeError(
            f"the data of {given.name} must be {count} numbers for the shape "
            f"{list(given.shape)}, got {values.size} of type {values.dtype}"
        )
    if dtype == np.uint8 and (
        values.dtype.kind == "f" or values.min() < 0 or values.max() > np.iinfo(dtype).max
    ):
        raise ShapeError(f"the data of {given.name} must be whole numbers in 0..255")
    return values.reshape(given.shape).astype(dtype)
