"""Simulate the FP16 arithmetic of a GPU on a CPU, to measure FP16 artifacts.

CPU runtimes compute FP16 graphs in FP32 and hide overflows, and the FP16 convolutions of PyTorch on
a CPU are a hundred times slower than FP32. Here weights and all intermediate results are FP16; FP32
is used only inside a convolution or matrix product, as tensor cores do.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

_aten = torch.ops.aten
_PRODUCTS = frozenset(
    (
        _aten.convolution.default,
        _aten.addmm.default,
        _aten.mm.default,
        _aten.bmm.default,
        _aten.baddbmm.default,
    )
)


class _TensorCores(TorchDispatchMode):
    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        del types
        kwargs = kwargs or {}
        if func not in _PRODUCTS or args[0].dtype != torch.float16:
            return func(*args, **kwargs)
        return func(*tree_map(_widen, args), **kwargs).half()


def _widen(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) else value


@contextmanager
def tensor_core_arithmetic() -> Iterator[None]:
    """Accumulate FP16 products in FP32 and round once. No gradients are recorded."""
    with torch.no_grad(), _TensorCores():  # type: ignore[no-untyped-call]
        yield
