"""Fine-tune what is in INT8, so that the output of the whole network is closer to that of FP32.

The network computes as it will in INT8, with the gradients of torch_graph: Jacob et al.,
arXiv:1712.05877. The scales stay, so what comes out is weights and biases for the same graph. It
starts from weights that are rounded well already, so few of them move, and by few steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor

from restora_calibration.int8.formats import INT8
from restora_calibration.int8.layers import Layer, find_makers
from restora_calibration.int8.qdq import Recipe, quantize_graph
from restora_calibration.int8.runner import open_runner
from restora_calibration.int8.statistics import Tiles
from restora_calibration.int8.torch_graph import TorchGraph

Report = Callable[[str], None]
Array = NDArray[np.float32]
_SIDE = 48  # of the part of a tile that a step sees, in pixels
# of Adam, in steps of INT8, times the root of the number of its steps: what has no direction must
# not move by the half step that changes its rounding
RATE = 0.2
_DECAYS = (0.9, 0.99)  # of Adam; there are few steps
_BIAS = 1 / 16  # a bias moves like a weight at an input of this share of the range
_LEAST_ERROR = 1e-12  # of the squared range of the output
_REPORTS = 8


@dataclass(frozen=True, slots=True, eq=False)
class _Trained:
    """What is trained of a layer.

    layer: its name
    weight, bias: names of its initializers in the quantized graph; no bias: ""
    steps: the weights in steps of INT8, (out, in, kh, kw)
    start, shift, unit: (out,); the biases are start + shift * unit
    """

    layer: str
    weight: str
    bias: str
    steps: Tensor
    start: Tensor
    shift: Tensor
    unit: Tensor

    def values(self) -> dict[str, Tensor]:
        found = {self.weight: self.steps}
        return found | {self.bias: self.start + self.shift * self.unit} if self.bias else found


class Tuner:
    """Trains the weights and biases of the layers in INT8 with Adam, in small steps.

    model: the FP32 graph
    layers: all its layers
    tiles: the tiles to train on, (n, height, width, 3), in the dtype of the graph
    steps: how many there will be
    rate: that of Adam in the first step, in steps of INT8, times the root of `steps`; it falls to 0
    seed: chooses the part of a tile that each step sees

    A part is chosen in proportion to its error, and counts in inverse proportion, so that the sum
    of all squared errors falls, to which the worst tiles contribute most.

    Raises ModelError if the graph has an operator that torch_graph does not know.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        layers: Sequence[Layer],
        recipe: Recipe,
        tiles: Tiles,
        *,
        steps: int,
        rate: float = RATE,
        seed: int = 0,
    ) -> None:
        self._recipe = recipe
        graph = quantize_graph(model, list(layers), recipe)
        outputs = {model.graph.node[layer.node].output[0]: layer for layer in layers}
        self._trained = _find_trained(graph, outputs, recipe)
        names = [name for found in self._trained for name in (found.weight, found.bias) if name]
        self._graph = TorchGraph(graph, names)
        self._parts = _cut(tiles)
        self._white = 255.0 if tiles.dtype == np.uint8 else 1.0
        self._exact = _run(model, self._parts)
        self.errors = self._measure(_run(graph, self._parts))
        self._random = np.random.default_rng(seed)
        changed = [x for found in self._trained for x in (found.steps, found.shift)]
        self._optimizer = torch.optim.Adam(changed, rate / math.sqrt(steps), _DECAYS, fused=True)
        self._schedule = torch.optim.lr_scheduler.LinearLR(self._optimizer, 1.0, 0.0, steps)

    def step(self) -> None:
        """Train on one part of a tile."""
        index = int(self._random.choice(len(self.errors), p=self.errors / self.errors.sum()))
        batch, exact = (torch.from_numpy(x[[index]]).float() for x in (self._parts, self._exact))
        given = {name: x for found in self._trained for name, x in found.values().items()}
        error = ((self._graph.run(batch, given) - exact) / self._white).square().mean()
        (error / self.errors[index]).backward()
        self._optimizer.step()
        self._optimizer.zero_grad()
        self._schedule.step()
        with torch.no_grad():
            for found in self._trained:
                found.steps.clamp_(-INT8.largest, INT8.largest)
        self.errors[index] = max(error.item(), _LEAST_ERROR)

    def finish(self) -> Recipe:
        """The recipe with the weights and biases as they are now."""
        weights, biases = dict(self._recipe.weights), dict(self._recipe.biases)
        for found in self._trained:
            steps = found.steps.detach().round().to(torch.int8)
            weights[found.layer] = steps.contiguous().numpy()
            if found.bias:
                biases[found.layer] = found.values()[found.bias].detach().numpy()
        return replace(self._recipe, weights=weights, biases=biases)

    def _measure(self, got: Tiles) -> NDArray[np.float64]:
        """The mean squared error of each part."""
        errors = np.square((got.astype(np.float64) - self._exact) / self._white).mean((1, 2, 3))
        return np.asarray(np.maximum(errors, _LEAST_ERROR))


def tune_recipe(
    model: onnx.ModelProto,
    layers: Sequence[Layer],
    recipe: Recipe,
    tiles: Tiles,
    *,
    steps: int,
    rate: float = RATE,
    seed: int = 0,
    report: Report,
) -> Recipe:
    """The recipe with fine-tuned weights and biases of its layers. See Tuner."""
    tuner = Tuner(model, layers, recipe, tiles, steps=steps, rate=rate, seed=seed)
    before = tuner.errors.copy()
    for step in range(1, steps + 1):
        tuner.step()
        if step % max(1, steps // _REPORTS) == 0:
            gain = -10 * np.log10(tuner.errors / before).mean()
            report(f"fine-tuning, step {step} of {steps}: {gain:+.2f} dB on the tiles so far")
    return tuner.finish()


def _find_trained(
    graph: onnx.ModelProto, outputs: Mapping[str, Layer], recipe: Recipe
) -> list[_Trained]:
    """The layers in INT8 of a quantized graph.

    outputs: the layers by the names of their outputs
    """
    tensors = {tensor.name: tensor for tensor in graph.graph.initializer}
    makers = find_makers(graph)

    def read(name: str) -> Tensor:
        return torch.from_numpy(numpy_helper.to_array(tensors[name]).astype(np.float32))

    found = []
    for node in graph.graph.node:
        layer = outputs.get(node.output[0])
        if layer is None or layer.name not in recipe.layers:
            continue
        weight, scale, _ = makers[node.input[1]].input
        bias = node.input[2] if len(node.input) > 2 else ""
        unit = read(scale) * max(recipe.ranges[source] for source in layer.sources) * _BIAS
        steps = read(weight).contiguous(memory_format=torch.channels_last).requires_grad_()
        start = read(bias) if bias else torch.zeros_like(unit)
        shift = torch.zeros_like(unit).requires_grad_(bool(bias))
        found.append(_Trained(layer.name, weight, bias, steps, start, shift, unit))
    return found


def _cut(tiles: Tiles) -> Tiles:
    """The tiles, or two opposite corners of each if they are larger than what a step sees."""
    ends = [max(_SIDE, side) for side in tiles.shape[1:3]]
    if ends == [_SIDE, _SIDE]:
        return tiles
    last = tiles[:, ends[0] - _SIDE :, ends[1] - _SIDE :]
    return np.concatenate([tiles[:, :_SIDE, :_SIDE], last])


def _run(model: onnx.ModelProto, tiles: Tiles) -> Tiles:
    run = open_runner(model)
    return np.concatenate([run(tile[None]) for tile in tiles])
