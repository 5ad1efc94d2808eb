"""Detect the networks of the face pipeline, and their sizes, from the keys of a state dict."""

import re
from dataclasses import dataclass, replace

from torch import nn

from restora.errors import CheckpointError
from restora_export.key_shapes import State, count_numbered, shape_of
from restora_export.reference import (
    GFPGAN,
    GFPGANBilinear,
    GFPGANv1,
    GFPGANv1Clean,
    ParseNet,
    RetinaFace,
)

MAPPED_STYLES = "mapped styles"  # in the description of a network
_LAYOUTS: dict[str, type[GFPGAN]] = {
    "GFPGANv1Clean": GFPGANv1Clean,
    "GFPGANBilinear": GFPGANBilinear,
    "GFPGANv1": GFPGANv1,
}
PARSED_SIDE = 512  # the keys of a ParseNet do not determine it; the published one has 512
_MAX_LEVELS = 8  # the channel table of the decoder ends at a side of 1024
_MAX_MULTIPLIER = 8


@dataclass(frozen=True, slots=True)
class GFPGANSpec:
    """Hyperparameters of a GFP-GAN.

    is_latent: style codes go directly to the decoder, and otherwise through its mapping network
    """

    layout: str
    side: int
    style_features: int
    channel_multiplier: int
    mlp_layers: int
    different_w: bool
    narrow: float
    sft_half: bool
    is_latent: bool = True

    def build(self) -> nn.Module:
        return _LAYOUTS[self.layout](
            self.side,
            self.style_features,
            self.channel_multiplier,
            self.mlp_layers,
            different_w=self.different_w,
            narrow=self.narrow,
            sft_half=self.sft_half,
            is_latent=self.is_latent,
        )

    def __str__(self) -> str:
        mapped = "" if self.is_latent else f", {MAPPED_STYLES}"
        return f"{self.layout} {self.side}, channel multiplier {self.channel_multiplier}{mapped}"


@dataclass(frozen=True, slots=True)
class RetinaFaceSpec:
    """RetinaFace with ResNet-50, which has no hyperparameters."""

    def build(self) -> nn.Module:
        return RetinaFace()

    def __str__(self) -> str:
        return "RetinaFace, ResNet-50"


@dataclass(frozen=True, slots=True)
class ParseNetSpec:
    """Hyperparameters of a ParseNet. The channels of its blocks stay within channel_range."""

    side: int
    smallest: int
    features: int
    labels: int
    depth: int
    channel_range: tuple[int, int]

    def build(self) -> nn.Module:
        return ParseNet(
            self.side,
            self.side,
            self.smallest,
            self.features,
            self.labels,
            self.depth,
            self.channel_range,
        )

    def __str__(self) -> str:
        return f"ParseNet {self.side}, {self.labels} labels"


def detect_face_architecture(
    state: State, *, resampling: str, is_latent: bool, side: int
) -> GFPGANSpec | RetinaFaceSpec | ParseNetSpec | None:
    """Detect a face network. Returns None for other networks. See Hints for the arguments."""
    if "stylegan_decoder.constant_input.weight" in state and "final_linear.weight" in state:
        return replace(_detect_gfpgan(state, resampling), is_latent=is_latent)
    if "ssh1.conv3X3.0.weight" in state and "body.layer4.2.conv3.weight" in state:
        return RetinaFaceSpec()
    if "out_mask_conv.conv2d.weight" in state and "encoder.0.conv2d.weight" in state:
        return _detect_parsenet(state, side)
    return None


def _detect_gfpgan(state: State, resampling: str) -> GFPGANSpec:
    decoder = "stylegan_decoder."
    levels = count_numbered(state, r"stylegan_decoder\.to_rgbs\.([0-9]+)\.bias")
    narrow = shape_of(state, f"{decoder}constant_input.weight", 4)[1] / 512
    at_64 = f"{decoder}style_convs.7.modulated_conv.weight"
    # published as (1, out, in, 3, 3)
    multiplier = round(shape_of(state, at_64, 5)[1] / (256 * narrow)) if at_64 in state else 1
    modulation = f"{decoder}style_conv1.modulated_conv.modulation.weight"
    style_features = shape_of(state, modulation, 2)[1]
    steered, plain = shape_of(state, "condition_scale.0.2.weight", 4)[:2]
    codes = shape_of(state, "final_linear.weight", 2, maximum=1 << 20)[0]
    if not 1 <= levels <= _MAX_LEVELS or not 1 <= multiplier <= _MAX_MULTIPLIER:
        raise CheckpointError(
            f"a GFP-GAN must have 1 to {_MAX_LEVELS} levels and a channel multiplier of 1 to "
            f"{_MAX_MULTIPLIER}, got {levels} and {multiplier}"
        )
    layout = "GFPGANv1" if resampling == "fir" else "GFPGANBilinear"
    return GFPGANSpec(
        layout="GFPGANv1Clean" if "conv_body_first.weight" in state else layout,
        side=4 << levels,
        style_features=style_features,
        channel_multiplier=multiplier,
        mlp_layers=sum(1 for key in state if re.search(r"\.style_mlp\.[0-9]+\.weight$", key)),
        different_w=codes != style_features,
        narrow=narrow,
        sft_half=steered == plain,
    )


def _detect_parsenet(state: State, side: int) -> ParseNetSpec:
    blocks = [
        shape_of(state, key, 4)[0]
        for key in state
        if re.fullmatch(r"(encoder|body|decoder)\.[0-9]+\.conv1\.conv2d\.weight", key)
    ]
    halvings = count_numbered(state, r"encoder\.([0-9]+)\.") - 1
    if not blocks or not side >> halvings or side % (1 << halvings):
        raise CheckpointError(
            f"a ParseNet must have blocks, and halve a side of {side}; it has {len(blocks)} blocks "
            f"and halves {halvings} times"
        )
    return ParseNetSpec(
        side=side,
        smallest=side >> halvings,
        features=shape_of(state, "encoder.0.conv2d.weight", 4)[0],
        labels=shape_of(state, "out_mask_conv.conv2d.weight", 4)[0],
        depth=count_numbered(state, r"body\.([0-9]+)\."),
        channel_range=(min(blocks), max(blocks)),
    )
