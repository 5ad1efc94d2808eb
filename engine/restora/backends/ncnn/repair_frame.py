"""The frame of a repairer: images have a mask beside their colors, and most pixels pass unchanged.

It computes what restora_export.damage_graph.RepairerGraph exports: planes are the colors in 0..1
and two masks, 0 or 1: what is damaged, and of it, whose color does not count. The network's result
counts where the image is damaged, and elsewhere the image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from restora.artifact import Io
from restora.artifact.tensors import INPUT, MEANS, OUTPUT
from restora.backends.ncnn.frame import FramedGraph, Picture, Planes, is_channel_mean
from restora.backends.ncnn.onnx_graph import Graph, Node

_WHITE, _HALF = 255.0, 0.5
_COLORS, _MASK, _MASKS = 3, 1, 2  # channels; the network sees two masks
_HIDDEN = 0.25  # what is taken from the mask before it is rounded again
_FLOAT, _UINT8 = 1, 2  # TensorProto.DataType


@dataclass(frozen=True, slots=True)
class RepairFrame:
    """factor: what colors and mask are multiplied with"""

    factor: float
    channels: int = _COLORS + _MASKS
    results: int = _COLORS
    io: Io = "uint8"

    def planes_of(self, picture: Picture) -> Planes:
        planes = np.empty((self.channels, *picture.shape[:2]), np.float32)
        given, hidden = planes[: _COLORS + _MASK], planes[_COLORS + _MASK]
        np.multiply(picture.transpose(2, 0, 1), np.float32(self.factor), out=given)
        np.rint(given[_COLORS] - np.float32(_HIDDEN), out=hidden)
        np.rint(given[_COLORS], out=given[_COLORS])
        return planes

    def write_picture(self, planes: Planes, picture: Picture, given: Picture) -> None:
        damaged = np.rint(given[..., _COLORS] * np.float32(self.factor)) > _HALF
        picture[:] = given[..., :_COLORS]
        levels = planes[:, damaged] * np.float32(_WHITE) + np.float32(_HALF)
        with np.errstate(invalid="ignore"):  # NaN, which the caller finds in the means
            picture[damaged] = np.clip(levels, 0, _WHITE).T.astype(np.uint8)


def split_repair_frame(graph: Graph, io: Io) -> FramedGraph:
    """Split the graph of a repairer into its frame and its network. Raises ValueError if it has
    another frame."""
    if io != "uint8":
        raise ValueError("a repairer must take uint8 images")
    walk = _Walk(graph)
    ending = walk.back(OUTPUT, "Cast", to=_UINT8)
    ending = walk.back(ending.inputs[0], "Transpose", perm=[0, 2, 3, 1])
    choice, levels, color = walk.back(ending.inputs[0], "Where").inputs
    split = walk.back(color, "Split", axis=1)
    start = walk.back(split.inputs[0], "Transpose", perm=[0, 3, 1, 2])
    start = walk.back(start.inputs[0], "Cast", to=_FLOAT)
    damaged, half = walk.back(choice, "Greater").inputs
    unit = walk.back(damaged, "Round").inputs[0]
    mask, factor = walk.scaled(unit)
    limited, *bounds = walk.back(levels, "Clip").inputs
    product, offset = walk.number_behind(limited, "Add")
    filled, gain = walk.scaled(product)
    mean, joined = walk.back(MEANS, "ReduceMean"), _find_join(graph, damaged)
    walk.taken.append(joined)
    less = walk.number_behind(walk.back(joined.inputs[2], "Round").inputs[0], "Sub")
    numbers = [graph.scalar(name) for name in (half, *bounds)]
    sizes = [graph.constants[name].tolist() for name in split.inputs[1:]]
    right = (
        start.inputs == (INPUT,)
        and split.outputs == (color, mask)
        and sizes == [[_COLORS, _MASK]]
        and walk.scaled(joined.inputs[0]) == (color, factor)
        and numbers == [_HALF, 0, _WHITE]
        and less == (unit, _HIDDEN)
        and (gain, offset) == (_WHITE, _HALF)
        and is_channel_mean(mean)
        and mean.inputs == (filled,)
    )
    if not right:
        raise ValueError("it must fill what a mask names, and leave the rest of the image as it is")
    outside = {id(node) for node in walk.taken}
    body = tuple(node for node in graph.nodes if id(node) not in outside)
    return FramedGraph(RepairFrame(factor), joined.outputs[0], filled, body)


def _find_join(graph: Graph, damaged: str) -> Node:
    """The node whose result the network sees: the colors and the masks."""
    joins = [node for node in graph.consumers[damaged] if node.operator == "Concat"]
    if (
        len(joins) != 1
        or joins[0].attributes.get("axis") != 1
        or joins[0].inputs[1:2] != (damaged,)
        or len(joins[0].inputs) != 1 + _MASKS
    ):
        raise ValueError("its network must see the colors and two masks")
    return joins[0]


class _Walk:
    """Goes from a tensor to the node that made it, and notes the node."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.taken: list[Node] = []

    def back(self, tensor: str, operator: str, **attributes: object) -> Node:
        """The node that made the tensor. Raises ValueError if it is another one."""
        node = self._graph.producers.get(tensor)
        if node is None or node.operator != operator:
            raise ValueError(f"it must end with {operator}")
        if any(node.attributes.get(name) != value for name, value in attributes.items()):
            raise ValueError(f"{operator} with other attributes than {attributes}")
        self.taken.append(node)
        return node

    def number_behind(self, tensor: str, operator: str) -> tuple[str, float]:
        """The tensor and the number that the operator made this tensor of."""
        source, number = self.back(tensor, operator).inputs
        value = self._graph.scalar(number)
        if value is None:
            raise ValueError(f"{operator} must have a number behind it")
        return source, value

    def scaled(self, tensor: str) -> tuple[str, float]:
        """The tensor that was multiplied, and with what."""
        return self.number_behind(tensor, "Mul")
