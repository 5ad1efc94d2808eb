"""An ONNX file of another exporter is loaded as a checkpoint, or refused."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import torch

from fuzz.target import Input, Target
from fuzz.targets.onnx import mutate
from restora_export.checkpoint import load_checkpoint
from restora_export.reference import SRVGGNetCompact


def make_seeds() -> dict[str, Input]:
    torch.manual_seed(1)
    nets = {
        "prelu": SRVGGNetCompact(2, 4, 2, "prelu"),
        "relu": SRVGGNetCompact(3, 4, 1, "relu"),
        "leaky": SRVGGNetCompact(2, 4, 1, "leakyrelu"),
    }
    return {name: Input(".onnx", _export(net.eval())) for name, net in nets.items()}


def check(path: Path) -> str:
    checkpoint = load_checkpoint(path)
    assert checkpoint.state, "tensors"
    return f"loaded {type(checkpoint.architecture).__name__}"


def _export(net: torch.nn.Module) -> bytes:
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (torch.rand(1, 3, 8, 8),), stream, dynamo=False, opset_version=13)
    return stream.getvalue()


TARGET = Target(make_seeds, mutate, check, memory_mb=256)
