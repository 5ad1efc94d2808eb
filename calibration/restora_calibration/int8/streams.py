"""Streams: tensors of a graph whose channels can be scaled together without changing the result."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper

from restora_calibration.int8.layers import Layer

# f(s * x) = s * f(x) for each channel and a positive s, with one input
_EVEN = ("LeakyRelu", "PRelu", "Relu", "Resize", "BatchNormalization")


@dataclass(frozen=True, slots=True)
class Stream:
    """Tensors that must have the same factor in each channel.

    tensors: their names; those between the convolutions that make the stream and that use it
    channels: number of channels
    makers: names of the layers whose output is in the stream
    users: names of the layers that read it, with the first channel that it has in their input, and
        the tensor that they read, before upsampling
    """

    tensors: tuple[str, ...]
    channels: int
    makers: tuple[str, ...]
    users: tuple[tuple[str, int, str], ...]

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)


def find_streams(model: onnx.ModelProto, layers: Sequence[Layer]) -> list[Stream]:
    """Find the streams that layers make, in the order of the graph.

    layers: all layers of the graph

    Left out are tensors that anything but convolutions, additions, leaky activations, upsampling
    and concatenations computes or reads.
    """
    return _Finder(model, layers).find()


class _Finder:
    def __init__(self, model: onnx.ModelProto, layers: Sequence[Layer]) -> None:
        self.graph = model.graph
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        uses = Counter(name for node in model.graph.node for name in node.input)
        self.layers = {
            layer.node: layer
            for layer in layers
            if _is_plain(model.graph.node[layer.node])
            and all(uses[name] == 1 for name in model.graph.node[layer.node].input[1:])
        }
        self.parent: dict[str, str] = {}
        self.stuck: set[str] = set()
        self.channels: dict[str, int] = {}
        self.parts: dict[str, list[str]] = {}  # of concatenations
        self.makers: dict[str, list[str]] = defaultdict(list)
        self.users: dict[str, list[tuple[str, int, str]]] = defaultdict(list)
        self.origins: dict[str, str] = {}  # of what is upsampled

    def find(self) -> list[Stream]:
        for value in (*self.graph.input, *self.graph.output):
            self._stick(value.name)
        for index, node in enumerate(self.graph.node):
            self._take(index, node)
        stuck = {self._root(name) for name in self.stuck}
        members: dict[str, list[str]] = defaultdict(list)
        for name in self.channels:
            members[self._root(name)].append(name)
        return [
            Stream(
                tuple(names),
                self.channels[names[0]],
                tuple(maker for name in names for maker in self.makers[name]),
                tuple(user for name in names for user in self.users[name]),
            )
            for root, names in members.items()
            if root not in stuck
        ]

    def _take(self, index: int, node: onnx.NodeProto) -> None:
        layer = self.layers.get(index)
        if layer is not None:
            self._take_layer(node, layer)
        elif node.op_type == "Concat" and node.attribute[0].i == 1 and self._known(node.input):
            self.parts[node.output[0]] = [p for name in node.input for p in self._split(name)]
        elif node.op_type == "Add" and self._known(node.input) and self._alike(node.input):
            self._join(node.output[0], *node.input)
        elif node.op_type in _EVEN and self._known(node.input[:1]) and self._is_even(node):
            self._pass_on(node)
        else:
            for name in (*node.input, *node.output):
                self._stick(name)

    def _take_layer(self, node: onnx.NodeProto, layer: Layer) -> None:
        start = 0
        for part in self._split(layer.input) if self._known([layer.input]) else ():
            self.users[part].append((layer.name, start, self.origins.get(part, part)))
            start += self.channels[part]
        output = node.output[0]
        self.channels[output] = self.constants[layer.weight].dims[0]
        self.makers[output].append(layer.name)

    def _pass_on(self, node: onnx.NodeProto) -> None:
        """Resize carries a concatenation as its parts; others join it to one stream."""
        parts = self._split(node.input[0])
        if node.op_type == "Resize" and len(parts) > 1:
            self.parts[node.output[0]] = parts
        elif len(parts) > 1:
            self._stick(node.input[0])
            self._stick(node.output[0])
        else:
            self._join(node.output[0], parts[0])
            if node.op_type == "Resize":
                self.origins[node.output[0]] = self.origins.get(parts[0], parts[0])

    def _is_even(self, node: onnx.NodeProto) -> bool:
        if node.op_type == "PRelu":
            return node.input[1] in self.constants
        if node.op_type != "BatchNormalization":
            return True
        moved = [self.constants.get(name) for name in (node.input[2], node.input[3])]
        return all(t is not None and not np.any(numpy_helper.to_array(t)) for t in moved)

    def _alike(self, names: Sequence[str]) -> bool:
        parts = [self._split(name) for name in names]
        return all(len(part) == 1 for part in parts) and (
            len({self.channels[part[0]] for part in parts}) == 1
        )

    def _known(self, names: Sequence[str]) -> bool:
        return all(name in self.channels or name in self.parts for name in names)

    def _split(self, name: str) -> list[str]:
        return self.parts.get(name, [name])

    def _join(self, output: str, *inputs: str) -> None:
        self.channels[output] = self.channels[inputs[0]]
        for name in inputs:
            self.parent[self._root(output)] = self._root(name)

    def _stick(self, name: str) -> None:
        self.stuck.update(self._split(name))

    def _root(self, name: str) -> str:
        while name in self.parent and self.parent[name] != name:
            name = self.parent[name]
        return name


def _is_plain(node: onnx.NodeProto) -> bool:
    return all(a.i == 1 for a in node.attribute if a.name == "group")
