"""A small damage detector with normalizations as after training."""

from __future__ import annotations

import torch
from torch import nn

from restora_export.reference import DamageDetector

SIZES = (4, 6, 8, 10)


def make_detector(seed: int) -> DamageDetector:
    torch.manual_seed(seed)
    network = DamageDetector(SIZES)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values in (module.running_mean, module.running_var, module.weight, module.bias):
                assert values is not None
                nn.init.uniform_(values, 0.5, 1.5)
    return network.eval()
