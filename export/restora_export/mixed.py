"""Mixed precision: FP16 inside convolutions and FP32 between them.

It is for networks whose features exceed the range of FP16. It is slower than FP16, since twice the
bytes pass between operations, and faster than FP32.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

_CONVOLUTIONS = ("Conv", "ConvTranspose")


def halve_convolutions(model: onnx.ModelProto) -> None:
    """Convert inputs, weights and results of an FP32 graph's convolutions to FP16, in place."""
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    halves: dict[str, str] = {}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type not in _CONVOLUTIONS:
            nodes.append(node)
            continue
        for index, name in enumerate(node.input):
            if name not in halves:
                halves[name] = f"{name}_half"
                if name in weights:
                    half = numpy_helper.to_array(weights[name]).astype(np.float16)
                    graph.initializer.append(numpy_helper.from_array(half, halves[name]))
                else:
                    nodes.append(_cast(name, halves[name], TensorProto.FLOAT16))
            node.input[index] = halves[name]
        output = node.output[0]
        node.output[0] = f"{output}_as_half"
        nodes += [node, _cast(node.output[0], output, TensorProto.FLOAT)]
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)


def _cast(source: str, target: str, to: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [target], name=f"cast_{target}", to=to)


class _HalfConvolutions(TorchDispatchMode):
    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        del types
        kwargs = kwargs or {}
        if func is not torch.ops.aten.convolution.default:
            return func(*args, **kwargs)
        return _round_to_half(func(*tree_map(_round_to_half, args), **kwargs))


def _round_to_half(value: Any) -> Any:
    return value.half().float() if isinstance(value, Tensor) else value


@contextmanager
def half_convolutions() -> Iterator[None]:
    """Simulate the graph of halve_convolutions on a GPU.

    FP32 convolutions get FP16 values, and their results are rounded to FP16. No gradients are
    recorded.
    """
    with torch.no_grad(), _HalfConvolutions():  # type: ignore[no-untyped-call]
        yield
