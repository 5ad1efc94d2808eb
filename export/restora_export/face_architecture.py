"""Tell the networks of the face pipeline, and their sizes, from the keys of a state dict."""

import re
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor, nn

from restora_export.reference import (
    GFPGAN,
    GFPGANBilinear,
    GFPGANv1,
    GFPGANv1Clean,
    ParseNet,
    RetinaFace,
)

State: TypeAlias = dict[str, Tensor]
_LAYOUTS: dict[str, type[GFPGAN]] = {
    "GFPGANv1Clean": GFPGANv1Clean,
    "GFPGANBilinear": GFPGANBilinear,
    "GFPGANv1": GFPGANv1,
}
_PARSED_SIDE = 512  # a ParseNet does not tell; the published one sees 512


@dataclass(frozen=True, slots=True)
class GFPGANSpec:
    """Hyper-parameters of a GFP-GAN whose style codes go straight to the decoder."""

    layout: str
    side: int
    style_features: int
    channel_multiplier: int
    mlp_layers: int
    different_w: bool
    narrow: float
    sft_half: bool

    def build(self) -> nn.Module:
        return _LAYOUTS[self.layout](
            self.side,
            self.style_features,
            self.channel_multiplier,
            self.mlp_layers,
            different_w=self.different_w,
            narrow=self.narrow,
            sft_half=self.sft_half,
        )

    def __str__(self) -> str:
        return f"{self.layout} {self.side}, channel multiplier {self.channel_multiplier}"


@dataclass(frozen=True, slots=True)
class RetinaFaceSpec:
    """The ResNet-50 one has no hyper-parameters."""

    def build(self) -> nn.Module:
        return RetinaFace()

    def __str__(self) -> str:
        return "RetinaFace, ResNet-50"


@dataclass(frozen=True, slots=True)
class ParseNetSpec:
    """Hyper-parameters of a ParseNet; its blocks' channels stay within channel_range."""

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
    state: State, *, resampling: str
) -> GFPGANSpec | RetinaFaceSpec | ParseNetSpec | None:
    """None if the keys are of no face network. resampling: see Hints."""
    if "stylegan_decoder.constant_input.weight" in state and "final_linear.weight" in state:
        return _detect_gfpgan(state, resampling)
    if "ssh1.conv3X3.0.weight" in state and "body.layer4.2.conv3.weight" in state:
        return RetinaFaceSpec()
    if "out_mask_conv.conv2d.weight" in state and "encoder.0.conv2d.weight" in state:
        return _detect_parsenet(state)
    return None


def _detect_gfpgan(state: State, resampling: str) -> GFPGANSpec:
    decoder = "stylegan_decoder."
    levels = _count(state, r"stylegan_decoder\.to_rgbs\.(\d+)\.bias")
    narrow = state[f"{decoder}constant_input.weight"].shape[1] / 512
    at_64 = state.get(f"{decoder}style_convs.7.modulated_conv.weight")
    multiplier = 1 if at_64 is None else round(at_64.shape[1] / (256 * narrow))
    style_features = state[f"{decoder}style_conv1.modulated_conv.modulation.weight"].shape[1]
    steered, plain = state["condition_scale.0.2.weight"].shape[:2]
    layout = "GFPGANv1" if resampling == "fir" else "GFPGANBilinear"
    return GFPGANSpec(
        layout="GFPGANv1Clean" if "conv_body_first.weight" in state else layout,
        side=4 << levels,
        style_features=style_features,
        channel_multiplier=multiplier,
        mlp_layers=sum(1 for key in state if re.search(r"\.style_mlp\.\d+\.weight$", key)),
        different_w=state["final_linear.weight"].shape[0] != style_features,
        narrow=narrow,
        sft_half=steered == plain,
    )


def _detect_parsenet(state: State) -> ParseNetSpec:
    blocks = [
        value.shape[0]
        for key, value in state.items()
        if re.fullmatch(r"(encoder|body|decoder)\.\d+\.conv1\.conv2d\.weight", key)
    ]
    halvings = _count(state, r"encoder\.(\d+)\.") - 1
    return ParseNetSpec(
        side=_PARSED_SIDE,
        smallest=_PARSED_SIDE >> halvings,
        features=state["encoder.0.conv2d.weight"].shape[0],
        labels=state["out_mask_conv.conv2d.weight"].shape[0],
        depth=_count(state, r"body\.(\d+)\."),
        channel_range=(min(blocks), max(blocks)),
    )


def _count(state: State, pattern: str) -> int:
    """How many are numbered by the pattern's group."""
    return 1 + max((int(m[1]) for key in state if (m := re.match(pattern, key))), default=-1)
