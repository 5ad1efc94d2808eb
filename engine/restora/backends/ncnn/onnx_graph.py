"""The graph of an artifact as plain nodes and constants."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from restora.artifact import Artifact

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Node:
    """One operation. attributes: by name, as Python values."""

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]


@dataclass(frozen=True)
class Graph:
    """nodes: in an order in which they can run. constants: by the name of their tensor."""

    nodes: tuple[Node, ...]
    constants: dict[str, Array]

    @cached_property
    def producers(self) -> dict[str, Node]:
        return {name: node for node in self.nodes for name in node.outputs}

    @cached_property
    def consumers(self) -> dict[str, list[Node]]:
        """The nodes that read each tensor; a node that reads it twice counts twice."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in node.inputs:
                found.setdefault(name, []).append(node)
        return found

    def scalar(self, name: str) -> float | None:
        """The value of a constant with one element; None for any other tensor."""
        value = self.constants.get(name)
        return float(value.reshape(())) if value is not None and value.size == 1 else None


def read_graph(artifact: Artifact) -> Graph:
    """Parse the graph. The artifact was checked when it was loaded."""
    graph = onnx.load_model_from_string(artifact.onnx).graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    nodes = []
    for proto in graph.node:
        attributes = {a.name: helper.get_attribute_value(a) for a in proto.attribute}
        if proto.op_type == "Constant" and "value" in attributes:
            constants[proto.output[0]] = numpy_helper.to_array(attributes["value"])
        else:
            node = Node(proto.op_type, tuple(proto.input), tuple(proto.output), attributes)
            nodes.append(node)
    return Graph(tuple(nodes), constants)
