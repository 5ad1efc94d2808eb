"""Round the weights of convolutions to bfloat16 so that the errors of each kernel cancel out.

OpenVINO rounds each weight to the nearest value. Where all pixels under a kernel are alike, the
errors of its weights add up, and a flat area changes its brightness. Here the error of a weight is
carried to the next one of the kernel, as in error diffusion, so that the sum of a kernel hardly
changes. OpenVINO keeps such weights as they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray
from openvino import opset13

Floats = NDArray[np.float32]
_KEPT = np.uint32(0xFFFF0000)  # the bits of a float32 that bfloat16 has


def diffuse_rounding(model: openvino.Model) -> int:
    """Replace the weights of all convolutions in place. Returns the number of convolutions."""
    found = 0
    for node in list(model.get_ordered_ops()):
        if node.get_type_name() != "Convolution":
            continue
        weights = _weights_of(node.input_value(1).get_node())
        if weights is not None:
            # OpenVINO multiplies the weights by the factor of the input, and then rounds them
            factor = _factor_of(node.input_value(0).get_node())
            rounded = opset13.constant(round_kernels(weights * factor) / factor)
            node.input(1).replace_source_output(rounded.output(0))
            found += 1
    return found


def round_kernels(weights: Floats) -> Floats:
    """Values of bfloat16 whose sum over each kernel is about that of `weights`.

    weights: (outputs, inputs, height, width)
    """
    kernels = weights.reshape(-1, weights.shape[2] * weights.shape[3]).copy()
    rows = np.arange(len(kernels))
    # what the last weight cannot take remains: the smallest one has the finest steps
    smallest = np.abs(kernels).argmin(1)
    kernels[rows, smallest], kernels[:, -1] = kernels[:, -1].copy(), kernels[rows, smallest]
    error = np.zeros(len(kernels), np.float32)
    for column in kernels.T:
        wanted = column + error
        column[:] = round_to_bf16(wanted)
        error = wanted - column
    kernels[rows, smallest], kernels[:, -1] = kernels[:, -1].copy(), kernels[rows, smallest]
    return kernels.reshape(weights.shape)


def round_to_bf16(values: Floats) -> Floats:
    """The nearest values of bfloat16; of two, the even one."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    half = ((bits >> np.uint32(16)) & np.uint32(1)) + np.uint32(0x7FFF)
    return ((bits + half) & _KEPT).view(np.float32)


def _factor_of(node: Any) -> np.float32:
    """The number by which a node multiplies; 1 if it does something else."""
    if node.get_type_name() == "Multiply":
        for side in (0, 1):
            constant = node.input_value(side).get_node()
            if constant.get_type_name() == "Constant" and constant.get_data().size == 1:
                return np.float32(constant.get_data().reshape(()))
    return np.float32(1)


def _weights_of(node: Any) -> Floats | None:
    """None if they are no constant of floating-point numbers."""
    if node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    if node.get_type_name() != "Constant" or not node.get_element_type().is_real():
        return None
    return np.asarray(node.get_data(), np.float32)
