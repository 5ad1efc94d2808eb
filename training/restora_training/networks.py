"""The network that a recipe trains."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from restora.errors import CheckpointError, OptionError
from restora_export.architecture import RRDBSpec, SRVGGSpec
from restora_export.checkpoint import load_checkpoint, network_from_checkpoint
from restora_export.face_architecture import GFPGANSpec
from restora_export.reference import RRDBNet
from restora_export.reference.gfpgan import GFPGAN
from restora_training.recipe import NetworkPart

STYLE_LAYERS = 8


def make_network(part: NetworkPart) -> nn.Module:
    """Build the network, in train mode.

    Raises MissingModelError, CheckpointError, or OptionError for a checkpoint of another kind.
    """
    network = _start(part.start) if part.start is not None else _spec_of(part).build()
    if part.initial == "bilinear":
        start_bilinear(network)
    network.train().requires_grad_(True)
    if part.frozen_decoder:
        if not isinstance(network, GFPGAN):
            raise OptionError("network.frozen_decoder is for face networks")
        network.stylegan_decoder.requires_grad_(False)
    return network


def start_bilinear(network: nn.Module) -> None:
    """Set three channels of an RRDBNet so that the untrained network is bilinear enlargement.

    They carry R, G, B through, since all activations pass what is positive; a 1-2-1 blur behind
    nearest doubling is bilinear doubling. The others start small and random.

    Raises OptionError for a network with more than one upsample or with pixel-unshuffle.
    """
    if not isinstance(network, RRDBNet) or hasattr(network, "conv_up2") or network.scale != 2:
        raise OptionError(
            'network.initial = "bilinear" is for an rrdb with scale = 2 and upsamples = 1'
        )
    blur = torch.tensor([1.0, 2.0, 1.0]) / 4
    kernels = {
        "conv_first": None,
        "conv_up1": torch.outer(blur, blur),
        "conv_hr": None,
        "conv_last": None,
    }
    with torch.no_grad():
        for module in network.body.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.mul_(0.3)
        network.conv_body.weight.mul_(0.1)
        for name, kernel in kernels.items():
            conv = network.get_submodule(name)
            assert isinstance(conv, nn.Conv2d)
            assert conv.bias is not None
            conv.weight[:3] = 0
            if name == "conv_last":
                rest = conv.weight[:3, 3:]
                rest.copy_(0.1 * torch.randn_like(rest) / 17)
            conv.bias[:3] = 0
            for channel in range(3):
                if kernel is None:
                    conv.weight[channel, channel, 1, 1] = 1
                else:
                    conv.weight[channel, channel] = kernel


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
