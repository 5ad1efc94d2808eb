"""A network as a list of layers, the form of files from other runtimes, and PyTorch to run it.

The weights of such a file have no names. They get them from their order (layer_keys), and this
module's arithmetic shows afterwards that the network with these weights is the same function.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from restora.errors import CheckpointError
from restora.models.regular_file import shown
from restora_export.stored_tensor import StoredTensor

LayerKind = Literal[
    "input",
    "convolution",
    "prelu",
    "leaky",
    "concat",
    "sum",
    "scale",
    "nearest",
    "shuffle",
    "unshuffle",
    "copy",
]
MAX_LAYERS = 10_000  # RealESRGAN_x4plus has 999 in ncnn
_MAX_ELEMENTS = 1 << 24  # of one tensor while the layers run on a small input
_SIDE = 12  # of the input; a multiple of every unshuffle
_TOLERANCE = 1e-4  # of the largest output; rounding gives 1e-6
_SEED = 5


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer.

    name: for messages
    inputs, outputs: names of tensors
    weight, bias: of a 3x3 convolution with stride 1 and padding 1; the slopes of a "prelu"
    slope: of the leaky ReLU for negative values; of a convolution, None: no activation follows
    factors: of a "sum", for each input; of a "scale", one; of "nearest", "shuffle" and
        "unshuffle", the factor of both sides
    """

    kind: LayerKind
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weight: StoredTensor | None = None
    bias: StoredTensor | None = None
    slope: float | None = None
    factors: tuple[float, ...] = ()


def check_wiring(layers: Sequence[Layer]) -> None:
    """Raise CheckpointError unless each tensor is made once, before its use, and one is the result.

    The first layer must be the only input.
    """
    if not layers or len(layers) > MAX_LAYERS:
        raise CheckpointError(f"it must have 1 to {MAX_LAYERS} layers, it has {len(layers)}")
    if [layer.kind for layer in layers].count("input") != 1 or layers[0].kind != "input":
        raise CheckpointError("its first layer must be its only input")
    made: dict[str, bool] = {}  # whether a layer uses it
    for layer in layers:
        for name in layer.inputs:
            if name not in made:
                raise CheckpointError(f"layer {shown(layer.name)} uses {shown(name)} too early")
            made[name] = True
        for name in layer.outputs:
            if name in made:
                raise CheckpointError(f"it makes {shown(name)} twice")
            made[name] = False
    results = [name for name, used in made.items() if not used]
    if results != list(layers[-1].outputs):
        raise CheckpointError(
            "the output of its last layer must be its only result, it has the results "
            f"{', '.join(shown(name)[:40] for name in results[:3]) or 'none'}"
        )


def check_same_function(layers: Sequence[Layer], network: nn.Module) -> None:
    """Raise CheckpointError unless `network` gives the results of the layers on a small input.

    network: maps (batch, 3, height, width), in eval mode
    """
    generator = torch.Generator().manual_seed(_SEED)
    x = torch.rand(1, 3, _SIDE, _SIDE, generator=generator)
    with torch.inference_mode():
        wanted, got = run_layers(layers, x), network(x)
    if wanted.shape != got.shape:
        raise CheckpointError(
            f"it enlarges {_SIDE} x {_SIDE} pixels to {wanted.shape[3]} x {wanted.shape[2]}, the "
            f"network of its weights to {got.shape[3]} x {got.shape[2]}"
        )
    difference = float((wanted - got).abs().max())
    if not difference <= _TOLERANCE * max(1.0, float(got.abs().max())):
        raise CheckpointError(
            "its layers compute something else than the network of its weights: results differ by "
            f"{difference:.2g}"
        )


def run_layers(layers: Sequence[Layer], x: Tensor) -> Tensor:
    """Run the layers of check_wiring on a small input, (1, channels, height, width)."""
    tensors: dict[str, Tensor] = {}
    result = x
    for layer in layers:
        inputs = [tensors[name] for name in layer.inputs]
        try:
            result = x if layer.kind == "input" else _RUN[layer.kind](layer, inputs)
        except CheckpointError:
            raise
        except (RuntimeError, ValueError, IndexError) as error:
            shapes = ", ".join(str(tuple(tensor.shape)) for tensor in inputs)
            raise CheckpointError(
                f"layer {shown(layer.name)} cannot take inputs of the shapes {shapes}"
            ) from error
        tensors.update(dict.fromkeys(layer.outputs, result))
    return result


def _convolve(layer: Layer, inputs: list[Tensor]) -> Tensor:
    (x,) = inputs
    assert layer.weight is not None
    assert layer.bias is not None
    _check_size(layer, layer.weight.shape[0] * x.shape[2] * x.shape[3])
    y = F.conv2d(x, layer.weight.read().float(), layer.bias.read().float(), padding=1)
    return y if layer.slope is None else F.leaky_relu(y, layer.slope)


def _apply_slopes(layer: Layer, inputs: list[Tensor]) -> Tensor:
    (x,) = inputs
    assert layer.weight is not None
    return F.prelu(x, layer.weight.read().float())


def _apply_slope(layer: Layer, inputs: list[Tensor]) -> Tensor:
    (x,) = inputs
    assert layer.slope is not None
    return F.leaky_relu(x, layer.slope)


def _concatenate(layer: Layer, inputs: list[Tensor]) -> Tensor:
    _check_size(layer, sum(tensor.numel() for tensor in inputs))
    return torch.cat(inputs, 1)


def _add(layer: Layer, inputs: list[Tensor]) -> Tensor:
    if len({tensor.shape for tensor in inputs}) != 1:
        raise ValueError
    total = torch.zeros_like(inputs[0])
    for factor, tensor in zip(layer.factors, inputs, strict=True):
        total = total + factor * tensor
    return total


def _multiply(layer: Layer, inputs: list[Tensor]) -> Tensor:
    (x,) = inputs
    return x * layer.factors[0]


def _enlarge(layer: Layer, inputs: list[Tensor]) -> Tensor:
    (x,) = inputs
    factor = int(layer.factors[0])
    _check_size(layer, x.numel() * factor**2)
    return F.interpolate(x, scale_factor=factor, mode="nearest")


def _shuffle(layer: Layer, inputs: list[Tensor]) -> Tensor:
    (x,) = inputs
    return F.pixel_shuffle(x, int(layer.factors[0]))


def _unshuffle(layer: Layer, inputs: list[Tensor]) -> Tensor:
    (x,) = inputs
    return F.pixel_unshuffle(x, int(layer.factors[0]))


def _copy(_layer: Layer, inputs: list[Tensor]) -> Tensor:
    (x,) = inputs
    return x


_RUN: dict[str, Callable[[Layer, list[Tensor]], Tensor]] = {
    "convolution": _convolve,
    "prelu": _apply_slopes,
    "leaky": _apply_slope,
    "concat": _concatenate,
    "sum": _add,
    "scale": _multiply,
    "nearest": _enlarge,
    "shuffle": _shuffle,
    "unshuffle": _unshuffle,
    "copy": _copy,
}


def _check_size(layer: Layer, elements: int) -> None:
    if elements > _MAX_ELEMENTS:
        raise CheckpointError(
            f"layer {shown(layer.name)} makes {elements} numbers of {_SIDE} x {_SIDE} pixels, the "
            f"limit is {_MAX_ELEMENTS}"
        )
