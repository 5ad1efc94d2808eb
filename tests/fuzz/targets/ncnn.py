"""An ncnn network is loaded, or refused: its layers, their sizes, and the bytes of the weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

import torch

from fuzz.mutate import INTEGERS, MAX_BYTES, mutate_bytes
from fuzz.target import Input, Target
from ncnn_files import Storage, ncnn_bytes
from restora_export.checkpoint import load_checkpoint
from restora_export.reference import RRDBNet, SRVGGNetCompact

_BETWEEN = b"\n\0\n"  # .param and .bin in one input
_VALUES = ("-1", "0.5", "1e999", "nan", "-23300=1,2", "9" * 400, "x", "", "2,1", "1_0")
_TYPES = ("Convolution", "PReLU", "Concat", "Interp", "PixelShuffle", "BinaryOp", "Split", "Reorg")


def make_seeds() -> dict[str, Input]:
    torch.manual_seed(1)
    nets = {
        "rrdb": RRDBNet(4, 4, 2, 1),
        "rrdb-x2": RRDBNet(2, 4, 2, 1),
        "srvgg": SRVGGNetCompact(2, 4, 2, "prelu"),
        "srvgg-relu": SRVGGNetCompact(2, 4, 1, "relu"),
    }
    kinds: tuple[Storage, ...] = ("fp32", "fp16", "int8")
    return {
        f"{name}-{kind}": Input(".ncnn", _BETWEEN.join(ncnn_bytes(net, kind)))
        for name, net in nets.items()
        for kind in kinds
    }


def mutate(one: Input, rng: Random, others: Sequence[Input]) -> Input:
    param, _, weights = one.data.partition(_BETWEEN)
    for _ in range(rng.choice((1, 1, 2, 4))):
        if rng.random() < 0.75:
            param = _mutate_words(param, rng)
        elif rng.random() < 0.4:
            param = mutate_bytes(param, rng)
        else:
            weights = mutate_bytes(weights, rng, [rng.choice(others).data])
    return Input(one.ending, (param + _BETWEEN + weights)[:MAX_BYTES])


def check(path: Path) -> str:
    param, _, weights = path.read_bytes().partition(_BETWEEN)
    target = path.with_suffix(".param")
    target.write_bytes(param)
    target.with_suffix(".bin").write_bytes(weights)
    checkpoint = load_checkpoint(target)
    assert checkpoint.state, "tensors"
    return f"loaded {type(checkpoint.architecture).__name__}"


def _mutate_words(param: bytes, rng: Random) -> bytes:
    """Words and lines change places, numbers become others."""
    lines = [line.split(b" ") for line in param.split(b"\n")]
    at = rng.randrange(len(lines))
    line, what = lines[at], rng.randrange(8)
    word = rng.randrange(len(line))
    if what < 4:
        key, equals, _ = line[word].partition(b"=")
        value = str(rng.choice(INTEGERS)) if rng.random() < 0.6 else rng.choice(_VALUES)
        line[word] = (key + equals if equals else b"") + value.encode()
    elif what == 4:
        line[word] = rng.choice(rng.choice(lines))
    elif what == 5:
        line[0] = rng.choice(_TYPES).encode()
    elif what == 6:
        lines[at:at] = [list(line)] * rng.choice((1, 2, 300))
    else:
        del lines[at]
    return b"\n".join(map(b" ".join, lines))


TARGET = Target(make_seeds, mutate, check, memory_mb=256)
