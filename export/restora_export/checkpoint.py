"""Load checkpoints: PyTorch, safetensors and ncnn files.

Nothing in them is executed, and sizes are compared with the network before memory is allocated."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import torch
from torch import Tensor, nn

from restora.errors import CheckpointError, ChecksumError
from restora.models.checkpoint_files import NCNN_SUFFIX, open_checkpoint
from restora.models.regular_file import sha256_of_streams, shown
from restora.models.table import MODELS
from restora_export.architecture import Hints, Spec, detect_architecture
from restora_export.key_shapes import State
from restora_export.layer_keys import name_tensors
from restora_export.layers import Layer, check_same_function
from restora_export.ncnn_file import read_ncnn
from restora_export.old_keys import rename_old_keys
from restora_export.pickled_tensors import PickledTensor
from restora_export.safetensors_file import open_safetensors
from restora_export.state_dict import WRAPPING_KEYS, check_prefix, clean_keys, unwrap
from restora_export.stored_tensor import StoredTensor
from restora_export.torch_file import open_torch_file

if TYPE_CHECKING:
    from restora_export.own_onnx import OwnWeights

_NO_HINTS = Hints()
_LICENSES = {entry.sha256: entry.license for entry in MODELS.values() if entry.sha256} | {
    entry.wheel.sha256: entry.wheel.license for entry in MODELS.values() if entry.wheel
}
_PUBLISHED = {entry.file: entry.sha256 for entry in MODELS.values() if entry.sha256} | {
    f"{entry.name}{NCNN_SUFFIX}": entry.wheel.sha256 for entry in MODELS.values() if entry.wheel
}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The weights of a network.

    state: tensors by their published keys, float32
    architecture: the architecture detected from keys and shapes
    sha256: SHA-256 of the file (of an ncnn network: of .param and .bin, one after the other; of an
        artifact: of the checkpoint that it was made of), or of the digests and shares of a blend
    license: SPDX name of the license of a published file; "" for other files
    """

    name: str
    architecture: Spec
    sha256: str
    state: State = field(repr=False)
    license: str = ""


def load_checkpoint(
    path: Path | str,
    *,
    expected_sha256: str | None = None,
    hints: Hints = _NO_HINTS,
) -> Checkpoint:
    """Load a .pth, .pt, .ckpt, .safetensors or .param file, or an .onnx file of another exporter or
    an artifact of SRVGGNetCompact, without executing anything in it.

    expected_sha256: required SHA-256; by default that of the published file of the same name
    hints: what the file does not determine

    Raises MissingModelError, ChecksumError, or CheckpointError.
    """
    path = Path(path)
    with open_checkpoint(path, error=CheckpointError) as streams:
        digest = sha256_of_streams(*streams)
        expected = expected_sha256 or _PUBLISHED.get(path.name)
        if expected is not None and digest != expected:
            raise ChecksumError(
                f"{shown(path)} must have the SHA-256 {expected}, it has {digest}: it is damaged, "
                "or it is another network with the name of a published one (then rename it)"
            )
        try:
            own = _read_own(path, streams)
            spec, state = _load(path, streams, hints, own)
        except CheckpointError as error:
            raise CheckpointError(f"{shown(path)}: {error}") from error
    if own is not None:
        return Checkpoint(path.stem, spec, own.sha256, state, own.license)
    return Checkpoint(path.stem, spec, digest, state, _LICENSES.get(digest, ""))


def network_from_checkpoint(checkpoint: Checkpoint) -> nn.Module:
    """Build the PyTorch reference with these weights, in eval mode and without gradients."""
    return _build(checkpoint.architecture, checkpoint.state)


def _build(spec: Spec, state: State) -> nn.Module:
    network = spec.build()
    network.load_state_dict(state, strict=True)
    return network.eval().requires_grad_(False)


def _load(
    path: Path, streams: Sequence[BinaryIO], hints: Hints, own: OwnWeights | None
) -> tuple[Spec, State]:
    layers = _read_layers(path, streams) if own is None else None
    if own is not None:
        stored = own.tensors
    elif layers is None:
        stored = rename_old_keys(_find_tensors(streams[0], path, hints.key))
    elif hints.key is not None:
        raise CheckpointError("it holds one network without names: leave the key out")
    else:
        stored, hints = name_tensors(layers)
    spec = detect_architecture({name: value.on_meta() for name, value in stored.items()}, hints)
    if own is not None and str(spec) != own.architecture:
        raise CheckpointError(
            f"it is an artifact of {own.architecture}, its weights look like {spec}: give the "
            "checkpoint"
        )
    _check_claims(stored, spec, sum(os.fstat(stream.fileno()).st_size for stream in streams))
    state = {name: _read(name, value) for name, value in stored.items()}
    if layers is not None:
        check_same_function(layers, _build(spec, state))
    return spec, state


def _read_own(path: Path, streams: Sequence[BinaryIO]) -> OwnWeights | None:
    if path.suffix.lower() != ".onnx":
        return None
    from restora_export.own_onnx import read_own_onnx

    return read_own_onnx(streams[0])


def _read_layers(path: Path, streams: Sequence[BinaryIO]) -> list[Layer] | None:
    """The layers of a file of another runtime; None for a file of weights with names."""
    suffix = path.suffix.lower()
    if suffix == ".onnx":
        from restora_export.foreign_onnx import read_foreign_onnx

        return read_foreign_onnx(streams[0])
    return read_ncnn(*streams) if suffix == NCNN_SUFFIX else None


def _find_tensors(stream: BinaryIO, path: Path, key: str | None) -> dict[str, StoredTensor]:
    if path.suffix.lower() == ".safetensors":
        tensors = open_safetensors(stream, path)
        check_prefix(tensors, key)
        return clean_keys(tensors, key)
    file = open_torch_file(stream)
    stored = {}
    for name, value in clean_keys(unwrap(file.content, key), key).items():
        if not isinstance(value, PickledTensor):
            raise CheckpointError(
                f"it must hold a dictionary of tensors, directly or under "
                f"{', '.join(WRAPPING_KEYS)}; {name!r} is not a tensor"
            )
        stored[name] = file.stored(name, value)
    return stored


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
