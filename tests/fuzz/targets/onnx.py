"""An artifact is loaded with its self-check, or refused, before any runtime sees it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from random import Random

from fuzz.model_seeds import make_artifacts
from fuzz.mutate import MAX_BYTES, mutate_bytes
from fuzz.protobuf import mutate_message
from fuzz.target import Input, Target
from restora.artifact import read_artifact


def mutate(one: Input, rng: Random, others: Sequence[Input]) -> Input:
    data = one.data
    for _ in range(rng.choice((1, 1, 2, 4))):
        with contextlib.suppress(ValueError):
            data = mutate_message(data, rng) if rng.random() < 0.85 else data
        if rng.random() < 0.15:
            data = mutate_bytes(data, rng, [rng.choice(others).data])
    return Input(one.ending, data[:MAX_BYTES])


def check(path: Path) -> str:
    artifact = read_artifact(path)
    assert len(artifact.sha256) == 64, "a digest"
    selfcheck = artifact.read_selfcheck()
    return "loaded" if selfcheck is None else "loaded with self-check"


TARGET = Target(make_artifacts, mutate, check, cpu_s=3.0, memory_mb=128)
