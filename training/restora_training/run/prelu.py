"""PReLU with a fast backward pass in bfloat16 on the CPU.

PyTorch's own one handles elements one by one, and takes two thirds of the time of the convolution
before it. These vectorized operations (torch.where is not) give the same gradients.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class QuickPReLU(nn.PReLU):
    """nn.PReLU, also in its keys. It has no second derivative."""

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = _PReLU.apply(x, self.weight)  # type: ignore[no-untyped-call]
        return result


def quicken_prelu(network: nn.Module) -> None:
    """Replace the nn.PReLU modules of a network; they keep their parameters."""
    for module in network.modules():
        for name, child in module.named_children():
            if type(child) is nn.PReLU:
                quick = QuickPReLU(child.num_parameters)
                quick.weight = child.weight
                setattr(module, name, quick.train(child.training))


class _PReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return torch.prelu(x, weight.to(x.dtype))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        slope = weight.to(grad.dtype).view(1, -1, *[1] * (x.dim() - 2))
        passed = torch.ops.aten.threshold_backward(grad, x, 0)  # where x is positive, and else 0
        grad_x = (grad - passed).mul_(slope).add_(passed)
        products = x.clamp(max=0) * grad
        others = [dim for dim in range(x.dim()) if dim != 1 or weight.numel() == 1]
        return grad_x, products.sum(others, dtype=weight.dtype).view_as(weight)
