"""Export a graph to a self-contained ONNX file, with opset 17, IR 8 and no information about the
exporting machine."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import onnx
import torch
from torch import nn

from restora.artifact import Io, Precision, SelfCheck
from restora.artifact.info import METADATA_KEY, ArtifactInfo
from restora.artifact.selfcheck import METADATA_KEY as SELFCHECK_KEY
from restora.artifact.tensors import INPUT, MEANS, OUTPUT
from restora.version import __version__
from restora_export.facts import NetworkFacts, facts_of
from restora_export.graph import make_graph
from restora_export.mixed import halve_convolutions
from restora_export.opset import NEW, lower_to_opset17
from restora_export.tensorrt_rules import check_uint8_casts, rewrite_shapes

IR_VERSION = 8  # belongs to opset 17
_SIZELESS = {"Add", "BatchNormalization", "Cast", "Clip", "Concat", "Conv", "DepthToSpace"}
_SIZELESS |= {"LeakyRelu", "Mul", "PRelu", "ReduceMean", "Relu", "Resize", "Transpose"}
_SIZELESS |= {
    "AveragePool",
    "Div",
    "Greater",
    "MaxPool",
    "Neg",
    "Round",
    "Sigmoid",
    "Split",
    "Sub",
    "Where",
}


def onnx_from_network(
    network: nn.Module, *, io: Io, precision: Precision = "fp32", noise: float = 1.0
) -> onnx.ModelProto:
    """Export a reference network with a dynamic batch, and dynamic height and width if supported.

    precision: "fp32", "fp16" or "mixed", in the types of the graph
    noise: for a face network, the factor of its stored noise

    Raises ModelError if the graph cannot be converted to opset 17, or breaks a rule of TensorRT.
    """
    facts = facts_of(network)
    graph = make_graph(network, io=io, precision=precision, noise=noise).eval()
    batch = torch.export.Dim("batch")
    sizes: dict[int, object] = {0: batch}
    if facts.side is None:
        step = facts.size_multiple
        example = (2, 96, 128, 3)
        if facts.kind != "detector":
            example = (2, 6 * step, 8 * step, facts.input_channels)
        sizes |= {1: _multiple_of(step, "height"), 2: _multiple_of(step, "width")}
    else:
        example = (2, facts.side, facts.side, 3)
    image = torch.zeros(example, dtype=getattr(torch, io))
    # networks whose operators know no sizes are traced with fixed ones, in half the time
    fixed = facts.kind in ("upsampler", "damage-detector", "repairer")
    model = _trace(graph, image, None if fixed else sizes)
    if fixed and not _fits_any_size(model):
        fixed, model = False, _trace(graph, image, sizes)
    lower_to_opset17(model)
    rewrite_shapes(model)
    if precision == "mixed":
        halve_convolutions(model)
    check_uint8_casts(model)
    _clean(model)
    _name_sizes(model, facts, fixed=fixed)
    return model


def onnx_bytes(
    model: onnx.ModelProto, info: ArtifactInfo, selfcheck: SelfCheck | None = None
) -> bytes:
    """Serialize `model` with `info` and `selfcheck` as its metadata, after a full check."""
    properties = {METADATA_KEY: info.to_json()}
    if selfcheck is not None:
        properties[SELFCHECK_KEY] = selfcheck.to_json()
    onnx.helper.set_model_props(model, properties)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def _trace(
    graph: nn.Module, image: torch.Tensor, sizes: dict[int, object] | None
) -> onnx.ModelProto:
    """Trace a graph. sizes: the dynamic dimensions of its input; None: none"""
    with quiet_exporter():
        program = torch.onnx.export(
            graph,
            (image,),
            dynamo=True,
            opset_version=NEW,
            dynamic_shapes=None if sizes is None else {"image": sizes},
            input_names=[INPUT],
            output_names=[OUTPUT, MEANS],
            external_data=False,
            verbose=False,
        )
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    return model


def _fits_any_size(model: onnx.ModelProto) -> bool:
    """Whether nothing in a graph depends on the sizes that it was traced with."""
    return all(
        node.op_type in _SIZELESS
        and not (node.op_type == "Resize" and len(node.input) > 3 and node.input[3])
        for node in model.graph.node
    )


def _multiple_of(multiple: int, name: str) -> object:
    if multiple == 1:
        return torch.export.Dim(name)
    return multiple * torch.export.Dim(f"{name}_{multiple}")


def _clean(model: onnx.ModelProto) -> None:
    """Remove stack traces, module names and other information about the exporting machine."""
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version = "restora", __version__
    model.doc_string = ""
    del model.metadata_props[:]
    graph = model.graph
    graph.name = "restora"
    graph.doc_string = ""
    del graph.metadata_props[:]
    del graph.value_info[:]
    for part in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""


def _name_sizes(model: onnx.ModelProto, facts: NetworkFacts, *, fixed: bool) -> None:
    """Give the dynamic sizes readable names.

    fixed: the graph was traced with sizes that do not count, of batch, height and width
    """
    (image,) = model.graph.input
    restored, means = model.graph.output
    times = f"{facts.scale}*" if facts.scale > 1 else ""
    names: dict[int, tuple[str, ...]] = {id(image): ("batch", "height", "width")}
    if facts.kind == "detector":
        names[id(restored)] = ("batch", "anchors", "")
    else:
        names[id(restored)] = ("batch", f"{times}height", f"{times}width")
    names[id(means)] = ("batch",)
    for value in (image, restored, means):
        dims = value.type.tensor_type.shape.dim
        for dim, name in zip(dims, names[id(value)], strict=False):
            if fixed or not dim.HasField("dim_value"):
                dim.dim_param = name


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """Hide messages of the exporter about its internals. Errors are raised as usual."""
    loggers = [
        logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")
    ]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
