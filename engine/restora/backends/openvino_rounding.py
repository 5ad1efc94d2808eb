"""Work around wrong rounding of INT8 artifacts in OpenVINO.

OpenVINO 2026.4 imports a pair of QuantizeLinear and DequantizeLinear as rounding to whole numbers
followed by a multiplication. Where such pairs of signed values meet in a concatenation, its
low-precision passes lose the scale: values are rounded to 1, 2, 3 instead of to steps of the scale,
and restora-lite-x2 reaches about 35 dB instead of 43. One FakeQuantize operation in place of each
pair is computed correctly and is as fast.

An artifact rounds again behind a concatenation, because TensorRT wants a pair before each
convolution. OpenVINO would move that into each input of the concatenation, so that each tensor of a
dense block is rounded up to five times.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openvino
from openvino import opset13

_LEVELS = 256
_WHOLE = (-128.0, 127.0)
_BEHIND = ("Convert", "Subtract", "Multiply")


def join_rounding(model: openvino.Model) -> int:
    """Replace every symmetric pair in place. Returns their number."""
    found = 0
    for node in list(model.get_ordered_ops()):
        if node.get_type_name() != "FakeQuantize" or _range_of(node, 3) != _WHOLE:
            continue
        product = _find_product(node)
        if product is None:
            continue
        low, high = node.input_value(1), node.input_value(2)
        joined = opset13.fake_quantize(node.input_value(0), low, high, low, high, _LEVELS)
        for user in list(product.output(0).get_target_inputs()):
            user.replace_source_output(joined.output(0))
        found += 1
    if found:
        model.validate_nodes_and_infer_types()
    return found


def drop_repeats(model: openvino.Model) -> int:
    """Remove in place what rounds values again that are rounded to the same steps already, behind
    concatenations and nearest upsampling. Call join_rounding first. Returns their number."""
    found = 0
    for node in list(model.get_ordered_ops()):
        if node.get_type_name() != "FakeQuantize":
            continue
        source = node.input_value(0)
        carried = list(_iter_carried(source.get_node()))
        if source.get_node() in carried or not all(_rounds_alike(each, node) for each in carried):
            continue
        for user in list(node.output(0).get_target_inputs()):
            user.replace_source_output(source)
        found += 1
    return found


def _iter_carried(node: Any) -> Iterator[Any]:
    """The nodes whose values a node passes on unchanged, or the node itself if it computes."""
    kind = node.get_type_name()
    if kind == "Concat":
        for index in range(node.get_input_size()):
            yield from _iter_carried(node.input_value(index).get_node())
    elif kind == "Interpolate" and node.get_attributes()["mode"] == "nearest":
        yield from _iter_carried(node.input_value(0).get_node())
    else:
        yield node


def _rounds_alike(node: Any, other: Any) -> bool:
    if node.get_type_name() != "FakeQuantize":
        return False
    limits = _range_of(node, 1)
    return limits is not None and limits == _range_of(other, 1)


def _find_product(node: Any) -> Any | None:
    """Find the multiplication by the scale, if it is the only consumer of a rounded value."""
    while True:
        users = list(node.output(0).get_target_inputs())
        if len(users) != 1:
            return None
        node = users[0].get_node()
        kind = node.get_type_name()
        if kind not in _BEHIND or (kind == "Subtract" and _zero_point(node) != 0):
            return None
        if kind == "Multiply":
            return node


def _range_of(node: Any, first: int) -> tuple[float, ...] | None:
    constants = [node.input_value(index).get_node() for index in (first, first + 1)]
    if any(constant.get_type_name() != "Constant" for constant in constants):
        return None
    return tuple(float(constant.get_data().reshape(-1)[0]) for constant in constants)


def _zero_point(node: Any) -> float | None:
    constant = node.input_value(1).get_node()
    while constant.get_type_name() == "Convert":
        constant = constant.input_value(0).get_node()
    if constant.get_type_name() != "Constant":
        return None
    return float(abs(constant.get_data()).max())
