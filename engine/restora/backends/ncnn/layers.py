"""Layers of an ncnn network, and the two files that hold them.

Format: https://github.com/Tencent/ncnn/wiki/param-and-model-file-structure. Parameter numbers and
their meanings: https://github.com/Tencent/ncnn/wiki/operation-param-weight-table.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

MAGIC = 7767517
TAG_FP32, TAG_FP16 = 0, 0x01306B47
_ARRAY = -23300  # parameter n is an array if it is written as _ARRAY - n
Floats = NDArray[np.float32]
Parameter = int | float | tuple[float, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """One block of the .bin file. tagged: a tag tells its type, so that FP16 is possible."""

    values: Floats
    tagged: bool = False


@dataclass(slots=True, eq=False)
class Layer:
    """One line of the .param file, with its weights. A blob is consumed by one layer at most."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    parameters: dict[int, Parameter] = field(default_factory=dict)
    weights: tuple[Weights, ...] = ()


def param_text(layers: Sequence[Layer]) -> str:
    """The .param file."""
    layers = list(_split_shared(layers))
    blobs = {name for layer in layers for name in layer.outputs}
    lines = [str(MAGIC), f"{len(layers)} {len(blobs)}"]
    counts: dict[str, int] = {}
    for layer in layers:
        number = counts[layer.kind] = counts.get(layer.kind, -1) + 1
        parts = (
            f"{layer.kind:<16} {layer.kind.lower()}_{number:<8}",
            str(len(layer.inputs)),
            str(len(layer.outputs)),
            *layer.inputs,
            *layer.outputs,
            *(_format(key, value) for key, value in layer.parameters.items()),
        )
        lines.append(" ".join(parts))
    return "\n".join(lines) + "\n"


def bin_parts(layers: Iterable[Layer], *, half: bool = False) -> Iterator[bytes]:
    """The blocks of the .bin file, in order.

    half: write the weights of convolutions in FP16; biases and slopes are always FP32
    """
    for weights in (weights for layer in layers for weights in layer.weights):
        if not weights.tagged:
            yield weights.values.astype("<f4").tobytes()
        elif half:
            data = weights.values.astype("<f2").tobytes()
            yield struct.pack("<I", TAG_FP16) + data + bytes(-len(data) % 4)
        else:
            yield struct.pack("<I", TAG_FP32) + weights.values.astype("<f4").tobytes()


def _split_shared(layers: Sequence[Layer]) -> Iterator[Layer]:
    """Put a Split layer after each blob that several layers consume."""
    readers: dict[str, int] = {}
    for name in (name for layer in layers for name in layer.inputs):
        readers[name] = readers.get(name, 0) + 1
    used: dict[str, int] = {}
    for layer in layers:
        inputs = []
        for name in layer.inputs:
            number = used[name] = used.get(name, -1) + 1
            inputs.append(f"{name}_{number}" if readers[name] > 1 else name)
        yield Layer(layer.kind, tuple(inputs), layer.outputs, layer.parameters, layer.weights)
        for name in layer.outputs:
            count = readers.get(name, 0)
            if count > 1:
                yield Layer("Split", (name,), tuple(f"{name}_{index}" for index in range(count)))


def _format(key: int, value: Parameter) -> str:
    if isinstance(value, tuple):
        return f"{_ARRAY - key}={len(value)}," + ",".join(map(_number, value))
    return f"{key}={_number(value)}"


def _number(value: float) -> str:
    """An integer, or the shortest text of a float32; ncnn reads 15 characters at most, and takes
    them for a float32 if there is a point."""
    if isinstance(value, int):
        return str(value)
    return str(np.format_float_scientific(np.float32(value), trim="0", exp_digits=2))
