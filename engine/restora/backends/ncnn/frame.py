"""The frame of an artifact's graph: how images become the network's input, and results images.

ncnn runs what lies between. Conversion, clipping and rounding are done here, in NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from restora.artifact import Io
from restora.artifact.tensors import INPUT, MEANS, OUTPUT
from restora.backends.ncnn.onnx_graph import Graph, Node

Planes = NDArray[np.float32]
Picture = NDArray[np.uint8 | np.float32]
_NCHW, _NHWC = [0, 3, 1, 2], [0, 2, 3, 1]
_FLOAT, _UINT8 = 1, 2  # TensorProto.DataType
_ROWS = 32  # that are converted at once, so that they stay in the cache of a core


class Frame(Protocol):
    """channels: of the network's input; results: of images that come out of it"""

    @property
    def channels(self) -> int: ...

    @property
    def results(self) -> int: ...

    @property
    def io(self) -> Io: ...

    def planes_of(self, picture: Picture) -> Planes:
        """An image in the io dtype -> (channels, height, width), contiguous."""

    def write_picture(self, planes: Planes, picture: Picture, given: Picture) -> None:
        """Convert the network's result, which is overwritten, into (height, width, results).

        given: the image that the network saw
        """


@dataclass(frozen=True, slots=True)
class PictureFrame:
    """planes = factor * image; image = clip(gain * planes + offset, low, high), cut to integers if
    `io` is uint8.

    sigmoid: whether the sigmoid of the planes is taken first
    """

    io: Io
    factor: float
    gain: float
    offset: float
    low: float
    high: float
    sigmoid: bool = False
    results: int = 3
    channels: int = 3

    def planes_of(self, picture: Picture) -> Planes:
        planes = np.empty((3, *picture.shape[:2]), np.float32)
        return np.multiply(picture.transpose(2, 0, 1), np.float32(self.factor), out=planes)

    def write_picture(self, planes: Planes, picture: Picture, given: Picture) -> None:
        del given
        for top in range(0, picture.shape[0], _ROWS):
            band = planes[:, top : top + _ROWS]
            if self.sigmoid:
                apply_sigmoid(band)
            if self.gain != 1:
                np.multiply(band, np.float32(self.gain), out=band)
            if self.offset:
                np.add(band, np.float32(self.offset), out=band)
            np.clip(band, np.float32(self.low), np.float32(self.high), out=band)
            with np.errstate(invalid="ignore"):  # NaN, which the caller finds in the means
                pixels = band.astype(picture.dtype)
            rows = picture[top : top + _ROWS]
            if self.results == 1:
                rows[..., 0] = pixels[0]
            else:
                cv2.merge(list(pixels), rows)


@dataclass(frozen=True, slots=True)
class FramedGraph:
    """frame: around the network. data, result: the network's tensors. body: its nodes, in order."""

    frame: Frame
    data: str
    result: str
    body: tuple[Node, ...]


def split_frame(graph: Graph, io: Io, *, results: int = 3) -> FramedGraph:
    """Split a graph into its frame and its network.

    results: channels of the images that come out of it

    Raises ValueError if it has another frame.
    """
    before = _Chain(graph, INPUT)
    cast = before.take("Cast", to=_FLOAT)
    if not before.take("Transpose", perm=_NCHW):
        raise ValueError("its input must be NHWC")
    cast = before.take("Cast", to=_FLOAT) or cast
    factor = before.take_scalar("Mul", default=1.0)
    mean = graph.producers.get(MEANS)
    if mean is None or mean.operator != "ReduceMean" or not is_channel_mean(mean):
        raise ValueError("its second output must be the means of the channels")
    after = _Chain(graph, mean.inputs[0], ignored=mean)
    sigmoid = after.take("Sigmoid")
    gain = after.take_scalar("Mul", default=1.0)
    offset = after.take_scalar("Add", default=0.0)
    low, high = after.take_clip()
    transposed = after.take("Transpose", perm=_NHWC)
    cut = after.take("Cast", to=_UINT8)
    after.take("Cast", to=_FLOAT)
    if not transposed or after.name != OUTPUT or (io == "uint8") != (cut and cast):
        raise ValueError(f"its output must be NHWC in {io}")
    outside = {id(node) for node in (mean, *before.taken, *after.taken)}
    body = tuple(node for node in graph.nodes if id(node) not in outside)
    return FramedGraph(
        PictureFrame(io, factor, gain, offset, low, high, sigmoid, results),
        before.name,
        mean.inputs[0],
        body,
    )


def apply_sigmoid(values: Planes) -> None:
    """Replace values by their sigmoids, in place."""
    with np.errstate(over="ignore"):  # of large negative values: the result is 0
        np.exp(-values, out=values)
    np.add(values, np.float32(1), out=values)
    np.reciprocal(values, out=values)


def is_channel_mean(node: Node) -> bool:
    return node.attributes.get("axes") == [2, 3] and node.attributes.get("keepdims") == 0


class _Chain:
    """Follows a tensor through nodes that are its only consumers."""

    def __init__(self, graph: Graph, name: str, ignored: Node | None = None) -> None:
        self._graph, self._ignored = graph, ignored
        self.name = name
        self.taken: list[Node] = []

    def take(self, operator: str, **attributes: Any) -> bool:
        """Step over the next node if it is this one."""
        node = self._next(operator)
        if node is None or any(node.attributes.get(n) != v for n, v in attributes.items()):
            return False
        self._step(node)
        return True

    def take_scalar(self, operator: str, *, default: float) -> float:
        """Step over an operation with a scalar, and return the scalar."""
        node = self._next(operator)
        if node is None:
            return default
        (other,) = [name for name in node.inputs if name != self.name] or [""]
        value = self._graph.scalar(other)
        if value is None:
            return default
        self._step(node)
        return value

    def take_clip(self) -> tuple[float, float]:
        node = self._next("Clip")
        bounds = [self._graph.scalar(name) for name in node.inputs[1:]] if node else []
        if node is None or len(bounds) != 2 or bounds[0] is None or bounds[1] is None:
            raise ValueError("its output must be clipped")
        self._step(node)
        return bounds[0], bounds[1]

    def _next(self, operator: str) -> Node | None:
        nodes = [n for n in self._graph.consumers.get(self.name, []) if n is not self._ignored]
        return nodes[0] if len(nodes) == 1 and nodes[0].operator == operator else None

    def _step(self, node: Node) -> None:
        self.taken.append(node)
        (self.name,) = node.outputs
