"""Rename the keys of the two older layouts of RRDBNet checkpoints.

The original ESRGAN code counted layers: model.0, model.1.sub.N.RDB1.conv1.0, ... Its later version
named them RRDB_trunk, trunk_conv, upconv1, HRconv. Most community networks use the first.
"""

import re
from typing import TypeVar

from restora.errors import CheckpointError

T = TypeVar("T")

_NAMED = (
    (re.compile(r"^RRDB_trunk\.([0-9]+)\.RDB([123])\."), r"body.\1.rdb\2."),
    (re.compile(r"^trunk_conv\."), "conv_body."),
    (re.compile(r"^upconv([0-9]+)\."), r"conv_up\1."),
    (re.compile(r"^HRconv\."), "conv_hr."),
)
_DENSE = re.compile(r"^model\.1\.sub\.([0-9]{1,4})\.RDB([123])\.conv([1-5])\.0\.(weight|bias)$")
_TRUNK = re.compile(r"^model\.1\.sub\.([0-9]{1,4})\.(weight|bias)$")
_LAYER = re.compile(r"^model\.([0-9]{1,4})\.(weight|bias)$")


def rename_old_keys(state: dict[str, T]) -> dict[str, T]:
    """Return a state dict with the published RRDBNet keys; others are returned unchanged.

    Raises CheckpointError if the layout is an old one with unexpected keys.
    """
    if any(key.startswith("RRDB_trunk.") for key in state):
        renamed = {_rename_named(key): tensor for key, tensor in state.items()}
    elif any(key.startswith("model.1.sub.") for key in state):
        renamed = _rename_counted(state)
    else:
        return state
    if len(renamed) != len(state):
        raise CheckpointError("two keys of this old-style ESRGAN checkpoint are the same weight")
    return renamed


def _rename_named(key: str) -> str:
    for pattern, replacement in _NAMED:
        key = pattern.sub(replacement, key)
    return key


def _rename_counted(state: dict[str, T]) -> dict[str, T]:
    """The trunk is followed by the upsampling convolutions and the last two, in this order."""
    layers = sorted({int(m[1]) for key in state if (m := _LAYER.match(key))})
    if len(layers) < 3 or layers[0] != 0:
        raise CheckpointError(
            f"an old-style ESRGAN checkpoint must hold model.0 and at least two later "
            f"convolutions, got layers {layers}"
        )
    ups = layers[1:-2]
    names = {layers[0]: "conv_first", layers[-2]: "conv_hr", layers[-1]: "conv_last"}
    names |= {layer: f"conv_up{index}" for index, layer in enumerate(ups, start=1)}
    renamed = {}
    for key, tensor in state.items():
        if match := _DENSE.match(key):
            block, rdb, conv, part = match.groups()
            renamed[f"body.{block}.rdb{rdb}.conv{conv}.{part}"] = tensor
        elif match := _TRUNK.match(key):
            renamed[f"conv_body.{match[2]}"] = tensor
        elif match := _LAYER.match(key):
            renamed[f"{names[int(match[1])]}.{match[2]}"] = tensor
        else:
            raise CheckpointError(f"unknown key {key} in an old-style ESRGAN checkpoint")
    return renamed
