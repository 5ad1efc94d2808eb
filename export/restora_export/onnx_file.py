"""Turn an exported graph into one self-contained ONNX file: opset 17, IR 8, nothing of the maker's
machine left in it."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import onnx
import torch
from torch import nn

from restora.artifact import Io
from restora.artifact.info import METADATA_KEY, ArtifactInfo
from restora.version import __version__
from restora_export.graph import PictureGraph
from restora_export.opset import NEW, lower_to_opset17

IR_VERSION = 8  # belongs to opset 17
INPUT, OUTPUT, MEANS = "image", "restored", "channel_means"


def onnx_from_network(network: nn.Module, *, scale: int, multiple: int, io: Io) -> onnx.ModelProto:
    """Export `network` with dynamic batch, height and width.

    network   maps (batch, 3, height, width) RGB in 0..1 to the same, enlarged
    scale     how much larger
    multiple  height and width are multiples of this

    Raises ModelError if the graph cannot be brought to opset 17.
    """
    graph = PictureGraph(network, io).eval()
    example = torch.zeros(2, 6 * multiple, 8 * multiple, 3, dtype=getattr(torch, io))
    batch = torch.export.Dim("batch")
    height, width = (_multiple_of(multiple, name) for name in ("height", "width"))
    with _quiet_exporter():
        program = torch.onnx.export(
            graph,
            (example,),
            dynamo=True,
            opset_version=NEW,
            dynamic_shapes={"image": {0: batch, 1: height, 2: width}},
            input_names=[INPUT],
            output_names=[OUTPUT, MEANS],
            external_data=False,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    lower_to_opset17(model)
    _clean(model)
    _name_sizes(model, scale)
    return model


def onnx_bytes(model: onnx.ModelProto, info: ArtifactInfo) -> bytes:
    """Serialise `model` with `info` as its metadata, after onnx.checker's full check."""
    onnx.helper.set_model_props(model, {METADATA_KEY: info.to_json()})
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def _multiple_of(multiple: int, name: str) -> object:
    if multiple == 1:
        return torch.export.Dim(name)
    return multiple * torch.export.Dim(f"{name}_{multiple}")


def _clean(model: onnx.ModelProto) -> None:
    """Drop stack traces, module names and other notes about where the file was made."""
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


def _name_sizes(model: onnx.ModelProto, scale: int) -> None:
    """Give the dynamic sizes readable names."""
    (image,) = model.graph.input
    restored = model.graph.output[0]
    for value, prefix in ((image, ""), (restored, f"{scale}*" if scale > 1 else "")):
        dims = value.type.tensor_type.shape.dim
        for dim, name in zip(dims, ("batch", f"{prefix}height", f"{prefix}width"), strict=False):
            dim.dim_param = name


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Keep the exporter's notes on its own internals from the user; errors come through."""
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
