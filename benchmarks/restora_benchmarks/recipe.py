"""Weights for any network without a checkpoint: drawn for each tensor from its key and a seed.

Every tensor has a generator of its own, so that two implementations of one architecture get the
same weights without sharing a file. data/recipe.json says how a family's tensors are scaled, so
that activations keep sensible sizes. Speed and accuracy of a form can be measured with them;
what a picture looks like cannot.
"""

import json
import math
import re
import zlib
from functools import cache
from importlib.resources import files
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn


@cache
def _rules() -> dict[str, Any]:
    rules: dict[str, Any] = json.loads(
        (files("restora_benchmarks") / "data" / "recipe.json").read_text()
    )
    return rules


def draw_raw(key: str, shape: tuple[int, ...], seed: int) -> NDArray[np.float64]:
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode()) ^ seed))
    return generator.standard_normal(shape)


def make_tensor(
    key: str,
    shape: tuple[int, ...],
    seed: int,
    family: str,
    keys: list[str],
    rules: list[dict[str, Any]],
) -> torch.Tensor:
    raw = draw_raw(key, shape, seed)
    rule = _find_rule(key, family, keys, rules)
    kind, a, b = rule["kind"], rule["a"], rule["b"]
    if kind == "W|P":
        kind = "P" if len(shape) == 1 else "W"
    fan_in = math.prod(shape[2:] if len(shape) == 5 else shape[1:])  # modulated: (1, out, in, ...)
    if kind == "W":
        value = raw * (a / math.sqrt(fan_in))
    elif kind == "A":
        value = a + b * raw
    elif kind == "G":
        value = a + b * 1.2 ** int(key.split(".")[1]) * raw
    elif kind == "R":
        blocks = 1 + max(int(m[1]) for k in keys if (m := re.match(r"body\.(\d+)\.", k)))
        value = raw * (a * 1.2**-blocks / math.sqrt(fan_in))
    elif kind == "P":
        value = 0.25 + 0.1 * raw
    elif kind == "E":
        value = raw * a
    elif kind == "X":
        value = a * np.exp(b * raw)
    elif kind == "Z":
        return torch.zeros(shape, dtype=torch.int64)
    else:
        raise ValueError(f"the recipe knows no kind {kind!r}")
    return torch.from_numpy(np.asarray(value).astype(np.float32))


def make_state(
    shapes: dict[str, tuple[int, ...]],
    seed: int,
    family: str,
    *,
    rules: list[dict[str, Any]] | None = None,
) -> dict[str, torch.Tensor]:
    """Weights for tensors of these shapes.

    rules: scales of a family that data/recipe.json does not have
    """
    keys = list(shapes)
    chosen = _rules()["families"][family] if rules is None else rules
    return {
        key: make_tensor(key, shape, seed, family, keys, chosen) for key, shape in shapes.items()
    }


N = TypeVar("N", bound=nn.Module)


def fill_network(network: N, seed: int, family: str) -> N:
    """Load recipe weights into `network`; returns it in eval mode."""
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    network.load_state_dict(make_state(shapes, seed, family))
    return network.eval().requires_grad_(False)


def _find_rule(
    key: str, family: str, keys: list[str], rules: list[dict[str, Any]]
) -> dict[str, Any]:
    matched = key
    if family == "srvgg":
        last = max(int(m[1]) for k in keys if (m := re.match(r"body\.(\d+)\.", k)))
        matched = key.replace(f"body.{last}.", "body.LAST.")
    for rule in rules:
        if re.search(rule["pattern"], matched):
            return rule
    raise LookupError(f"no rule for {key} in {family}")
