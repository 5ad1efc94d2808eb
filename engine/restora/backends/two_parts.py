"""Run a network in two parts: the trunk on a whole tile, the head on small windows of its result.

The head of RRDBNet enlarges four times and holds tensors of 1024 numbers for each input pixel, the
trunk of 192. In two parts a tile takes a fraction of the memory, so that tiles can be larger.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restora.artifact import Artifact, ArtifactInfo
from restora.artifact.split import GraphParts, split_graph
from restora.artifact.tensors import INPUT, MEANS, OUTPUT
from restora.backends.base import Batch, SizeLimits, limits_of
from restora.tiling import Span, split_axis

# runs a graph: inputs by name, names of the wanted outputs
Run = Callable[[Mapping[str, NDArray[Any]], Sequence[str]], Sequence[NDArray[Any]]]
Compute = Callable[[Batch], tuple[NDArray[Any], NDArray[Any]]]

_WINDOW = 128  # pixels of features: 270 MB for the head of RRDBNet in FP32, with 64 channels
# the trunk's largest tensor, the concatenation in a dense block, has so many times the channels
_TRUNK_WIDTH = 3
_IMAGES = 4  # results that are held at once
_GAIN = 2  # of memory, for which a network is cut: windows compute a little more than the whole


def split_upsampler(artifact: Artifact) -> GraphParts | None:
    """The parts of an upsampler in FP32 or INT8; None for other networks, and for those that cannot
    be cut or that take little more memory as a whole."""
    info = artifact.info
    if info.kind != "upsampler" or info.precision not in ("fp32", "int8"):
        return None
    try:
        parts = split_graph(artifact.onnx)
    except ValueError:  # the runtime says why it cannot load this
        return None
    if parts is None or (info.elements_per_pixel or 0) < _GAIN * _trunk_elements(info, parts):
        return None
    return parts


def limits_of_parts(
    info: ArtifactInfo,
    parts: GraphParts | None,
    *,
    bytes_per_element: int,
    head_bytes_per_element: int | None = None,
) -> SizeLimits:
    """The limits of the artifact, with the memory that the trunk takes for a pixel, and the head
    for a window.

    bytes_per_element: memory that the runtime holds for each element of its largest tensor: of
        several such tensors, and of scratch memory
    head_bytes_per_element: that of the head, if it is another
    """
    limits = limits_of(info)
    if parts is None:
        return limits
    features = 4 * parts.channels / info.size_multiple**2
    trunk = bytes_per_element * _trunk_elements(info, parts) + features
    images = _IMAGES * 3 * np.dtype(info.io).itemsize * info.scale**2
    window = (_WINDOW + 2 * parts.reach) * info.size_multiple
    held = head_bytes_per_element or bytes_per_element
    head = held * (info.elements_per_pixel or 0) * window**2
    return replace(limits, bytes_per_pixel=trunk + images, bytes_per_call=int(head))


def _trunk_elements(info: ArtifactInfo, parts: GraphParts) -> float:
    """Of its largest tensor, for each input pixel."""
    # images of a multiple are unshuffled first: features have a lower resolution
    return _TRUNK_WIDTH * parts.channels / info.size_multiple**2


def load_network(
    artifact: Artifact, parts: GraphParts | None, load: Callable[[bytes], Run]
) -> Compute:
    """Load a network in its parts, or as a whole without parts.

    load: loads a graph, an ONNX file
    """
    if parts is not None:
        scale = artifact.info.scale
        return TwoParts(parts, load(parts.trunk), load(parts.head), scale=scale).compute
    run = load(artifact.onnx)

    def compute(batch: Batch) -> tuple[NDArray[Any], NDArray[Any]]:
        output, means = run({INPUT: batch}, (OUTPUT, MEANS))
        return output, means

    return compute


class TwoParts:
    """Computes what the whole network computes, up to rounding.

    trunk, head: run the two graphs of `parts`
    scale: of the network
    window: side of the head's windows without what they share, in pixels of features
    """

    def __init__(
        self, parts: GraphParts, trunk: Run, head: Run, *, scale: int, window: int = _WINDOW
    ) -> None:
        self._parts, self._trunk, self._head, self._scale = parts, trunk, head, scale
        self._overlap = 2 * parts.reach
        self._window = window + self._overlap

    def compute(self, batch: Batch) -> tuple[NDArray[Any], NDArray[Any]]:
        """Images (batch, scale * height, scale * width, 3) and their channel means (batch, 3).

        The means are those of windows, not weighted with their areas.
        """
        name, scale = self._parts.features, self._scale
        (features,) = self._trunk({INPUT: batch}, (name,))
        count, height, width, channels = batch.shape
        tall, wide = features.shape[2:]
        step = scale * height // tall
        images = np.empty((count, height * scale, width * scale, channels), batch.dtype)
        means = []
        for rows in split_axis(tall, size=self._window, overlap=self._overlap):
            for columns in split_axis(wide, size=self._window, overlap=self._overlap):
                part = features[:, :, rows.start : rows.stop, columns.start : columns.stop]
                given = {name: np.ascontiguousarray(part)}
                piece, piece_means = self._head(given, (OUTPUT, MEANS))
                inner = piece[:, _inside(rows, step), _inside(columns, step)]
                images[:, _kept(rows, step), _kept(columns, step)] = inner
                means.append(piece_means)
        return images, np.mean(means, axis=0)


def _kept(span: Span, step: int) -> slice:
    """The output pixels that come from a window."""
    return slice(span.left * step, span.right * step)


def _inside(span: Span, step: int) -> slice:
    """The same pixels, counted from the start of the window."""
    return slice((span.left - span.start) * step, (span.right - span.start) * step)
