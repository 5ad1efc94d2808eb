"""Facts about networks as layers of ncnn: the files, and what is refused before ncnn reads it."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from fakes import make_info, tiny_artifact, with_info
from restora.artifact import Artifact, ArtifactInfo, read_artifact
from restora.backends.ncnn.convert import network_from_artifact
from restora.backends.ncnn.layers import Layer, Weights, bin_parts, param_text
from restora.errors import MissingBackendError
from restora.models import DEFAULT_MODEL, find_artifact

LITE = read_artifact(find_artifact(DEFAULT_MODEL, "uint8"))


def lines_of(layers: tuple[Layer, ...]) -> list[list[str]]:
    return [line.split() for line in param_text(layers).splitlines()]


def test_a_network_runs_from_data_to_output_and_each_blob_is_read_once() -> None:
    magic, counts, *lines = lines_of(network_from_artifact(LITE).layers)
    assert magic == ["7767517"]
    made, read = [], []
    for _, _, inputs, outputs, *rest in lines:
        read += rest[: int(inputs)]
        made += rest[int(inputs) :][: int(outputs)]
        assert set(read) <= set(made)
    assert counts == [str(len(lines)), str(len(made))]
    assert sorted(read) == sorted(set(made) - {"output"})
    assert len(made) == len(set(made))
    assert made[0] == "data"


def test_activations_and_residual_scales_are_part_of_the_layers_before_and_behind_them() -> None:
    kinds = [layer.kind for layer in network_from_artifact(LITE).layers]
    assert kinds.count("Convolution") == 20
    assert "ReLU" not in kinds
    assert kinds.count("Eltwise") == 1
    text = param_text(network_from_artifact(LITE).layers)
    assert text.count("9=2 -23310=1,2.0e-01") == 14
    assert "0=1 -23301=2,1.0e+00,2.0e-01" in text


def test_numbers_are_read_back_as_the_same_float32_from_15_characters() -> None:
    values = np.random.default_rng(0).normal(0, 1e-3, 1000).astype(np.float32)
    text = param_text([Layer("Input", (), ("data",), {1: tuple(values.tolist())})])
    numbers = text.split("=1000,")[1].split()[0].split(",")
    assert max(map(len, numbers)) <= 15
    assert np.array_equal(np.array(numbers).astype(np.float32), values)


def test_half_weights_are_tagged_and_padded_and_biases_stay_float32() -> None:
    weight, bias = np.arange(3, dtype=np.float32), np.array([0.1], np.float32)
    layer = Layer("Convolution", (), (), {}, (Weights(weight, tagged=True), Weights(bias)))
    half = struct.pack("<I3e2x f", 0x01306B47, *weight, bias[0])
    assert b"".join(bin_parts([layer], half=True)) == half
    assert b"".join(bin_parts([layer])) == struct.pack("<I3f f", 0, *weight, bias[0])


def test_names_in_the_file_are_ours() -> None:
    """An artifact may name a tensor so that it would be a line of the .param file."""
    model = onnx.load_from_string(tiny_artifact().onnx)
    for node in model.graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == "blurred":
                    names[index] = "x\nConvolution evil 1 1 data output"
    text = param_text(network_from_artifact(with_info(model, make_info())).layers)
    assert "evil" not in text


def change(edit: Callable[[onnx.GraphProto], None], info: ArtifactInfo | None = None) -> Artifact:
    model = onnx.load_from_string(tiny_artifact().onnx)
    edit(model.graph)
    return with_info(model, info or make_info())


def node_of(graph: onnx.GraphProto, operator: str) -> onnx.NodeProto:
    found: onnx.NodeProto = next(node for node in graph.node if node.op_type == operator)
    return found


def set_constant(graph: onnx.GraphProto, name: str, value: object) -> None:
    tensor = next(tensor for tensor in graph.initializer if tensor.name == name)
    tensor.CopyFrom(numpy_helper.from_array(np.asarray(value), name))


def set_attribute(graph: onnx.GraphProto, operator: str, name: str, value: object) -> None:
    node = node_of(graph, operator)
    kept = [attribute for attribute in node.attribute if attribute.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute(name, value)])


def scales(height: float, width: float) -> np.ndarray:
    return np.array([1, 1, height, width], np.float32)


def kernel(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda g: set_constant(g, "weight", kernel(3, 2, 3, 3)), "for 3 channels"),
        (lambda g: set_constant(g, "weight", kernel(3, 4, 3, 3)), "for 3 channels"),
        (lambda g: set_constant(g, "weight", kernel(4, 3, 3, 3)), "it gives 4 channels"),
        (lambda g: set_constant(g, "weight", kernel(3, 3, 3, 5)), "kernel of shape"),
        (lambda g: set_constant(g, "weight", kernel(3, 3, 5, 5)), "kernel of 5"),
        (lambda g: set_constant(g, "weight", np.zeros((3, 3, 3, 3))), "is float64"),
        (lambda g: set_attribute(g, "Conv", "pads", [1, 1, 1, 0]), "with pads"),
        (lambda g: set_attribute(g, "Conv", "pads", [0, 0, 0, 0]), "kernel of 3"),
        (lambda g: set_attribute(g, "Conv", "strides", [3, 3]), "1/3 times as large"),
        (lambda g: set_attribute(g, "Conv", "strides", [0, 0]), "a convolution with"),
        (lambda g: set_attribute(g, "Conv", "group", 3), "a convolution with"),
        (lambda g: set_attribute(g, "Conv", "dilations", [2, 2]), "a convolution with"),
        (lambda g: set_attribute(g, "Conv", "dilations", [1, 2]), "with dilations"),
        (lambda g: set_constant(g, "scales", scales(3, 3)), "it must give 3 channels, 2 times"),
        (lambda g: set_constant(g, "scales", scales(2, 3)), "repeats pixels"),
        (lambda g: set_constant(g, "scales", scales(2.5, 2.5)), "repeats pixels"),
        (lambda g: set_attribute(g, "Resize", "mode", "linear"), "repeats pixels"),
        (lambda g: setattr(node_of(g, "Conv"), "op_type", "Softmax"), "the operator Softmax"),
        (lambda g: setattr(node_of(g, "Clip"), "op_type", "Relu"), "it must|must be clipped"),
        (lambda g: set_attribute(g, "ReduceMean", "axes", [1, 2]), "means of the channels"),
        (lambda g: set_attribute(g, "Transpose", "perm", [0, 3, 2, 1]), "must be NHWC"),
    ],
)
def test_a_graph_that_ncnn_would_run_otherwise_is_refused(
    edit: Callable[[onnx.GraphProto], None], message: str
) -> None:
    with pytest.raises(MissingBackendError, match=rf"tiny cannot be converted: .*{message}"):
        network_from_artifact(change(edit))


def test_only_fp32_artifacts_are_converted() -> None:
    with pytest.raises(MissingBackendError, match="ncnn runs fp32 artifacts, tiny is in fp16"):
        network_from_artifact(tiny_artifact(precision="fp16"))


def test_uint8_artifacts_must_round_at_their_end() -> None:
    lying = replace(tiny_artifact(io="float32"), info=make_info(io="uint8"))
    with pytest.raises(MissingBackendError, match="output must be NHWC in uint8"):
        network_from_artifact(lying)


DAMAGE = read_artifact(find_artifact("restora-damage", "uint8", "damage-detector"))
REPAIR = read_artifact(find_artifact("restora-repair", "uint8", "repairer"))


def edited(artifact: Artifact, edit: Callable[[onnx.GraphProto], None]) -> Artifact:
    model = onnx.load_from_string(artifact.onnx)
    edit(model.graph)
    return with_info(model, artifact.info)


def maker_of(graph: onnx.GraphProto, tensor: str) -> onnx.NodeProto:
    found: onnx.NodeProto = next(node for node in graph.node if tensor in node.output)
    return found


def put_number(graph: onnx.GraphProto, node: onnx.NodeProto, place: int, value: object) -> None:
    """Give one node a constant of its own."""
    graph.initializer.append(numpy_helper.from_array(np.asarray(value), "changed"))
    node.input[place] = "changed"


def swap(node: onnx.NodeProto, one: int, other: int) -> None:
    node.input[one], node.input[other] = node.input[other], node.input[one]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda g: set_attribute(g, "MaxPool", "kernel_shape", [10, 1]), "MaxPool of 10 x 1"),
        (lambda g: set_attribute(g, "MaxPool", "pads", [4, 0, 5, 0]), "MaxPool of 11 x 1"),
        (lambda g: set_attribute(g, "MaxPool", "strides", [2, 2]), "MaxPool of 11 x 1"),
        (lambda g: set_attribute(g, "AveragePool", "strides", [2, 2]), "AveragePool of 4 x 4"),
        (lambda g: set_attribute(g, "AveragePool", "ceil_mode", 1), "AveragePool of 4 x 4"),
        (lambda g: set_attribute(g, "ReduceMean", "axes", [3]), r"a mean over the axes \[3\]"),
        (lambda g: set_attribute(g, "ReduceMean", "axes", [2, 3]), "joins tensors of different s"),
        (lambda g: set_attribute(g, "Concat", "axis", 2), "another axis than the channels"),
    ],
)
def test_a_detector_that_ncnn_would_run_otherwise_is_refused(
    edit: Callable[[onnx.GraphProto], None], message: str
) -> None:
    with pytest.raises(MissingBackendError, match=message):
        network_from_artifact(edited(DAMAGE, edit))


FILL = "it must fill what a mask names"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda g: put_number(g, node_of(g, "Greater"), 1, np.float32(0.4)), FILL),
        (lambda g: put_number(g, maker_of(g, "add_848"), 1, np.float32(0)), FILL),
        (lambda g: put_number(g, maker_of(g, "mul_686"), 1, np.float32(254)), FILL),
        (lambda g: put_number(g, maker_of(g, "clamp_11"), 2, np.float32(254)), FILL),
        (lambda g: put_number(g, maker_of(g, "mul_36"), 1, np.float32(1)), FILL),
        (lambda g: put_number(g, maker_of(g, "sub_21"), 1, np.float32(0.2)), FILL),
        (lambda g: maker_of(g, "sub_21").input.__setitem__(0, "mul_36"), FILL),
        (lambda g: put_number(g, node_of(g, "Split"), 1, np.array([2, 2])), FILL),
        (lambda g: put_number(g, node_of(g, "Split"), 1, np.array([1, 3])), FILL),
        (lambda g: set_attribute(g, "Split", "axis", 2), "Split with other attributes"),
        (lambda g: swap(node_of(g, "Where"), 1, 2), "it must end with"),
        (lambda g: swap(node_of(g, "Concat"), 0, 1), "must see the colors and two masks"),
        (lambda g: node_of(g, "Concat").input.pop(), "must see the colors and two masks"),
        (lambda g: setattr(node_of(g, "Round"), "op_type", "Floor"), "must end with Round"),
    ],
)
def test_a_repairer_whose_images_would_become_others_is_refused(
    edit: Callable[[onnx.GraphProto], None], message: str
) -> None:
    with pytest.raises(MissingBackendError, match=message):
        network_from_artifact(edited(REPAIR, edit))


def test_numbers_of_channels_are_written_as_integers_and_bounds_as_fractions() -> None:
    text = param_text(network_from_artifact(REPAIR).layers)
    assert "-23300=2,3,1 1=0" in text
    assert "-23303=2,1,2 4=1 5=1" in text
    assert "0=2.5e-01 1=3.0e+38" in text


def test_networks_for_faces_are_not_converted() -> None:
    with pytest.raises(MissingBackendError, match="tiny is a face"):
        network_from_artifact(replace(tiny_artifact(), info=make_info(kind="face", scale=1)))
