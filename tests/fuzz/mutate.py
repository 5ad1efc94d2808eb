"""Mutations that know nothing of the format: of bytes, and of integers in both byte orders."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from random import Random

Mutator = Callable[[bytes, Random], bytes]

MAX_BYTES = 1 << 20  # mutants do not grow beyond this
INTEGERS = (
    *(0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 64, 100, 127, 128, 255, 256, 257),
    *(1000, 4095, 4096, 10_000, 32767, 32768, 46336, 65500, 65535, 65536, 100_000, 1 << 20),
    *((1 << 24) - 1, 1 << 28, (1 << 30) - 1, 1 << 30, 3_000_000_000),
    *((1 << 31) - 1, 1 << 31, (1 << 32) - 32, (1 << 32) - 2, (1 << 32) - 1),
    *(1 << 32, 1 << 40, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 2, (1 << 64) - 1),
)


def mutate_bytes(data: bytes, rng: Random, others: Sequence[bytes] = ()) -> bytes:
    """One to a dozen mutations on top of each other, mostly few. others: seeds to splice with."""
    for _ in range(rng.choice((1, 1, 1, 1, 1, 2, 2, 3, 8))):
        if others and rng.random() < 0.06:
            data = _splice(data, rng.choice(others), rng)
        else:
            data = rng.choice(_MUTATORS)(data, rng)
    return data[:MAX_BYTES]


def draw_integer(rng: Random, size: int) -> int:
    """An unsigned integer of `size` bytes: a boundary, near one, or any."""
    limit = (1 << 8 * size) - 1
    if rng.random() < 0.2:
        return rng.getrandbits(8 * size)
    return (rng.choice(INTEGERS) + rng.choice((0, 0, 0, -1, 1))) & limit


def _flip_bits(data: bytes, rng: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _flip_early_bits(data: bytes, rng: Random) -> bytes:
    """Headers lie in front."""
    return _flip_bits(data[:128], rng) + data[128:]


def _set_bytes(data: bytes, rng: Random) -> bytes:
    start, stop = _draw_range(data, rng)
    value = rng.choice((b"\0", b"\xff", b"\x80", b"\x7f", bytes([rng.randrange(256)])))
    return data[:start] + value * (stop - start) + data[stop:]


def _truncate(data: bytes, rng: Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _insert(data: bytes, rng: Random) -> bytes:
    position = rng.randrange(len(data) + 1)
    count = rng.choice((1, 2, 4, 8, 64, 1024))
    what = rng.randbytes(count) if rng.random() < 0.5 else bytes(count)
    return data[:position] + what + data[position:]


def _delete(data: bytes, rng: Random) -> bytes:
    start, stop = _draw_range(data, rng)
    return data[:start] + data[stop:]


def _duplicate(data: bytes, rng: Random) -> bytes:
    start, stop = _draw_range(data, rng)
    times = rng.choice((1, 1, 2, 10, 100))
    return data[:stop] + data[start:stop] * times + data[stop:]


def _set_integer(data: bytes, rng: Random) -> bytes:
    size = rng.choice((1, 2, 2, 4, 4, 4, 8))
    if len(data) < size:
        return data
    end = min(len(data), 256) if rng.random() < 0.5 else len(data)
    position = rng.randrange(max(1, end - size + 1))
    if rng.random() < 0.7:
        position -= position % min(size, 4)
    value = draw_integer(rng, size).to_bytes(size, rng.choice(("little", "big")))  # type: ignore[arg-type]
    return data[:position] + value + data[position + size :]


def _set_float(data: bytes, rng: Random) -> bytes:
    value = struct.pack(
        rng.choice("<>") + rng.choice("fd"), rng.choice((float("nan"), float("inf"), -1.0, 1e30))
    )
    position = rng.randrange(len(data) + 1) // 4 * 4
    return data[:position] + value + data[position + len(value) :]


def _splice(data: bytes, other: bytes, rng: Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


def _draw_range(data: bytes, rng: Random) -> tuple[int, int]:
    start = rng.randrange(len(data) + 1)
    return start, min(len(data), start + rng.choice((1, 2, 4, 16, 64, 512)))


_MUTATORS: tuple[Mutator, ...] = (
    _flip_bits,
    _flip_bits,
    _flip_early_bits,
    _set_bytes,
    _truncate,
    _insert,
    _delete,
    _duplicate,
    _set_integer,
    _set_integer,
    _set_integer,
    _set_float,
)
