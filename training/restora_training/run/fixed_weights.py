"""Weights of the fixed networks that losses compare features of."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor, nn

from restora.errors import CheckpointError, MissingBackendError, OptionError
from restora_export.pickled_tensors import PickledTensor
from restora_export.safetensors_file import open_safetensors
from restora_export.stored_tensor import StoredTensor
from restora_export.torch_file import open_torch_file

logger = logging.getLogger(__name__)


def load_weights(network: nn.Module, path: Path, *, allow_more: bool = False) -> None:
    """Load a file of tensors into a network, without executing anything in it.

    allow_more: the file may hold tensors that the network does not have

    Raises OptionError or CheckpointError.
    """
    try:
        with path.open("rb") as stream:
            stored = _open_tensors(stream, path)
            wanted = network.state_dict()
            missing = [key for key in wanted if key not in stored]
            more = [key for key in stored if key not in wanted]
            if missing or (more and not allow_more):
                problem = f"lacks {missing[0]}" if missing else f"holds the unknown {more[0]}"
                raise CheckpointError(f"it is not for {type(network).__name__}: it {problem}")
            state = {key: stored[key].read() for key in wanted}
    except OSError as error:
        raise OptionError(f"{path} cannot be read: {error.strerror}") from error
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    _load(network, state, path)


def _open_tensors(stream: BinaryIO, path: Path) -> Mapping[str, StoredTensor]:
    """The tensors of a file by name, without the prefix that DataParallel adds."""
    if path.suffix == ".safetensors":
        return open_safetensors(stream, path)
    file = open_torch_file(stream)
    if not isinstance(file.content, Mapping):
        raise CheckpointError("it must hold a dictionary of tensors")
    return {
        key.removeprefix("module."): file.stored(key, value)
        for key, value in file.content.items()
        if isinstance(key, str) and isinstance(value, PickledTensor)
    }


def load_torchvision_vgg19(network: nn.Module) -> None:
    """Load VGG19 as torchvision does: from PyTorch's cache, or else by a download of 548 MB.

    Raises MissingBackendError without torchvision, OptionError if the download fails.
    """
    try:
        from torchvision.models import VGG19_Weights  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise MissingBackendError(
            f'losses.vgg19 = "torchvision" needs pip install torchvision ({error}); or give the '
            "path of vgg19-dcbb9e9d.pth"
        ) from error
    weights = VGG19_Weights.IMAGENET1K_V1
    cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    if not cached.exists():
        logger.warning("downloading %s into %s", weights.url, cached.parent)
    try:
        stored = weights.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:
        raise OptionError(f"{weights.url} cannot be downloaded: {error}") from error
    _load(network, {key: stored[key] for key in network.state_dict()}, cached)


def _load(network: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    wanted = network.state_dict()
    for key, tensor in state.items():
        if tensor.shape != wanted[key].shape:
            raise CheckpointError(
                f"{path}: {key} must have shape {tuple(wanted[key].shape)}, "
                f"got {tuple(tensor.shape)}"
            )
    network.load_state_dict({key: tensor.to(wanted[key].dtype) for key, tensor in state.items()})
