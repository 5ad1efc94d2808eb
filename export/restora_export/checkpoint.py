"""Load checkpoints: PyTorch files and safetensors files.

Nothing in them is executed, and sizes are compared with the network before memory is allocated."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import torch
from torch import Tensor, nn

from restora.errors import CheckpointError, ChecksumError
from restora.models.regular_file import open_model_file, sha256_of_stream, shown
from restora.models.table import MODELS
from restora_export.architecture import Hints, Spec, detect_architecture
from restora_export.key_shapes import MAX_KEYS, State
from restora_export.old_keys import rename_old_keys
from restora_export.pickled_tensors import PickledTensor
from restora_export.safetensors_file import open_safetensors
from restora_export.stored_tensor import StoredTensor
from restora_export.torch_file import open_torch_file

T = TypeVar("T")
WRAPPING_KEYS = ("params_ema", "params", "state_dict")  # in order of preference
_PREFIX = "module."
_MAX_KEY_LENGTH = 200
_NO_HINTS = Hints()
_PUBLISHED = {entry.file: entry.sha256 for entry in MODELS.values() if entry.sha256}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The weights of a network.

    state: tensors by their published keys, float32
    architecture: the architecture detected from keys and shapes
    sha256: SHA-256 of the file, or of the digests and shares of a blend
    """

    name: str
    architecture: Spec
    sha256: str
    state: State = field(repr=False)


def load_checkpoint(
    path: Path | str, *, expected_sha256: str | None = None, hints: Hints = _NO_HINTS
) -> Checkpoint:
    """Load a .pth, .pt, .ckpt or .safetensors file without executing anything in it.

    expected_sha256: required SHA-256; by default that of the published file of the same name
    hints: hyperparameters that the file does not determine

    Raises MissingModelError, ChecksumError, or CheckpointError.
    """
    path = Path(path)
    with open_model_file(path, what="checkpoint", error=CheckpointError) as stream:
        digest = sha256_of_stream(stream)
        expected = expected_sha256 or _PUBLISHED.get(path.name)
        if expected is not None and digest != expected:
            raise ChecksumError(
                f"{shown(path)} must have the SHA-256 {expected}, it has {digest}: it is damaged, "
                "or it is another network with the name of a published one (then rename it)"
            )
        try:
            stored = rename_old_keys(_find_tensors(stream, path))
            spec = detect_architecture(
                {key: value.on_meta() for key, value in stored.items()}, hints
            )
            _check_claims(stored, spec, os.fstat(stream.fileno()).st_size)
            state = {key: _read(key, value) for key, value in stored.items()}
        except CheckpointError as error:
            raise CheckpointError(f"{shown(path)}: {error}") from error
    return Checkpoint(path.stem, spec, digest, state)


def network_from_checkpoint(checkpoint: Checkpoint) -> nn.Module:
    """Build the PyTorch reference with these weights, in eval mode and without gradients."""
    network = checkpoint.architecture.build()
    network.load_state_dict(checkpoint.state, strict=True)
    return network.eval().requires_grad_(False)


def _find_tensors(stream: BinaryIO, path: Path) -> dict[str, StoredTensor]:
    """Find the innermost dictionary of tensors, and remove "module." prefixes."""
    if path.suffix.lower() == ".safetensors":
        return _clean_keys(open_safetensors(stream, path))
    file = open_torch_file(stream)
    loaded = file.content
    for key in WRAPPING_KEYS:
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
            break
    if not isinstance(loaded, dict) or not loaded:
        raise CheckpointError("it must hold a dictionary of tensors")
    tensors = {}
    for key, value in _clean_keys(loaded).items():
        if not isinstance(value, PickledTensor):
            raise CheckpointError(
                f"it must hold a dictionary of tensors, directly or under "
                f"{', '.join(WRAPPING_KEYS)}; {key!r} is not a tensor"
            )
        tensors[key] = file.stored(key, value)
    return tensors


def _clean_keys(loaded: Mapping[Any, T]) -> dict[str, T]:
    if len(loaded) > MAX_KEYS:
        raise CheckpointError(f"it holds {len(loaded)} tensors, at most {MAX_KEYS} are supported")
    cleaned: dict[str, T] = {}
    for key, value in loaded.items():
        if not isinstance(key, str) or len(key) > _MAX_KEY_LENGTH or not key.isprintable():
            raise CheckpointError(
                f"its tensors must have printable names of at most {_MAX_KEY_LENGTH} characters"
            )
        if cleaned.setdefault(key.removeprefix(_PREFIX), value) is not value:
            raise CheckpointError(f"it holds {key} twice, with and without {_PREFIX!r}")
    return cleaned


def _check_claims(stored: dict[str, StoredTensor], spec: Spec, file_bytes: int) -> None:
    """Raise CheckpointError unless exactly the tensors of the network are there.

    Each must have the right shape and type, and bytes of its own.
    """
    try:
        with torch.device("meta"):
            wanted = spec.build().state_dict()
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        raise CheckpointError(f"a network of these sizes cannot be built: {spec}") from error
    missing = [key for key in wanted if key not in stored]
    unknown = [key for key in stored if key not in wanted]
    if missing or unknown:
        problem = f"it lacks {missing[0]}" if missing else f"it holds the unknown {unknown[0]}"
        raise CheckpointError(f"it looks like {spec}, but {problem}")
    for key, tensor in stored.items():
        if tensor.shape != wanted[key].shape:
            raise CheckpointError(
                f"{key} must have shape {tuple(wanted[key].shape)}, got {tensor.shape}"
            )
        counts = not wanted[key].dtype.is_floating_point  # such as the batch counter of a norm
        if not tensor.dtype.is_floating_point and not (counts and tensor.dtype != torch.bool):
            raise CheckpointError(f"{key} must hold floating-point numbers, got {tensor.dtype}")
    claimed = sum(tensor.bytes for tensor in stored.values())
    if claimed > file_bytes:
        raise CheckpointError(
            f"its tensors overlap: they need {claimed} bytes, the file has {file_bytes}"
        )


def _read(key: str, stored: StoredTensor) -> Tensor:
    try:
        tensor = stored.read().float().contiguous()
    except (RuntimeError, MemoryError) as error:
        raise CheckpointError(f"{key} does not fit into memory") from error
    if not torch.isfinite(tensor).all():
        raise CheckpointError(f"{key} holds NaN or Inf")
    return tensor
