"""Read ncnn networks, NAME.param and NAME.bin, as lists of layers.

Types and parameters of layers: github.com/Tencent/ncnn/wiki/operators. Only what RRDBNet and
SRVGGNetCompact consist of is known; anything else is refused, in every parameter.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import torch

from restora.errors import CheckpointError
from restora_export.key_shapes import MAX_CHANNELS
from restora_export.layers import Layer, LayerKind, check_wiring
from restora_export.ncnn_param import MAX_PARAM_BYTES, ParamLine, parse_param
from restora_export.ncnn_weights import Numbers, WeightsFile

_KERNEL = 9  # weights of a 3x3 kernel
_INT8_WITH_OUTPUT = 100  # larger values of a convolution's int8 term: its output is int8 too
_MAX_FACTOR = 16


def weights_path(param: Path) -> Path:
    """The file of the weights, which lies beside the .param file."""
    return param.with_suffix(".bin")


def read_ncnn(param: BinaryIO, weights: BinaryIO) -> list[Layer]:
    """Read a network, except for its numbers. Both files must be used to their ends.

    Raises CheckpointError.
    """
    param.seek(0)
    data = param.read(MAX_PARAM_BYTES + 1)
    if len(data) > MAX_PARAM_BYTES:
        raise CheckpointError(f"it has more than {MAX_PARAM_BYTES} bytes")
    lines, file = parse_param(data), WeightsFile(weights)
    _refuse_shrinking(lines[-1] if lines else None)
    layers = [_layer_from(line, file) for line in lines]
    file.check_end()
    check_wiring(layers)
    return layers


def _refuse_shrinking(last: ParamLine | None) -> None:
    if last is None or last.type != "Interp" or not 0 < last.number(1, 1) < 1:
        return
    raise CheckpointError(
        f"it shrinks the result of its network to {last.number(1, 1):g} of its sides: export the "
        "file of the network alone (of realesr-animevideov3-x2 and -x3: realesr-animevideov3-x4), "
        "and restore with --outscale"
    )


def _layer_from(line: ParamLine, file: WeightsFile) -> Layer:
    if line.type not in _READERS:
        raise line.problem("this layer is part of no RRDBNet and no SRVGGNetCompact")
    return _READERS[line.type](line, file)


def _input(line: ParamLine, _: WeightsFile) -> Layer:
    line.allow(0, 1, 2, 11)  # sizes, which runtimes ignore
    if line.inputs or len(line.outputs) != 1:
        raise line.problem("an input must make one tensor")
    return Layer("input", line.name, (), line.outputs)


def _convolution(line: ParamLine, file: WeightsFile) -> Layer:
    line.allow(0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18)
    if not _is_plain(line):
        raise line.problem("it must be a 3x3 convolution with stride 1, padding 1 and a bias")
    out_channels, count = line.whole(0, 0), line.whole(6, 0)
    in_channels = count // (out_channels * _KERNEL) if out_channels else 0
    if not (1 <= out_channels <= MAX_CHANNELS and 1 <= in_channels <= MAX_CHANNELS):
        raise line.problem(f"it must have 1 to {MAX_CHANNELS} channels")
    if count != out_channels * in_channels * _KERNEL:
        raise line.problem(f"its {count} weights are no whole number of 3x3 kernels")
    weights = file.take_tagged(count, of=line.name)
    bias = file.take(out_channels, of=line.name)
    scales = _take_scales(line, file, out_channels)
    if weights.dtype != torch.int8:
        scales = None
    elif scales is None:
        raise line.problem("its int8 weights have no scales")
    return Layer(
        "convolution",
        line.name,
        *_one_to_one(line),
        weight=file.stored(weights, (out_channels, in_channels, 3, 3), scales),
        bias=file.stored(bias, (out_channels,)),
        slope=_activation(line),
    )


def _is_plain(line: ParamLine) -> bool:
    kernel, dilation = line.number(1, 0), line.number(2, 1)
    stride, pad = line.number(3, 1), line.number(4, 0)
    return (
        {kernel, line.number(11, kernel)} == {3}
        and {dilation, line.number(12, dilation)} == {1}
        and {stride, line.number(13, stride)} == {1}
        and {pad, *(line.number(side, pad) for side in (14, 15, 16))} == {1}
        and (line.number(5, 0), line.number(18, 0)) == (1, 0)
    )


def _take_scales(line: ParamLine, file: WeightsFile, channels: int) -> Numbers | None:
    """Scales of the weights. Those of input and output are for int8 arithmetic only."""
    term = line.whole(8, 0)
    if not term:
        return None
    scales = file.take(channels, of=line.name)
    file.take(1, of=line.name)
    if term > _INT8_WITH_OUTPUT:
        file.take(1, of=line.name)
    return scales


def _activation(line: ParamLine) -> float | None:
    kind, parameters = line.whole(9, 0), line.numbers(10)
    if kind == 0:
        return None
    if kind == 1:
        return 0.0
    if kind == 2 and len(parameters) == 1:
        return float(parameters[0])
    raise line.problem(f"its activation must be none, ReLU or leaky ReLU, its number is {kind}")


def _prelu(line: ParamLine, file: WeightsFile) -> Layer:
    line.allow(0)
    count = line.whole(0, 0)
    if not 1 <= count <= MAX_CHANNELS:
        raise line.problem(f"it must have 1 to {MAX_CHANNELS} slopes")
    slopes = file.stored(file.take(count, of=line.name), (count,))
    return Layer("prelu", line.name, *_one_to_one(line), weight=slopes)


def _relu(line: ParamLine, _: WeightsFile) -> Layer:
    line.allow(0)
    return Layer("leaky", line.name, *_one_to_one(line), slope=float(line.number(0, 0.0)))


def _split(line: ParamLine, _: WeightsFile) -> Layer:
    line.allow()
    if len(line.inputs) != 1 or not line.outputs:
        raise line.problem("it must have one input and some outputs")
    return Layer("copy", line.name, line.inputs, line.outputs)


def _concat(line: ParamLine, _: WeightsFile) -> Layer:
    line.allow(0)
    if line.number(0, 0) != 0 or not line.inputs:
        raise line.problem("it must join channels")
    return Layer("concat", line.name, *_many_to_one(line))


def _eltwise(line: ParamLine, _: WeightsFile) -> Layer:
    line.allow(0, 1)
    factors = line.numbers(1) or (1.0,) * len(line.inputs)
    if line.number(0, 0) != 1 or len(factors) != len(line.inputs) or not line.inputs:
        raise line.problem("it must be a sum with a factor for each input")
    return Layer("sum", line.name, *_many_to_one(line), factors=factors)


def _binary(line: ParamLine, _: WeightsFile) -> Layer:
    line.allow(0, 1, 2)
    operation, scalar = line.whole(0, 0), line.whole(1, 0)
    if operation == 0 and not scalar and len(line.inputs) == 2:
        return Layer("sum", line.name, *_many_to_one(line), factors=(1.0, 1.0))
    if operation == 2 and scalar == 1:
        factor = float(line.number(2, 0.0))
        return Layer("scale", line.name, *_one_to_one(line), factors=(factor,))
    raise line.problem("it must be a sum of two tensors, or a product with a number")


def _interp(line: ParamLine, _: WeightsFile) -> Layer:
    line.allow(0, 1, 2, 3, 4, 5, 6)
    height, width = line.number(1, 1), line.number(2, 1)
    other = any(line.number(number, 0) for number in (3, 4, 5, 6))
    if line.whole(0, 0) != 1 or height != width or other:
        raise line.problem("it must repeat pixels (nearest), by the same factor in both directions")
    return _resized(line, "nearest", height)


def _pixel_shuffle(line: ParamLine, _: WeightsFile) -> Layer:
    line.allow(0, 1)
    if line.number(1, 0) != 0:
        raise line.problem("it must shuffle in the order of PyTorch")
    return _resized(line, "shuffle", line.number(0, 1))


def _reorg(line: ParamLine, file: WeightsFile) -> Layer:
    return replace(_pixel_shuffle(line, file), kind="unshuffle")


def _resized(line: ParamLine, kind: LayerKind, factor: float) -> Layer:
    if factor != int(factor) or not 1 <= factor <= _MAX_FACTOR:
        raise line.problem(
            f"its factor must be a whole number from 1 to {_MAX_FACTOR}, it is {factor}"
        )
    return Layer(kind, line.name, *_one_to_one(line), factors=(int(factor),))


def _one_to_one(line: ParamLine) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if len(line.inputs) != 1:
        raise line.problem(f"it must have one input, it has {len(line.inputs)}")
    return _many_to_one(line)


def _many_to_one(line: ParamLine) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if len(line.outputs) != 1:
        raise line.problem(f"it must have one output, it has {len(line.outputs)}")
    return line.inputs, line.outputs


_READERS: dict[str, Callable[[ParamLine, WeightsFile], Layer]] = {
    "Input": _input,
    "Convolution": _convolution,
    "PReLU": _prelu,
    "ReLU": _relu,
    "Split": _split,
    "Noop": _split,
    "Concat": _concat,
    "Eltwise": _eltwise,
    "BinaryOp": _binary,
    "Interp": _interp,
    "PixelShuffle": _pixel_shuffle,
    "Reorg": _reorg,
}
