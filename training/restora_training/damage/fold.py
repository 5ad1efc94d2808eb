"""Fold batch normalizations into the convolutions before them, so that rounding comes last.

An exporter folds them too; what was rounded before would then take twice the room.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

EPS = 1e-5  # of torch.nn.BatchNorm2d


def round_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights in float16, of the same network but for their rounding.

    state: of a network whose normalizations NAME.norm follow convolutions NAME.conv without bias.
        They become the identity with a bias; variances stay in float32, which makes that exact
    """
    values = {key: value.detach().float() for key, value in state.items()}
    for key in [key for key in state if key.endswith(".norm.running_var")]:
        name = key.removesuffix(".norm.running_var")
        norm = {part: values[f"{name}.norm.{part}"] for part in ("weight", "bias", "running_mean")}
        gain = norm["weight"] / torch.sqrt(values[key] + EPS)
        values[f"{name}.conv.weight"] = values[f"{name}.conv.weight"] * gain[:, None, None, None]
        values[f"{name}.norm.bias"] = norm["bias"] - norm["running_mean"] * gain
        values[f"{name}.norm.weight"] = torch.ones_like(gain)
        values[f"{name}.norm.running_mean"] = torch.zeros_like(gain)
        values[key] = torch.full_like(gain, 1 - EPS)
    return {key: _rounded(key, value, state[key]) for key, value in values.items()}


def _rounded(key: str, value: Tensor, before: Tensor) -> Tensor:
    if not before.dtype.is_floating_point:
        return before
    return value.contiguous() if key.endswith("running_var") else value.half().contiguous()
