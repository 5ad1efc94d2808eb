"""Detect the architecture and its hyperparameters from the keys and shapes of a state dict."""

import math
import re
from dataclasses import dataclass
from typing import TypeAlias, cast

from torch import nn

from restora.errors import CheckpointError
from restora.models.regular_file import shown
from restora_export.damage_architecture import (
    DamageDetectorSpec,
    RepairerSpec,
    detect_damage_architecture,
)
from restora_export.face_architecture import (
    PARSED_SIDE,
    GFPGANSpec,
    ParseNetSpec,
    RetinaFaceSpec,
    detect_face_architecture,
)
from restora_export.key_shapes import MAX_CHANNELS, State, count_numbered, shape_of
from restora_export.reference import RRDBNet, SRVGGNetCompact
from restora_export.reference.srvgg import Activation

_MAX_SCALE = 16


@dataclass(frozen=True, slots=True)
class RRDBSpec:
    """Hyperparameters of an RRDBNet."""

    scale: int
    features: int
    growth: int
    blocks: int
    in_channels: int
    out_channels: int
    upsamples: int

    def build(self) -> nn.Module:
        return RRDBNet(
            self.scale,
            self.features,
            self.growth,
            self.blocks,
            self.in_channels,
            self.out_channels,
            self.upsamples,
        )

    def __str__(self) -> str:
        return (
            f"RRDBNet x{self.scale}, {self.blocks} blocks, {self.features} features, "
            f"growth {self.growth}"
        )


@dataclass(frozen=True, slots=True)
class SRVGGSpec:
    """Hyperparameters of an SRVGGNetCompact."""

    scale: int
    features: int
    convs: int
    activation: Activation
    in_channels: int
    out_channels: int

    def build(self) -> nn.Module:
        return SRVGGNetCompact(
            self.scale,
            self.features,
            self.convs,
            self.activation,
            self.in_channels,
            self.out_channels,
        )

    def __str__(self) -> str:
        return (
            f"SRVGGNetCompact x{self.scale}, {self.convs} convolutions, {self.features} features, "
            f"{self.activation}"
        )


Spec: TypeAlias = (
    RRDBSpec
    | SRVGGSpec
    | GFPGANSpec
    | RetinaFaceSpec
    | ParseNetSpec
    | DamageDetectorSpec
    | RepairerSpec
)


@dataclass(frozen=True, slots=True)
class Hints:
    """What the keys and shapes of a checkpoint do not determine.

    key: the name of the dictionary in the file to take, or of the prefix of its keys; None: as
        known trainers name it
    activation: for an SRVGGNetCompact without slopes: "relu" or "leakyrelu"
    resampling: for a GFP-GAN with equalized learning rates: "fir" (GFPGANv1, the published one) or
        "bilinear" (GFPGANBilinear)
    is_latent: for a GFP-GAN: whether its style codes go directly to the decoder, as in all
        published ones, and otherwise through its mapping network
    side: for a ParseNet: height and width of its input; 512 for the published one
    """

    activation: str = "relu"
    resampling: str = "fir"
    key: str | None = None
    is_latent: bool = True
    side: int = PARSED_SIDE

    def __post_init__(self) -> None:
        if self.activation not in ("relu", "leakyrelu"):
            raise CheckpointError(f"activation must be relu or leakyrelu, got {self.activation!r}")
        if self.resampling not in ("fir", "bilinear"):
            raise CheckpointError(f"resampling must be fir or bilinear, got {self.resampling!r}")
        if type(self.side) is not int or not 1 <= self.side <= MAX_CHANNELS:
            raise CheckpointError(f"side must be 1 to {MAX_CHANNELS}, got {self.side!r}")


def detect_architecture(state: State, hints: Hints = Hints()) -> Spec:
    """Detect the architecture and its hyperparameters.

    state: the tensors; only their shapes matter, so they may be on the meta device

    Raises CheckpointError if the keys do not belong to a supported network, or if the network would
    be larger than any that exists.
    """
    face = detect_face_architecture(
        state, resampling=hints.resampling, is_latent=hints.is_latent, side=hints.side
    )
    if face is not None:
        return face
    damage = detect_damage_architecture(state)
    if damage is not None:
        return damage
    if "body.0.rdb1.conv1.weight" in state:
        return _detect_rrdb(state)
    if "body.0.weight" in state and state["body.0.weight"].ndim == 4:
        return _detect_srvgg(state, hints.activation)
    first = ", ".join(shown(key) for key in list(state)[:3]) or "none"
    raise CheckpointError(
        "the checkpoint must be an RRDBNet (Real-ESRGAN, ESRGAN), an SRVGGNetCompact, a GFP-GAN, a "
        "RetinaFace (ResNet-50), a ParseNet, or a DamageDetector or Repairer of restora; "
        f"its keys begin with {first}"
    )


def _detect_rrdb(state: State) -> RRDBSpec:
    features, in_channels = shape_of(state, "conv_first.weight", 4)[:2]
    out_channels = shape_of(state, "conv_last.weight", 4)[0]
    growth = shape_of(state, "body.0.rdb1.conv1.weight", 4)[0]
    upsamples = sum(1 for key in state if re.fullmatch(r"conv_up[0-9]+\.weight", key))
    unshuffle = math.isqrt(in_channels // out_channels)
    if out_channels != 3 or in_channels != out_channels * unshuffle**2 or unshuffle == 0:
        raise CheckpointError(
            "an RRDBNet must map RGB to RGB: 3, 12 or 48 input channels and 3 output channels, "
            f"got {in_channels} and {out_channels}"
        )
    if 2**upsamples % unshuffle or 2**upsamples > _MAX_SCALE:
        raise CheckpointError(
            f"an RRDBNet with {upsamples} upsamples cannot have {in_channels} input channels; "
            f"its scale is at most {_MAX_SCALE}"
        )
    return RRDBSpec(
        2**upsamples // unshuffle,
        features,
        growth,
        count_numbered(state, r"body\.([0-9]+)\."),
        out_channels,
        out_channels,
        upsamples,
    )


def _detect_srvgg(state: State, activation: str) -> SRVGGSpec:
    features, in_channels = shape_of(state, "body.0.weight", 4)[:2]
    last = count_numbered(state, r"body\.([0-9]+)\.weight") - 1
    channels = shape_of(state, f"body.{last}.weight", 4)[0] if last % 2 == 0 and last else 0
    scale = math.isqrt(channels // in_channels)
    if in_channels != 3 or channels != in_channels * scale**2 or not 1 <= scale <= _MAX_SCALE:
        raise CheckpointError(
            "an SRVGGNetCompact must map RGB to RGB and end, at an even number, in 3 * scale**2 "
            f"channels with a scale of 1 to {_MAX_SCALE}, got {in_channels} and {channels} (last "
            f"layer body.{last})"
        )
    if "body.1.weight" in state:
        activation = "prelu"
    chosen = cast(Activation, activation)
    return SRVGGSpec(scale, features, last // 2 - 1, chosen, in_channels, in_channels)
