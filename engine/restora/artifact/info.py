"""What an artifact says about itself, as one JSON object in the ONNX file's metadata."""

import json
from dataclasses import asdict, dataclass, replace
from typing import Literal, get_args

from restora.artifact.schema import (
    Rule,
    choice,
    describe,
    flag,
    list_of,
    nested,
    nullable,
    number,
    parse_json,
    read_fields,
    text,
    whole,
)
from restora.errors import ArtifactError

Io = Literal["uint8", "float32"]
Precision = Literal["fp32", "fp16", "mixed", "int8"]
Kind = Literal["upsampler", "face", "detector", "parser"]

METADATA_KEY = "restora"
FORMAT = 1
_MOST_CHARACTERS = 1 << 20


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Distance from the PyTorch FP32 reference, measured when the artifact was made.

    max_error: largest absolute difference, as a share of the value range (1/255 = one level); of a
        parser, the largest share of a picture's pixels with another label
    psnr_mean: dB over all photo tiles, capped at 150 for identical pictures
    psnr_min: dB of the worst photo tile
    ssim_mean: structural similarity over all photo tiles
    nonfinite: how many output values were NaN or Inf
    tiles: how many batches were compared (photo tiles and random input)
    reference: what it was compared with
    """

    max_error: float
    psnr_mean: float
    psnr_min: float
    ssim_mean: float
    nonfinite: int
    tiles: int
    reference: str


@dataclass(frozen=True, slots=True)
class Quantization:
    """How an INT8 artifact was made.

    layers: convolutions that compute in 8 bits
    kept: names of those that do not
    min_psnr: the gate that it passed, dB, mean
    bias_corrected: biases make up for the rounding of weights
    tiles_sha256: of the tiles that it was calibrated and judged on
    """

    layers: int
    kept: tuple[str, ...]
    min_psnr: float
    bias_corrected: bool
    tiles_sha256: str


@dataclass(frozen=True, slots=True)
class ArtifactInfo:
    """Facts about one artifact. Pictures go in as NHWC RGB.

    model: name in the model table, or the checkpoint's own name
    kind: what stage it serves. "upsampler" and "face" put out pictures, NHWC RGB; "detector"
        (batch, anchors, 16) float32: 4 box offsets, 2 probabilities, 10 landmark offsets; "parser"
        (batch, side, side, 1) uint8 labels
    architecture: network and hyper-parameters, for people
    scale: output side / input side
    precision: type of the arithmetic in the graph; "mixed": FP16 inside convolutions, FP32 between
        them
    io: dtype of input and output: uint8 in 0..255 or float32 in 0..1
    size_multiple: height and width of the input must be multiples of this
    side: the only height and width it takes; None: any
    elements_per_pixel: elements of the network's largest tensor for each input pixel; None: not
        known. TensorRT holds fewer than 2**31 in one tensor
    noise: of a face network: factor on the noise that its weights hold; 1 as published
    overlap_px: overlap of tiles, in input pixels, at which seams pass the 50 dB gate
    weights_sha256: of the checkpoint file it was made from
    exporter: "restora 0.1.0, torch 2.13.0"
    accuracy: None only while the artifact is being made
    quantization: of INT8 artifacts
    """

    model: str
    kind: Kind
    architecture: str
    scale: int
    precision: Precision
    io: Io
    size_multiple: int
    overlap_px: int
    weights_sha256: str
    exporter: str
    accuracy: Accuracy | None = None
    side: int | None = None
    noise: float = 1.0
    elements_per_pixel: float | None = None
    quantization: Quantization | None = None
    layout: Literal["NHWC"] = "NHWC"
    color: Literal["RGB"] = "RGB"
    format: int = FORMAT

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)


_RULES: dict[type, dict[str, Rule]] = {
    Accuracy: {
        "max_error": number(0, 1e30),
        "psnr_mean": number(-1000, 1000),
        "psnr_min": number(-1000, 1000),
        "ssim_mean": number(-1, 1),
        "nonfinite": whole(0, 1 << 62),
        "tiles": whole(0, 1 << 31),
        "reference": text(1000),
    },
    Quantization: {
        "layers": whole(0, 1 << 20),
        "kept": list_of(text(1000), most=1 << 16),
        "min_psnr": number(0, 1000),
        "bias_corrected": flag(),
        "tiles_sha256": text(128),
    },
}
_RULES[ArtifactInfo] = {
    "model": text(200, least=1),
    "kind": choice(*get_args(Kind)),
    "architecture": text(1000),
    "scale": whole(1, 16),
    "precision": choice(*get_args(Precision)),
    "io": choice(*get_args(Io)),
    # pictures are padded to a multiple
    "size_multiple": whole(1, 64),
    "overlap_px": whole(0, 1024),
    "weights_sha256": text(128),
    "exporter": text(1000),
    "accuracy": nullable(nested(_RULES[Accuracy], Accuracy, name="accuracy")),
    "side": nullable(whole(1, 4096)),
    "noise": replace(number(0, 1), default=1.0),
    "elements_per_pixel": nullable(number(1, 1e6)),
    "quantization": nullable(nested(_RULES[Quantization], Quantization, name="quantization")),
    "layout": replace(choice("NHWC"), default="NHWC"),
    "color": replace(choice("RGB"), default="RGB"),
    "format": whole(FORMAT, FORMAT),
}


def info_from_json(json_text: str) -> ArtifactInfo:
    """Raises ArtifactError if the object is of another format, lacks a field, or has a value that
    no artifact has; the message names the field."""
    try:
        values = parse_json(json_text, most=_MOST_CHARACTERS, what="the metadata")
        if isinstance(values, dict) and values.get("format") != FORMAT:
            raise ArtifactError(
                f"this restora reads artifact format {FORMAT}, the file has "
                f"{describe(values.get('format'))}: export the model again with this version"
            )
        info = ArtifactInfo(**read_fields(values, _RULES[ArtifactInfo], what="the metadata"))
        if info.side is not None and info.side % info.size_multiple:
            raise ValueError(
                f"side must be a multiple of size_multiple, {info.size_multiple}, got {info.side}"
            )
    except ArtifactError:
        raise
    except ValueError as error:
        raise ArtifactError(f"the artifact's metadata cannot be used: {error}") from error
    return info
