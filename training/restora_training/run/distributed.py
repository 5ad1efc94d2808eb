"""Training in several processes, one for each device, started by torchrun.

Gradients are averaged right before an optimizer uses them. DistributedDataParallel, which averages
them during the backward pass, expects one forward pass and all parameters in every backward pass;
an adversarial step runs its discriminator frozen and several times.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn
from torch.optim import Optimizer

from restora.errors import OptionError

_CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Processes:
    """This process among all of them.

    device: what this process trains on
    """

    index: int = 0
    count: int = 1
    device: torch.device = _CPU

    @property
    def is_first(self) -> bool:
        return self.index == 0


@contextmanager
def join_processes(device: torch.device) -> Iterator[Processes]:
    """Join the group that torchrun describes in the environment; without torchrun, work alone.

    device: what this process trains on

    Raises OptionError if the group cannot be joined.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes()
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    try:
        distributed.init_process_group(backend)
    except (RuntimeError, ValueError) as error:
        raise OptionError(f"the processes of torchrun cannot join ({backend}): {error}") from error
    try:
        yield Processes(distributed.get_rank(), count, device)
    finally:
        distributed.destroy_process_group()


def average_gradients(optimizer: Optimizer, processes: Processes) -> None:
    """Let an optimizer average its gradients over all processes before each step."""
    if processes.count == 1:
        return

    def average(used: Optimizer, *_: object) -> None:
        gradients = [
            parameter.grad
            for group in used.param_groups
            for parameter in group["params"]
            if parameter.grad is not None
        ]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(flat)
        flat /= processes.count
        start = 0
        for gradient in gradients:
            end = start + gradient.numel()
            gradient.copy_(flat[start:end].view_as(gradient))
            start = end

    optimizer.register_step_pre_hook(average)


def share_weights(network: nn.Module, processes: Processes) -> None:
    """Give all processes the weights of the first one."""
    if processes.count > 1:
        for tensor in network.state_dict().values():
            distributed.broadcast(tensor, 0)


def any_process(flag: bool, processes: Processes) -> bool:
    """Whether the flag of any process is set, so that all do the same."""
    return bool(_extremes(int(flag), processes)[1])


def require_same_step(done: int, processes: Processes) -> None:
    """Raise OptionError in all processes unless all continue after the same step."""
    first, last = _extremes(done, processes)
    if first != last:
        raise OptionError(
            f"the processes continue after different steps, {first} and {last}: all machines must "
            "see the same folder of the run"
        )


def _extremes(value: int, processes: Processes) -> tuple[int, int]:
    """The smallest and the largest value of all processes."""
    if processes.count == 1:
        return value, value
    values = torch.tensor([-value, value], device=processes.device)
    distributed.all_reduce(values, distributed.ReduceOp.MAX)
    smallest, largest = values.tolist()
    return -smallest, largest


def average_losses(losses: dict[str, Tensor], processes: Processes) -> dict[str, float]:
    """The mean over all processes."""
    if not losses:
        return {}
    values = torch.stack([loss.float() for loss in losses.values()])
    if processes.count > 1:
        distributed.all_reduce(values)
        values /= processes.count
    return dict(zip(losses, values.tolist(), strict=True))
