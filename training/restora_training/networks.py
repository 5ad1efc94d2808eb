"""The network that a recipe trains."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from restora.errors import CheckpointError, OptionError
from restora_export.architecture import RRDBSpec, SRVGGSpec
from restora_export.checkpoint import load_checkpoint, network_from_checkpoint
from restora_export.face_architecture import GFPGANSpec
from restora_export.reference import RRDBNet, SRVGGNetCompact
from restora_export.reference.gfpgan import GFPGAN
from restora_training.recipe_parts import NetworkPart

STYLE_LAYERS = 8
_PRELU_START = 0.25  # slope that PyTorch starts a PReLU with
_LITTLE = 0.03


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
    """Set three channels so that the untrained network is nearly bilinear enlargement.

    They carry R, G, B through, since all activations pass what is positive. The others start
    random, with little weight in the last convolution.

    network: an SRVGGNetCompact, or an RRDBNet of scale 2 with one upsample

    Raises OptionError for another network.
    """
    if isinstance(network, SRVGGNetCompact):
        _start_compact(network)
    elif isinstance(network, RRDBNet) and network.upsamples == 1 and network.scale == 2:
        _start_dense(network)
    else:
        raise OptionError(
            'network.initial = "bilinear" is for an srvgg, or for an rrdb with scale = 2 and '
            "upsamples = 1"
        )


def _start_compact(network: SRVGGNetCompact) -> None:
    *carrying, last = (m for m in network.body if isinstance(m, nn.Conv2d))
    with torch.no_grad():
        for conv in carrying:
            assert conv.bias is not None
            # PyTorch's own start lets the signal fade in a plain stack of this depth
            nn.init.kaiming_normal_(conv.weight, a=_PRELU_START)
            nn.init.zeros_(conv.bias)
            conv.weight[:3] = 0
            for channel in range(3):
                conv.weight[channel, channel, 1, 1] = 1
        assert last.bias is not None
        nn.init.zeros_(last.bias)
        last.weight.mul_(_LITTLE)
        # the network adds the last convolution to nearest enlargement
        difference = _bilinear_kernels(network.scale)
        difference[:, 1, 1] -= 1
        count = network.scale**2
        for channel in range(3):
            last.weight[channel * count : (channel + 1) * count, :3] = 0
            last.weight[channel * count : (channel + 1) * count, channel] = difference


def _bilinear_kernels(scale: int) -> torch.Tensor:
    """The kernel of each output pixel of an input pixel, (scale * scale, 3, 3)."""
    offsets = (torch.arange(scale) + 0.5) / scale - 0.5  # from the center of the input pixel
    line = torch.stack((-offsets.clamp(max=0), 1 - offsets.abs(), offsets.clamp(min=0)), 1)
    return torch.einsum("ai,bj->abij", line, line).reshape(-1, 3, 3)


def _start_dense(network: RRDBNet) -> None:
    # a 1-2-1 blur behind nearest doubling is bilinear doubling
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
