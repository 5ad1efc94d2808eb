"""Exported graphs contain only what TensorRT 8.6 reads as ONNX defines it."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from restora.errors import ModelError
from restora_export.tensorrt_rules import check_uint8_casts, rewrite_shapes

FLOAT, HALF, UINT8, INT64 = (
    TensorProto.FLOAT,
    TensorProto.FLOAT16,
    TensorProto.UINT8,
    TensorProto.INT64,
)


def model_of(
    *nodes: onnx.NodeProto, input_type: int = UINT8, output_type: int = UINT8
) -> onnx.ModelProto:
    """A model from "image", (batch, 4, 5, 3), to "restored", of any shape."""
    image = helper.make_tensor_value_info("image", input_type, ("batch", 4, 5, 3))
    restored = helper.make_tensor_value_info("restored", output_type, ("n",))
    graph = helper.make_graph(list(nodes), "test", [image], [restored])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def cast(source: str, target: str, to: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [target], name=f"cast_{target}", to=to)


@pytest.mark.parametrize(
    "attributes", [{"start": 1}, {"end": 2}, {"start": 1, "end": -1}, {"start": -2}, {}]
)
def test_a_part_of_a_shape_is_the_same_without_attributes(attributes: dict[str, int]) -> None:
    model = model_of(
        helper.make_node("Shape", ["image"], ["restored"], **attributes),
        input_type=FLOAT,
        output_type=INT64,
    )
    image = {"image": np.zeros((2, 4, 5, 3), np.float32)}
    (expected,) = ReferenceEvaluator(model).run(None, image)
    rewrite_shapes(model)
    onnx.checker.check_model(model)
    assert all(not node.attribute for node in model.graph.node if node.op_type == "Shape")
    (got,) = ReferenceEvaluator(model).run(None, image)
    np.testing.assert_array_equal(got, expected)
    assert len(got) == len(range(4)[attributes.get("start", 0) : attributes.get("end", 4)])


def test_the_shape_of_a_uint8_input_is_read_behind_its_cast() -> None:
    model = model_of(
        helper.make_node("Shape", ["image"], ["shape"], end=2),
        cast("image", "x", FLOAT),
        helper.make_node("Cast", ["shape"], ["restored"], to=FLOAT),
        output_type=FLOAT,
    )
    rewrite_shapes(model)
    check_uint8_casts(model)
    onnx.checker.check_model(model)
    image = {"image": np.zeros((2, 4, 5, 3), np.uint8)}
    np.testing.assert_array_equal(ReferenceEvaluator(model).run(None, image)[0], [2, 4])


@pytest.mark.parametrize("between", [FLOAT, HALF])
def test_uint8_is_cast_right_after_the_input_and_right_before_the_output(between: int) -> None:
    check_uint8_casts(
        model_of(
            cast("image", "x", between),
            helper.make_node("Relu", ["x"], ["y"]),
            cast("y", "restored", UINT8),
        )
    )


def test_a_node_between_the_last_cast_and_the_output_is_refused() -> None:
    model = model_of(
        cast("image", "x", FLOAT),
        cast("x", "y", UINT8),
        helper.make_node("Transpose", ["y"], ["restored"], name="swap", perm=[0, 3, 1, 2]),
    )
    with pytest.raises(ModelError, match="outputs of the network that Cast returns, Cast cast_y"):
        check_uint8_casts(model)


def test_an_input_of_uint8_that_another_node_reads_is_refused() -> None:
    model = model_of(
        helper.make_node("Transpose", ["image"], ["x"], name="swap", perm=[0, 3, 1, 2]),
        cast("x", "restored", FLOAT),
        output_type=FLOAT,
    )
    with pytest.raises(ModelError, match="only as input of Cast, Transpose swap reads it"):
        check_uint8_casts(model)


def test_integers_are_not_cast_to_uint8() -> None:
    model = model_of(
        cast("image", "x", FLOAT),
        helper.make_node("ArgMax", ["x"], ["y"], axis=3),
        cast("y", "restored", UINT8),
    )
    with pytest.raises(ModelError, match="FP32 and FP16 to uint8, cast_restored casts INT64"):
        check_uint8_casts(model)
