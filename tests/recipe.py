"""The deterministic weight recipe of the conformance data: any network, weights from its keys.

Every tensor has a generator of its own, seeded by its key, so that two implementations of one
architecture get the same weights without sharing a file.
"""

import hashlib
import json
import math
import re
import zlib
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from restora_export.reference import (
    GFPGANBilinear,
    GFPGANv1,
    GFPGANv1Clean,
    ParseNet,
    RetinaFace,
    RRDBNet,
    SRVGGNetCompact,
)

DATA = Path(__file__).parent / "data"


@cache
def _rules() -> dict[str, Any]:
    rules: dict[str, Any] = json.loads((DATA / "recipe.json").read_text())
    return rules


def draw_raw(key: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode()) ^ seed))
    return generator.standard_normal(shape)


def make_tensor(
    key: str, shape: tuple[int, ...], seed: int, family: str, keys: list[str]
) -> torch.Tensor:
    raw = draw_raw(key, shape, seed)
    rule = _find_rule(key, family, keys)
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
        raise NotImplementedError(kind)
    return torch.from_numpy(np.asarray(value).astype(np.float32))


def make_state(
    shapes: dict[str, tuple[int, ...]], seed: int, family: str
) -> dict[str, torch.Tensor]:
    keys = list(shapes)
    return {key: make_tensor(key, shape, seed, family, keys) for key, shape in shapes.items()}


def fill_network(network: torch.nn.Module, seed: int, family: str) -> torch.nn.Module:
    """Load recipe weights into `network`; returns it in eval mode."""
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    network.load_state_dict(make_state(shapes, seed, family))
    return network.eval().requires_grad_(False)


def state_sha256(state: dict[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for key in sorted(state):
        digest.update(key.encode() + b"\0" + state[key].numpy().tobytes())
    return digest.hexdigest()


def _find_rule(key: str, family: str, keys: list[str]) -> dict[str, Any]:
    matched = key
    if family == "srvgg":
        last = max(int(m[1]) for k in keys if (m := re.match(r"body\.(\d+)\.", k)))
        matched = key.replace(f"body.{last}.", "body.LAST.")
    for rule in _rules()["families"][family]:
        if re.search(rule["pattern"], matched):
            found: dict[str, Any] = rule
            return found
    raise LookupError(f"no rule for {key} in {family}")


def network_from_constructor(arch: str, constructor: dict[str, Any]) -> torch.nn.Module:
    """Our network from the constructor values of the published class."""
    make = {"RRDBNet": _make_rrdb, "SRVGGNetCompact": _make_srvgg, "ParseNet": _make_parsenet}
    if arch == "RetinaFace":
        return RetinaFace()
    return make.get(arch, partial(_make_gfpgan, arch))(constructor)


def _make_rrdb(values: dict[str, Any]) -> torch.nn.Module:
    return RRDBNet(values["scale"], values["num_feat"], values["num_grow_ch"], values["num_block"])


def _make_srvgg(values: dict[str, Any]) -> torch.nn.Module:
    return SRVGGNetCompact(
        values["upscale"], values["num_feat"], values["num_conv"], values["act_type"]
    )


def _make_gfpgan(arch: str, values: dict[str, Any]) -> torch.nn.Module:
    classes = {
        "GFPGANv1Clean": GFPGANv1Clean,
        "GFPGANBilinear": GFPGANBilinear,
        "GFPGANv1": GFPGANv1,
    }
    return classes[arch](
        values["out_size"],
        values["num_style_feat"],
        values["channel_multiplier"],
        values["num_mlp"],
        is_latent=values["input_is_latent"],
        different_w=values["different_w"],
        narrow=values["narrow"],
        sft_half=values["sft_half"],
    )


def _make_parsenet(values: dict[str, Any]) -> torch.nn.Module:
    return ParseNet(
        values["in_size"],
        values["out_size"],
        values.get("min_feat_size", 32),
        values.get("base_ch", 64),
        values["parsing_ch"],
        values.get("res_depth", 10),
        tuple(values.get("ch_range", (32, 256))),
    )


def draw_multiscale(name: str, *, side: int, batch: int, seed: int) -> np.ndarray:
    """Input of a face network: random blocks of all sizes, float32 in -1..1."""
    items = []
    for item in range(batch):
        total = np.zeros((3, side, side))
        cells = 4
        while cells <= side:
            raw = draw_raw(f"input/{name}/{item}/{cells}", (3, cells, cells), seed)
            total += 0.25 * raw.repeat(side // cells, 1).repeat(side // cells, 2)
            cells *= 2
        items.append(np.clip(total, -1, 1))
    return np.stack(items).astype(np.float32)
