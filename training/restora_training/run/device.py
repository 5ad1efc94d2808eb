"""The device that a process trains on."""

from __future__ import annotations

import os
from typing import Literal

import torch

from restora.errors import OptionError

DeviceName = Literal["auto", "cpu", "cuda"]


def choose_device(name: DeviceName) -> torch.device:
    """The device of a name; of several GPUs, the one that torchrun gives this process.

    "auto" is the GPU if there is one. Raises OptionError for "cuda" without a usable GPU.
    """
    count = torch.cuda.device_count() if name != "cpu" and torch.cuda.is_available() else 0
    if not count:
        if name == "cuda":
            raise OptionError(
                'run.device is "cuda", but PyTorch finds no CUDA GPU: install a CUDA build of '
                'PyTorch, or set it to "cpu"'
            )
        return torch.device("cpu")
    index = int(os.environ.get("LOCAL_RANK", "0"))
    if index >= count:
        raise OptionError(
            f"torchrun starts a process for GPU {index}, but there are {count}: lower "
            "--nproc-per-node"
        )
    return torch.device("cuda", index)
