"""Convert the network of an artifact to layers of ncnn.

The operators of RRDBNet, SRVGGNetCompact and the networks for damage are converted. Channels and
sizes of all tensors are checked, since ncnn does not check them.
"""

from __future__ import annotations

from dataclasses import dataclass

from restora.artifact import Artifact, ArtifactInfo, Kind
from restora.backends.ncnn.builder import DATA, LayerBuilder
from restora.backends.ncnn.frame import Frame, FramedGraph, split_frame
from restora.backends.ncnn.layers import Layer
from restora.backends.ncnn.onnx_graph import Graph, read_graph
from restora.backends.ncnn.operators import OPERATORS
from restora.backends.ncnn.repair_frame import split_repair_frame
from restora.errors import MissingBackendError

_RESULTS: dict[Kind, int] = {"upsampler": 3, "damage-detector": 1, "repairer": 3}


@dataclass(frozen=True, slots=True, eq=False)
class NcnnNetwork:
    """A network between planes of images.

    layers: from the blob DATA to the blob RESULT
    frame: how images become DATA, and RESULT becomes images
    features: the blob of the tensor that was asked for
    """

    layers: tuple[Layer, ...]
    frame: Frame
    features: str | None = None


def network_from_artifact(artifact: Artifact, *, features: str | None = None) -> NcnnNetwork:
    """Convert the graph of an FP32 artifact.

    features: a tensor of the graph whose blob is needed, because the network is cut there

    Raises MissingBackendError if its kind, its precision or an operator is not supported.
    """
    info = artifact.info
    if info.kind not in _RESULTS:
        raise MissingBackendError(
            f"ncnn runs upsamplers and the networks for damage, {info.model} is a {info.kind}"
        )
    if info.precision != "fp32":
        raise MissingBackendError(f"ncnn runs fp32 artifacts, {info.model} is in {info.precision}")
    try:
        graph = read_graph(artifact)
        if info.kind == "repairer":
            framed = split_repair_frame(graph, info.io)
        else:
            framed = split_frame(graph, info.io, results=_RESULTS[info.kind])
        builder = _build(graph, framed, info)
        layers = builder.finish(framed.result)
        blob = None if features is None else builder.blob(features).name
    except (ValueError, KeyError, IndexError) as error:
        raise MissingBackendError(
            f"ncnn runs upsamplers of the architectures RRDBNet and SRVGGNetCompact and the "
            f"networks for damage, and {info.model} cannot be converted: {error}"
        ) from error
    return NcnnNetwork(tuple(layers), framed.frame, blob)


def _build(graph: Graph, framed: FramedGraph, info: ArtifactInfo) -> LayerBuilder:
    builder = LayerBuilder(
        graph, framed.data, channels=framed.frame.channels, multiple=info.size_multiple
    )
    for node in framed.body:
        if node.operator not in OPERATORS:
            raise ValueError(f"it holds the operator {node.operator}")
        OPERATORS[node.operator](builder, node)
    result, channels = builder.blob(framed.result), framed.frame.results
    if result.channels != channels or result.scale != info.scale or result.name == DATA:
        raise ValueError(
            f"it must give {channels} channels, {info.scale} times as large, it gives "
            f"{result.channels} channels, {result.scale} times as large"
        )
    return builder
