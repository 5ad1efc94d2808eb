"""Small artifacts and checkpoints, in every way in which they are kept."""

from __future__ import annotations

import io
from collections import OrderedDict

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save

from fakes import make_info, tiny_artifact, with_selfcheck
from fuzz.target import Input
from restora.artifact import SelfCheck
from restora.artifact.info import METADATA_KEY
from restora_export.reference import ParseNet, RRDBNet, SRVGGNetCompact

State = dict[str, torch.Tensor]


def make_artifacts() -> dict[str, Input]:
    """By name."""
    tiny, floats = tiny_artifact(scale=2), tiny_artifact(scale=2, io="float32")
    image = np.arange(2 * 8 * 8 * 3, dtype=np.uint8).reshape(2, 8, 8, 3)
    check = SelfCheck(image, image.repeat(2, 1).repeat(2, 2))
    shares = (image / np.float32(255)).astype(np.float32)
    float_check = SelfCheck(shares, shares.repeat(2, 1).repeat(2, 2))
    found = {
        "uint8": tiny.onnx,
        "float32": floats.onnx,
        "selfcheck": with_selfcheck(tiny, check).onnx,
        "selfcheck-float32": with_selfcheck(floats, float_check).onnx,
        "attributes": _model_with_everything(),
        "no-onnx": b"words, and nothing else",
    }
    return {name: Input(".onnx", data) for name, data in found.items()}


def make_checkpoints() -> dict[str, Input]:
    """By name; PyTorch's two formats and safetensors."""
    torch.manual_seed(1)
    nets = {
        "rrdb": RRDBNet(4, 4, 2, 1),
        "rrdb-x2": RRDBNet(2, 4, 2, 1),
        "srvgg": SRVGGNetCompact(2, 4, 2, "prelu"),
        "srvgg-relu": SRVGGNetCompact(2, 4, 1, "relu"),
        "parsenet": ParseNet(32, 32, 32, 3, 4, 1, (4, 4)),
    }
    found: dict[str, Input] = {}
    for name, net in nets.items():
        state = {key: tensor.clone() for key, tensor in net.state_dict().items()}
        found[name] = Input(".pth", _save(state))
        found[f"{name}-safe"] = Input(".safetensors", save(state))
    state = dict(nets["srvgg"].state_dict())
    found["wrapped"] = Input(".pth", _save({"params_ema": OrderedDict(state), "iter": 5}))
    found["old"] = Input(".pth", _save({"params": state}, zipped=False))
    halves = {f"module.{key}": tensor.half() for key, tensor in state.items()}
    found["half"] = Input(".pth", _save(halves))
    found["half-safe"] = Input(".safetensors", save(halves))
    return found


def _save(what: object, *, zipped: bool = True) -> bytes:
    stream = io.BytesIO()
    torch.save(what, stream, _use_new_zipfile_serialization=zipped)
    return stream.getvalue()


def _model_with_everything() -> bytes:
    """Messages that tiny networks lack: nested graphs, sparse tensors, functions, strings."""
    values = numpy_helper.from_array(np.ones(2, np.float32), "values")
    indices = numpy_helper.from_array(np.array([0, 3], np.int64), "indices")
    sparse = helper.make_sparse_tensor(values, indices, [4])
    branch = helper.make_graph(
        [helper.make_node("Constant", [], ["y"], value=values)],
        "branch",
        [],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])],
    )
    nodes = [
        helper.make_node("Constant", [], ["c"], sparse_value=sparse),
        helper.make_node("If", ["yes"], ["z"], then_branch=branch, else_branch=branch),
        helper.make_node("Own", ["z"], ["image"], domain="own", words=[b"a", b"b"], share=0.5),
    ]
    graph = helper.make_graph(
        nodes,
        "everything",
        [helper.make_tensor_value_info("yes", TensorProto.BOOL, [])],
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [2])],
        [values],
        sparse_initializer=[sparse],
    )
    function = helper.make_function(
        "own", "Own", ["a"], ["b"], [helper.make_node("Neg", ["a"], ["b"])],
        [helper.make_opsetid("", 17)],
    )  # fmt: skip
    model = helper.make_model(
        graph, functions=[function], opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    helper.set_model_props(model, {METADATA_KEY: make_info().to_json()})
    assert isinstance(model, onnx.ModelProto)
    return model.SerializeToString()
