"""Load checkpoints: PyTorch files without running their pickles, and safetensors."""

import hashlib
import io
import logging
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import nn

from restora.errors import CheckpointError, ChecksumError, MissingModelError
from restora.models.table import MODELS
from restora_export.architecture import Hints, Spec, State, detect_architecture
from restora_export.old_keys import rename_old_keys

logger = logging.getLogger(__name__)

WRAPPING_KEYS = ("params_ema", "params", "state_dict")  # in order of preference
_PREFIX = "module."
_NO_HINTS = Hints()
_PUBLISHED = {entry.file: entry.sha256 for entry in MODELS.values() if entry.sha256}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Weights with what they are of.

    state         published keys, float32
    architecture  detected from keys and shapes
    sha256        of the file's bytes; of a mixture, of its parts' digests and shares
    """

    name: str
    architecture: Spec
    sha256: str
    state: State = field(repr=False)


def load_checkpoint(
    path: Path | str, *, expected_sha256: str | None = None, hints: Hints = _NO_HINTS
) -> Checkpoint:
    """Load a .pth, .pt, .ckpt or .safetensors file; nothing in it is ever executed.

    expected_sha256  default: the one on record if the file is named like a published one
    hints            what the file does not tell

    Raises MissingModelError, ChecksumError, or CheckpointError.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise MissingModelError(f"there is no checkpoint at {path}") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    digest = hashlib.sha256(data).hexdigest()
    expected = expected_sha256 or _PUBLISHED.get(path.name)
    if expected is not None and digest != expected:
        raise ChecksumError(
            f"{path} must have SHA-256 {expected}, it has {digest}: it is damaged, or another "
            "network under the name of a published one (then rename it)"
        )
    try:
        loaded = _read_tensors(data, path)
        state = rename_old_keys(_unwrap(loaded))
        spec = detect_architecture(state, hints)
        _check_weights(state, spec)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return Checkpoint(path.stem, spec, digest, state)


def network_from_checkpoint(checkpoint: Checkpoint) -> nn.Module:
    """The PyTorch reference with these weights, in eval mode, without gradients."""
    network = checkpoint.architecture.build()
    network.load_state_dict(checkpoint.state, strict=True)
    return network.eval().requires_grad_(False)


def _read_tensors(data: bytes, path: Path) -> Any:
    if path.suffix.lower() == ".safetensors":
        try:
            return load_safetensors(data)
        except (SafetensorError, ValueError, KeyError) as error:
            raise CheckpointError(f"not a safetensors file, or a damaged one: {error}") from error
    try:
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            "it holds more than tensors, or is damaged, and was not loaded (nothing in it was "
            f"run): {str(error).splitlines()[0]}"
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError, TypeError, IndexError) as error:
        raise CheckpointError(f"not a PyTorch checkpoint, or a damaged one: {error}") from error


def _unwrap(loaded: Any) -> State:
    """The innermost dict of tensors, "module." prefixes removed, everything float32."""
    for key in WRAPPING_KEYS:
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
            break
    if not isinstance(loaded, dict) or not loaded:
        raise CheckpointError("it must hold a dictionary of tensors")
    strangers = [key for key, value in loaded.items() if not isinstance(value, torch.Tensor)]
    if strangers:
        raise CheckpointError(
            f"it must hold a dictionary of tensors, under {', '.join(WRAPPING_KEYS)} or bare; "
            f"{strangers[0]!r} is none"
        )
    return {
        str(key).removeprefix(_PREFIX): tensor.float().contiguous()
        for key, tensor in loaded.items()
    }


def _check_weights(state: State, spec: Spec) -> None:
    """Every tensor must be there, of the right shape and finite; none may be left over."""
    with torch.device("meta"):
        wanted = spec.build().state_dict()
    missing = [key for key in wanted if key not in state]
    unknown = [key for key in state if key not in wanted]
    if missing or unknown:
        problem = f"it lacks {missing[0]}" if missing else f"it holds the unknown {unknown[0]}"
        raise CheckpointError(f"it looks like {spec}, but {problem}")
    for key, tensor in state.items():
        if tensor.shape != wanted[key].shape:
            raise CheckpointError(
                f"{key} must have shape {tuple(wanted[key].shape)}, got {tuple(tensor.shape)}"
            )
        if not torch.isfinite(tensor).all():
            raise CheckpointError(f"{key} holds NaN or Inf")
