"""Networks that compute in bfloat16, with weights and results in float32."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class InBfloat16(nn.Module):
    """Run a network's convolutions in bfloat16 while `enabled`; results are float32."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.enabled = True

    def forward(self, x: Tensor) -> Any:
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.enabled):
            out = self.network(x)
        return _in_float32(out)


def _in_float32(out: Any) -> Any:
    if isinstance(out, Tensor):
        return out.float()
    if isinstance(out, dict):
        return {name: _in_float32(value) for name, value in out.items()}
    return type(out)(_in_float32(value) for value in out)
