"""The conformance data's networks: built from the published constructors, filled by the recipe."""

import hashlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from restora_benchmarks.recipe import draw_raw, fill_network, make_state
from restora_export.reference import (
    GFPGANBilinear,
    GFPGANv1,
    GFPGANv1Clean,
    ParseNet,
    RetinaFace,
    RRDBNet,
    SRVGGNetCompact,
)

__all__ = [
    "DATA",
    "draw_multiscale",
    "draw_raw",
    "fill_network",
    "make_state",
    "network_from_constructor",
    "state_sha256",
]

DATA = Path(__file__).parent / "data"


def state_sha256(state: dict[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for key in sorted(state):
        digest.update(key.encode() + b"\0" + state[key].numpy().tobytes())
    return digest.hexdigest()


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
