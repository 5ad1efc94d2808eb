"""Exponential moving averages of weights."""

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def start_average(network: nn.Module, decay: float) -> AveragedModel:
    """The average of a network's parameters, which begins as a copy; buffers are copied, as in the
    published code, which averages none.

    decay: share of the average that an update keeps

    Call its update_parameters(network) after every step.
    """
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay))
    average.update_parameters(network)  # the first update copies
    return average.requires_grad_(False)
