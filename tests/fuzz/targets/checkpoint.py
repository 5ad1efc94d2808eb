"""A checkpoint is loaded, or refused, and nothing in it is run."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from random import Random

from fuzz.archive import mutate_pickle, mutate_safetensors, mutate_zip
from fuzz.model_seeds import make_checkpoints
from fuzz.mutate import MAX_BYTES, mutate_bytes
from fuzz.target import Input, Target
from restora_export.checkpoint import load_checkpoint


def mutate(one: Input, rng: Random, others: Sequence[Input]) -> Input:
    data = one.data
    alike = [other.data for other in others if other.ending == one.ending]
    for _ in range(rng.choice((1, 1, 2, 3))):
        with contextlib.suppress(ValueError):
            data = _mutate_once(one.ending, data, rng) if rng.random() < 0.8 else data
        if rng.random() < 0.2:
            data = mutate_bytes(data, rng, alike)
    ending = one.ending if rng.random() < 0.98 else rng.choice((".pth", ".safetensors"))
    return Input(ending, data[: 8 * MAX_BYTES])


def check(path: Path) -> str:
    checkpoint = load_checkpoint(path)
    assert checkpoint.state, "tensors"
    return f"loaded {type(checkpoint.architecture).__name__}"


def _mutate_once(ending: str, data: bytes, rng: Random) -> bytes:
    if ending == ".safetensors":
        return mutate_safetensors(data, rng)
    if data.startswith(b"PK"):
        return mutate_zip(data, rng)
    return mutate_pickle(data, rng)


TARGET = Target(make_checkpoints, mutate, check, memory_mb=256)
