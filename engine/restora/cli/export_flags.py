"""Options of `restora export` that describe the network in the checkpoint."""

from typing import Annotated, Literal

import typer

from restora.cli.panels import in_panel

_network = in_panel("Network")

Format = Annotated[
    Literal["onnx", "ncnn"],
    typer.Option(
        "--format",
        help="onnx: an artifact, which restora runs. ncnn: NAME.param and NAME.bin of an "
        "upsampler, for other programs; --precision fp16 halves the size.",
    ),
]
Precision = Annotated[
    Literal["fp32", "fp16", "mixed"],
    typer.Option(
        help="Compute precision. fp16 is for GPUs, and not for detectors and parsers; mixed is "
        "FP16 in convolutions only, for networks that are not accurate enough in fp16."
    ),
]
License = Annotated[
    str | None,
    typer.Option(
        "--license",
        help="License of the weights, for the metadata. Default: that of a published file.",
    ),
]
Compact = Annotated[
    bool,
    _network(
        "--compact",
        help="Store weights as float16 where that loses nothing: half the size, the same network.",
    ),
]
Interpolate = Annotated[
    str | None,
    _network(
        metavar="FILE:SHARE",
        help="Interpolate the weights with a SHARE of another checkpoint of the same "
        "architecture, such as other.pth:0.3.",
    ),
]
Noise = Annotated[
    float, _network(min=0, max=1, help="GFP-GAN: strength of its stored noise; 1 as upstream.")
]
Resampling = Annotated[
    Literal["fir", "bilinear"],
    _network(help="GFP-GAN with equalized learning rates: GFPGANv1 or GFPGANBilinear."),
]
Activation = Annotated[
    Literal["relu", "leakyrelu"],
    _network(help="SRVGGNetCompact whose file holds no slopes to tell it by."),
]
Key = Annotated[
    str | None,
    _network(
        help="Dictionary in the checkpoint to take, or prefix of its keys. Default: as known "
        "trainers name it, averaged weights first."
    ),
]
MappedStyles = Annotated[
    bool,
    _network(
        "--mapped-styles",
        help="GFP-GAN whose style codes pass its mapping network, unlike published ones.",
    ),
]
Side = Annotated[int, _network(min=1, max=4096, help="ParseNet: height and width of its input.")]
