"""The network that a recipe trains."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from restora.errors import CheckpointError, OptionError
from restora_export.architecture import RRDBSpec, SRVGGSpec
from restora_export.checkpoint import load_checkpoint, network_from_checkpoint
from restora_export.face_architecture import GFPGANSpec
from restora_export.reference.gfpgan import GFPGAN
from restora_training.recipe import NetworkPart

STYLE_LAYERS = 8


def make_network(part: NetworkPart) -> nn.Module:
    """Build the network, in train mode.

    Raises MissingModelError, CheckpointError, or OptionError for a checkpoint of another kind.
    """
    network = _start(part.start) if part.start is not None else _spec_of(part).build()
    network.train().requires_grad_(True)
    if part.frozen_decoder:
        if not isinstance(network, GFPGAN):
            raise OptionError("network.frozen_decoder is for face networks")
        network.stylegan_decoder.requires_grad_(False)
    return network


def is_face_network(network: nn.Module) -> bool:
    return isinstance(network, GFPGAN)


def scale_of(network: nn.Module) -> int:
    """Output side / input side; 1 for face networks."""
    return int(getattr(network, "scale", 1))


def _start(path: Path) -> nn.Module:
    checkpoint = load_checkpoint(path)
    if not isinstance(checkpoint.architecture, RRDBSpec | SRVGGSpec | GFPGANSpec):
        raise CheckpointError(
            f"{path} is a {checkpoint.architecture}; only RRDBNet, SRVGGNetCompact and GFP-GAN "
            "can be trained"
        )
    return network_from_checkpoint(checkpoint)


def _spec_of(part: NetworkPart) -> RRDBSpec | SRVGGSpec | GFPGANSpec:
    if part.architecture == "rrdb":
        return RRDBSpec(part.scale, part.features, part.growth, part.blocks, 3, 3, part.upsamples)
    if part.architecture == "srvgg":
        return SRVGGSpec(part.scale, part.features, part.convs, "prelu", 3, 3)
    return GFPGANSpec(
        "GFPGANv1Clean",
        part.side,
        part.style_features,
        part.channel_multiplier,
        STYLE_LAYERS,
        different_w=True,
        narrow=part.narrow,
        sft_half=True,
    )
