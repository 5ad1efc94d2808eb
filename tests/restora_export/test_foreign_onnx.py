"""Facts about ONNX files of other exporters as checkpoints."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from fakes import tiny_artifact
from recipe import fill_network
from restora.errors import CheckpointError
from restora.models.checkpoint_files import is_foreign
from restora.models.resolve import find_or_export
from restora_export.architecture import RRDBSpec, SRVGGSpec
from restora_export.checkpoint import load_checkpoint
from restora_export.reference import RRDBNet, SRVGGNetCompact


class PublishedX4(nn.Module):
    """An RRDBNet as published code runs it: without an unshuffle by 1."""

    def __init__(self, network: RRDBNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network.restore_features(self.network.conv_first(x))


RRDB = RRDBNet(4, 8, 4, 1)
SRVGG = SRVGGNetCompact(4, 8, 2, "prelu")


def export(network: nn.Module) -> onnx.ModelProto:
    """By PyTorch's older exporter, which most files that people share come from."""
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.rand(1, 3, 16, 16),),
            stream,
            dynamo=False,
            opset_version=13,
            input_names=["data"],
            output_names=["output"],
            dynamic_axes={"data": {2: "h", 3: "w"}},
        )
    return onnx.load_from_string(stream.getvalue())


@pytest.fixture(scope="module")
def rrdb() -> onnx.ModelProto:
    return export(PublishedX4(fill_network(RRDB, 3, "rrdb").eval()))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def srvgg() -> onnx.ModelProto:
    return export(fill_network(SRVGG, 3, "srvgg").eval())


def save(model: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def test_networks_of_other_exporters_load_with_their_weights(
    rrdb: onnx.ModelProto, srvgg: onnx.ModelProto, tmp_path: Path
) -> None:
    for model, network, spec in (
        (rrdb, RRDB, RRDBSpec(4, 8, 4, 1, 3, 3, 2)),
        (srvgg, SRVGG, SRVGGSpec(4, 8, 2, "prelu", 3, 3)),
    ):
        loaded = load_checkpoint(save(model, tmp_path / "net.onnx"))
        assert loaded.architecture == spec
        for key, value in network.state_dict().items():
            assert torch.equal(loaded.state[key], value), key


def test_weights_in_fp16_and_a_clip_at_the_end_are_understood(
    srvgg: onnx.ModelProto, tmp_path: Path
) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(srvgg)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.ndim == 4:
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), tensor.name))
    result = model.graph.output[0].name
    limits = [numpy_helper.from_array(np.float32(value), str(value)) for value in (0, 1)]
    model.graph.initializer.extend(limits)
    model.graph.node.append(helper.make_node("Clip", [result, "0", "1"], ["clipped"]))
    model.graph.output[0].name = "clipped"
    state = load_checkpoint(save(model, tmp_path / "net.onnx")).state
    for key, value in SRVGG.state_dict().items():
        assert torch.allclose(state[key], value, rtol=2**-10, atol=1e-7), key


def drop_bias(model: onnx.ModelProto) -> None:
    node = next(node for node in model.graph.node if node.op_type == "Conv")
    del node.input[2]


def add_tanh(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Tanh", [model.graph.output[0].name], ["end"]))


def change_slope(model: onnx.ModelProto) -> None:
    node = next(node for node in model.graph.node if node.op_type == "LeakyRelu")
    node.attribute[0].f = 0.3


def change_stride(model: onnx.ModelProto) -> None:
    node = next(node for node in model.graph.node if node.op_type == "Conv")
    next(part for part in node.attribute if part.name == "strides").ints[:] = [2, 2]


def use_whole_numbers(model: onnx.ModelProto) -> None:
    node = next(node for node in model.graph.node if node.op_type == "Conv")
    tensor = next(part for part in model.graph.initializer if part.name == node.input[1])
    values = numpy_helper.to_array(tensor).astype(np.int64)
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def add_input(model: onnx.ModelProto) -> None:
    value = helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1, 1])
    model.graph.input.append(value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop_bias, "Conv .*: it must have a bias"),
        (add_tanh, "Tanh end: this operator is part of no RRDBNet"),
        (change_slope, "compute something else than the network"),
        (change_stride, "Conv .*: it must be a 3x3 convolution with stride 1"),
        (use_whole_numbers, "must be floating-point numbers, got int64"),
        (add_input, "it must have one input and one output"),
    ],
)
def test_what_is_no_such_network_is_refused_by_the_operator(
    rrdb: onnx.ModelProto,
    tmp_path: Path,
    change: Callable[[onnx.ModelProto], None],
    message: str,
) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(rrdb)
    change(model)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(save(model, tmp_path / "net.onnx"))


@pytest.mark.parametrize("data", [b"", b"words", b"\x08\x07"])
def test_what_is_no_onnx_file_is_a_checkpoint_error(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"net\.onnx"):
        load_checkpoint(path)


def test_a_foreign_file_is_exported_where_a_model_is_named_and_an_artifact_is_run(
    srvgg: onnx.ModelProto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTORA_MODELS", str(tmp_path / "models"))
    exported: list[Path] = []

    def export_file(checkpoint: Path, target: Path, **_options: object) -> None:
        exported.append(checkpoint)
        target.write_bytes(b"artifact")

    monkeypatch.setattr("restora_export.files.export_file", export_file)
    foreign = save(srvgg, tmp_path / "net.onnx")
    assert is_foreign(foreign)
    assert find_or_export(foreign, "uint8", "upsampler").parent.name == "exported"
    assert exported == [foreign]
    artifact = tmp_path / "own.onnx"
    artifact.write_bytes(tiny_artifact().onnx)
    assert not is_foreign(artifact)
    assert find_or_export(artifact, "uint8", "upsampler") == artifact
    assert not is_foreign(tmp_path / "absent.onnx")
