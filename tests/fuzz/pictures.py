"""Mutants of pictures, for every target that takes some."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from random import Random

from fuzz.mutate import MAX_BYTES, mutate_bytes
from fuzz.picture_seeds import make_pictures
from fuzz.png import mutate_png
from fuzz.segments import mutate_boxes, mutate_chunks, mutate_jpeg, mutate_words
from fuzz.target import Input
from fuzz.tiff import mutate_tiff

MAX_PIXELS = 2_000_000
ENDING = ".picture"
_STRUCTURED: tuple[tuple[bytes, Callable[[bytes, Random], bytes]], ...] = (
    (b"\x89PNG", mutate_png),
    (b"II", mutate_tiff),
    (b"MM", mutate_tiff),
    (b"\xff\xd8", mutate_jpeg),
    (b"RIFF", mutate_chunks),
    (b"\0\0\0", mutate_boxes),
    (b"P", mutate_words),
)


def make_seeds() -> dict[str, Input]:
    return {name: Input(ENDING, data) for name, data in make_pictures().items()}


def mutate(one: Input, rng: Random, others: Sequence[Input]) -> Input:
    """Mostly by what is known of the format, else as bytes, and sometimes both."""
    data = one.data
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        data = _mutate_once(data, rng, others)
    return Input(ENDING, data[:MAX_BYTES])


def _mutate_once(data: bytes, rng: Random, others: Sequence[Input]) -> bytes:
    if rng.random() < 0.7:
        for beginning, structured in _STRUCTURED:
            if data.startswith(beginning):
                try:
                    return structured(data, rng)
                except (ValueError, IndexError, struct.error):
                    break
    return mutate_bytes(data, rng, [rng.choice(others).data])
